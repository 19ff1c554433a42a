"""A few days of a support desk's inbox, for pictures: most of it delivered, a shop's own service away for an hour."""

from __future__ import annotations

import json
from typing import Final

from bloonio_chat.inbox.models import InboxEvent
from tests.inbox.rows import add, add_receipt

ERROR: Final = (
    "requests.exceptions.HTTPError: 503 Server Error for https://orders.example/api "
    "(in forward_to_orders, receivers.py:31)"
)
_TYPES: Final = ("message_received", "message_received", "conversation_started", "ticket_created", "agent_assigned")
_STATES: Final = {3: "failed", 5: "dead", 9: "dead", 12: "buried", 14: "failed"}
_EVENTS: Final = 40


def make_samples(conversation_id: str) -> InboxEvent:
    """Add events, and return one of that conversation which is dead."""
    for number in reversed(range(1, _EVENTS)):
        state = _STATES.get(number, "delivered")
        _add(number, state, f"66f1a2b3c4d5e6f7081{number * 7919:05d}")
    return _add(0, "dead", conversation_id)


def _add(number: int, state: str, conversation_id: str) -> InboxEvent:
    is_well = state == "delivered"
    event = add(
        days_ago=number / 150,
        state=state,
        event_type=_TYPES[number % len(_TYPES)],
        conversation_id=conversation_id,
        visitor_user_id="user-1041",
        attempts=1 if is_well else 10 if state in ("dead", "buried") else 3,
        last_error="" if is_well else ERROR,
        repeats=int(number == 7),
    )
    if not is_well:
        event.body = json.dumps(
            {**json.loads(bytes(event.body)), "extra": {"preview": "Où est ma commande ?"}}
        ).encode()
        event.save()
        failed = add_receipt(event, f"{event.event_type}:shop.receivers.forward_to_orders", ERROR)
        failed.attempts = event.attempts
        failed.save()
        add_receipt(event, "event_received:shop.receivers.count")
    return event
