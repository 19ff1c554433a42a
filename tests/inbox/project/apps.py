"""The project's own app: it connects the receivers."""

from __future__ import annotations

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.inbox.project"
    label = "project"

    def ready(self) -> None:
        from bloonio_chat import signals
        from tests.inbox.project import deeds

        signals.event_received.connect(deeds.note)
        signals.event_received.connect(deeds.count, atomic=True)
