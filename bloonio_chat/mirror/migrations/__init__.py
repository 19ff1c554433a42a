"""The mirror's tables."""
