"""The room's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig

from bloonio_chat.apps import require_core


class InboxConfig(AppConfig):
    """Registers what the inbox does in the ports, and its checks."""

    name = "bloonio_chat.inbox"
    label = "bloonio_chat_inbox"
    verbose_name = "Bloonio Chat: inbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Plug in; raises ``ImproperlyConfigured`` where there is nothing to plug into."""
        require_core(self.name)
        from bloonio_chat.callbacks.ports import ports
        from bloonio_chat.inbox import checks  # noqa: F401  # importing it registers them
        from bloonio_chat.inbox.acceptance import accept
        from bloonio_chat.inbox.erasing import InboxForgetting
        from bloonio_chat.inbox.figures import figures, vitals
        from bloonio_chat.inbox.links import events_of
        from bloonio_chat.inbox.retention import prune
        from bloonio_chat.inbox.sweeping import process_inbox

        ports.accept = accept
        ports.process_inbox = process_inbox
        ports.inbox_stats = figures
        ports.inbox_vitals = vitals
        ports.prune[self.label] = prune
        ports.forget[self.label] = InboxForgetting()
        ports.links[self.label] = events_of
