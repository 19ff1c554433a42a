"""Inbound, in Django: ``views`` → ``sdk.receive`` → ``ports.accept`` (``guard``) → ``delivery`` → ``signals``."""
