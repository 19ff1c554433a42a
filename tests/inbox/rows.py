"""Rows of the inbox as they are after days of work, written straight into the tables."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.utils.timezone import now

from bloonio_chat.inbox.lanes import lane_of
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.inbox.states import FINISHED_STATES
from tests.callbacks.relay import envelope
from tests.secrets import TENANT_ID

_numbers = itertools.count()


def made(*, days_ago: float = 0, **fields: Any) -> InboxEvent:
    """Return a row that is not saved; a delivered event of conversation c1, unless the fields say otherwise."""
    number = next(_numbers)
    key = fields.pop("key", hashlib.sha256(f"key {number}".encode()).hexdigest())
    conversation_id = fields.pop("conversation_id", "c1")
    time = now() - timedelta(days=days_ago)
    state = fields.pop("state", "delivered")
    due_ms = None if state in FINISHED_STATES else int(time.timestamp() * 1000)
    values = {
        "key": key,
        "lane": lane_of(TENANT_ID, conversation_id, key),
        "tenant": "default",
        "event_type": "message_received",
        "conversation_id": conversation_id,
        "visitor_user_id": "user-1",
        "occurred_at": time,
        "received_at": time,
        "body": json.dumps(envelope(conversation_id=conversation_id, message_id=f"m{number}")).encode(),
        "signed_tenant_id": TENANT_ID,
        "signed_timestamp": "1700000000000",
        "signature": "0f" * 32,
        "skew_ms": 250,
        "state": state,
        "due_ms": due_ms,
        "attempts": 1,
        "finished_at": None if due_ms else time,
    }
    return InboxEvent(**{**values, **fields})


def add(**fields: Any) -> InboxEvent:
    """Save such a row, and return it."""
    row = made(**fields)
    row.save(force_insert=True)
    return row


def add_many(rows: Iterator[InboxEvent]) -> int:
    """Save so many rows in batches, and return how many."""
    return sum(
        len(InboxEvent.objects.bulk_create(batch)) for batch in iter(lambda: list(itertools.islice(rows, 2000)), [])
    )


def add_receipt(event: InboxEvent, receiver: str, error: str = "") -> InboxReceipt:
    """Note what became of an event at a receiver."""
    receipt = InboxReceipt(event=event, receiver=receiver, succeeded=not error, last_error=error, updated_at=now())
    receipt.save()
    return receipt


class Quiet:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.done = 0
        self.lines: list[str] = []

    def total(self, count: int | None) -> None:
        assert count is None

    def advance(self, count: int = 1) -> None:
        self.done += count

    def line(self, text: str) -> None:
        self.lines.append(text)
