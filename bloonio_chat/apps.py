"""The app's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class BloonioChatConfig(AppConfig):
    """Registers the system checks; everything else is loaded when it is used."""

    name = "bloonio_chat"
    label = "bloonio_chat"
    verbose_name = "Bloonio Chat"

    def ready(self) -> None:
        """Register the checks."""
        from bloonio_chat import checks  # noqa: F401  # importing it registers them


def require_core(room: str) -> None:
    """Raise ``ImproperlyConfigured`` where a room is installed without what it is a room of."""
    if not apps.is_installed(BloonioChatConfig.name):
        problem = f'"{room}" is in INSTALLED_APPS without "{BloonioChatConfig.name}": add that as well.'
        raise ImproperlyConfigured(problem)
