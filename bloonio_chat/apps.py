"""The app's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig


class BloonioChatConfig(AppConfig):
    """Registers the system checks; everything else is loaded when it is used."""

    name = "bloonio_chat"
    label = "bloonio_chat"
    verbose_name = "Bloonio Chat"

    def ready(self) -> None:
        """Register the checks."""
        from bloonio_chat import checks  # noqa: F401  # importing it registers them
