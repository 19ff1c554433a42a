"""The shop's own app: what it does when the relay calls back."""
