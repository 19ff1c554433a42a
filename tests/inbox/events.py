"""Events in the inbox: kept as the relay's posts are, made due, and looked at."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from django.test import Client

from bloonio_chat import signals
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.inbox.outcomes import Tally
from bloonio_chat.inbox.processing import process
from tests.callbacks.relay import ACKNOWLEDGED, answer, envelope, post
from tests.inbox.workers import Time

# The longest pauses before a retry, so that none is over by itself while a test runs.
LONGEST: Final = 0.999

_numbers = itertools.count()


def keep(path: str = "message-received", /, **fields: Any) -> InboxEvent:
    """Post an event that was never posted before, and return its row."""
    body = envelope(path, **{"message_id": f"m{next(_numbers)}", **fields})
    response = post(Client(), path, body)
    assert (response.status_code, answer(response)) == (200, ACKNOWLEDGED)
    row: InboxEvent = InboxEvent.objects.latest("pk")
    return row


def keep_many(count: int, /, *, conversations: int = 1) -> list[InboxEvent]:
    """Keep so many events, one of each conversation in turn."""
    return [keep(conversation_id=f"c{number % conversations}") for number in range(count)]


def run(**options: Any) -> Tally:
    """Deliver what is due; what fails waits for a test to make it due."""
    # Time stands still, or a busy machine would have outcomes written and rounds ended in the middle; for workers side
    # by side, who really sleep, it is real.
    clock = {} if options.get("sleep") is time.sleep else {"sleep": never, "monotonic": Time().monotonic}
    return process(**{"random": lambda: LONGEST, **clock, **options})


def never(seconds: float) -> None:
    """Stand for a sleep that nothing should ask for."""
    raise AssertionError(f"slept {seconds} s")


def make_due() -> int:
    """Have everything that waits for its retry due now."""
    return int(InboxEvent.objects.filter(due_ms__isnull=False).update(due_ms=1))


def states() -> list[str]:
    """The events' states, in the order in which they came."""
    return list(InboxEvent.objects.order_by("pk").values_list("state", flat=True))


def receipts(event: InboxEvent) -> dict[str, tuple[bool, int]]:
    """The ledger of an event: by receiver, whether it succeeded and in how many attempts."""
    rows = InboxReceipt.objects.filter(event=event).values_list("receiver", "succeeded", "attempts")
    return {receiver: (succeeded, attempts) for receiver, succeeded, attempts in rows}


def hear(uid: str, does: Callable[[Any], object] = lambda event: None, /, **options: Any) -> list[str]:
    """Connect a receiver to ``message_received``; return the list of the messages' ids that it is called with."""
    heard: list[str] = []

    def receive(event: Any, **_: Any) -> None:
        heard.append(event.message_id)
        does(event)

    signals.message_received.connect(receive, weak=False, dispatch_uid=uid, **options)
    return heard
