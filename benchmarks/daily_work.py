"""What an inbox does all day, piece by piece. Django must be set up before this is imported."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, time_ns
from typing import Any, Final

from django.contrib.auth.models import User
from django.test import Client

from benchmarks import rows
from benchmarks.callbacks import EVENT_PATH, make_callbacks
from benchmarks.project import HOST, TENANT_ID
from benchmarks.rounds import require, seconds_each
from bloonio_chat import signals
from bloonio_chat.conf import get_config
from bloonio_chat.inbox.acceptance import accept
from bloonio_chat.inbox.figures import vitals
from bloonio_chat.inbox.processing import process
from bloonio_chat.sdk.receive import Received, receive

STORED_PER_SLICE: Final = 200
BACKLOG: Final = 1_000
# One delivery of so many fails at first.
ONE_FAILS_OF: Final = 50
LIST: Final = "/admin/bloonio_chat_inbox/inboxevent/"
# The newest and the oldest page that there is, and each filter; then what is looked for: a conversation, a visitor.
PAGES: Final = (
    *("", "?p=50", "?state=dead", "?state=delivered", "?state=delivered&p=50", "?type=message_received"),
    *("?type=agent_assigned", "?state=failed&type=message_received", "?q=020000000001", "?q=user-020000000001"),
)

# Beside those of what is stored.
_numbers = itertools.count(1_000_000_000, BACKLOG)


@dataclass(frozen=True)
class Work:
    """One piece. ``run`` does it with what ``prepare`` has made ready, and returns the seconds that one of it took."""

    name: str
    turns: int
    run: Callable[[Any], float]
    prepare: Callable[[], Any] = tuple


def works() -> Sequence[Work]:
    """Return all pieces."""
    signals.message_received.connect(_receive)
    # What the receiver raises is told at length.
    logging.getLogger("bloonio_chat").setLevel(logging.CRITICAL)
    client = Client(headers={"host": HOST})
    client.force_login(User.objects.create_superuser("benchmark"))
    return (
        Work("A callback is stored", 8, _store, _make_received),
        Work("An event of a backlog is delivered", 2, _work_off, _make_backlog),
        Work("A page of the admin's list", 4, lambda _: seconds_each(_reader(client), PAGES)),
        Work("What the health view asks", 8, lambda _: seconds_each(lambda _: vitals(), range(20))),
    )


def _make_received() -> list[Received]:
    tenants = get_config().callback_tenants

    def verified(timestamp_ms: int, signature: str, body: bytes) -> Received:
        headers = {"tenant_id": TENANT_ID, "timestamp": str(timestamp_ms), "signature": signature}
        return receive(EVENT_PATH, **headers, body=body, tenants=tenants, now_ms=time_ns() // 1_000_000)

    return [verified(one.timestamp_ms, one.signature, one.body) for one in make_callbacks(STORED_PER_SLICE)]


def _store(received: list[Received]) -> float:
    stored: list[bool] = []
    seconds = seconds_each(lambda one: stored.append(accept(one).after_response is not None), received)
    require(all(stored), "not all were stored")
    return seconds


def _make_backlog() -> None:
    # What was stored before.
    process(random=lambda: 0.0)
    rows.insert_due(BACKLOG, first=next(_numbers))


def _work_off(_: None) -> float:
    started = perf_counter()
    tally = process(random=lambda: 0.0)
    seconds = perf_counter() - started
    failed = BACKLOG // ONE_FAILS_OF
    require((tally.delivered, tally.failed) == (BACKLOG, failed), f"the backlog came to {tally}")
    return seconds / BACKLOG


def _receive(event: Any, **_: Any) -> None:
    number = int(event.model_extra["event_id"].removeprefix("evt_"))
    if number % ONE_FAILS_OF == 0 and number not in _failed:
        _failed.add(number)
        raise ValueError("not yet")
    _failed.discard(number)


_failed: set[int] = set()


def _reader(client: Client) -> Callable[[str], None]:
    def read(query: str) -> None:
        response = client.get(LIST + query)
        require(response.status_code == 200, f"{query} is answered {response.status_code}")

    return read
