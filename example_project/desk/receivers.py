"""What the shop does when the relay calls back: it remembers each event, and looks up what a summary leaves out."""

from typing import Any

from django.dispatch import receiver

from bloonio_chat import WebhookEvent, signals
from example_project.desk.models import HeardEvent


@receiver(signals.event_received)
def remember(sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **_: Any) -> None:
    # A receiver may be called again for the same event, so this one can be, without harm.
    HeardEvent.objects.get_or_create(
        event_type=str(event.event_type),
        conversation_id=event.conversation_id or "",
        occurred_at=event.occurred_at,
        details=_details(event),
    )


def _details(event: WebhookEvent) -> str:
    if event.event_type == "message_received":
        return event.fetch_message().content
    if event.ticket_number:
        return event.ticket_number
    return event.operator_display_name or str(event.status or event.escalation_reason or "")
