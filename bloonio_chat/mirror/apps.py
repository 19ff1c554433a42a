"""The room's entry in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from bloonio_chat.apps import require_core


class MirrorConfig(AppConfig):
    """Registers what the mirror does in the ports."""

    name = "bloonio_chat.mirror"
    label = "bloonio_chat_mirror"
    verbose_name = _("Bloonio Chat: mirror")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Plug in; raises ``ImproperlyConfigured`` where there is nothing to plug into."""
        require_core(self.name)
        from bloonio_chat.callbacks.ports import ports
        from bloonio_chat.mirror.forgetting import MirrorForgetting
        from bloonio_chat.mirror.hydration import hydrate
        from bloonio_chat.mirror.links import conversation_page
        from bloonio_chat.mirror.projection import project
        from bloonio_chat.mirror.retention import prune
        from bloonio_chat.mirror.sync import sync
        from bloonio_chat.mirror.verifying import verify

        ports.project = project
        ports.hydrate = hydrate
        ports.sync = sync
        ports.verify = verify
        ports.prune[self.label] = prune
        ports.forget[self.label] = MirrorForgetting()
        ports.links[self.label] = conversation_page
