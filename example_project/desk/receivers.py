"""The shop's receivers: every event is shown on the terminal and counted."""

from collections import Counter
from typing import Any

from django.dispatch import receiver

from bloonio_chat import WebhookEvent, signals

heard: Counter[str] = Counter()


@receiver(signals.event_received)
def show(sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **_: Any) -> None:
    print(f"  signal    {event.event_type} of conversation {event.conversation_id}", flush=True)


@receiver(signals.conversation_started)
def greet(sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **_: Any) -> None:
    heard[event.event_type] += 1
