"""A sandbox relay that the mirror is configured for, a time that stands still, and what events say of its objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.clients import get_chat_client
from bloonio_chat.mirror import piecewise, projection, rates
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.projection import project
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.sandbox import Clock, SandboxRelay
from bloonio_chat.sandbox import objects as relays
from bloonio_chat.sdk.events import WebhookEvent, parse_event
from tests.callbacks.relay import written

TENANT = "default"


class Time:
    """Unix time in seconds that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = time.time()
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Lines:
    """A report that remembers."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.done = 0
        self.lines: list[str] = []

    def total(self, count: int | None) -> None:
        self.totals.append(count)

    def advance(self, count: int = 1) -> None:
        self.done += count

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def its_time() -> Time:
    return Time()


@pytest.fixture
def relay(settings: Any) -> Iterator[SandboxRelay]:
    """A relay without a rate limit, in the machine's time; each call is attempted once."""
    with SandboxRelay(rate_limit_per_min=None, seed=1) as relay:
        configure(settings, relay)
        yield relay


@pytest.fixture
def limited(settings: Any, its_time: Time, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxRelay]:
    """A relay with the usual rate limit, which lives in the time that stands still, as does its client."""
    with SandboxRelay(rate_limit_per_min=60, seed=2, clock=Clock(its_time)) as relay:
        configure(settings, relay)
        monkeypatch.setattr(get_chat_client(), "_clock", its_time)
        yield relay


@pytest.fixture
def many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share of calls that no test uses up.

    Not so many that there is no time between two of them: then a worker whose clock was read a little earlier than
    another's would have to wait for it.
    """
    monkeypatch.setattr(rates, "CALLS_PER_MINUTE", 60_000)


def configure(settings: Any, relay: SandboxRelay) -> None:
    settings.BLOONIO_CHAT_BASE_URL = relay.base_url
    settings.BLOONIO_CHAT_TENANT_ID = relay.tenant_id
    settings.BLOONIO_CHAT_TENANT_SECRET = relay.tenant_secret
    settings.BLOONIO_CHAT_MAX_ATTEMPTS = 1


def tell(relay: SandboxRelay, path: str, thing: relays.Conversation | relays.Ticket, **fields: Any) -> None:
    """Project an event about an object of the relay's, or about one that it does not have."""
    project([Projectable(TENANT, event_of(relay, path, thing, **fields))])


def event_of(relay: SandboxRelay, path: str, thing: relays.Conversation | relays.Ticket, **fields: Any) -> WebhookEvent:
    if isinstance(thing, relays.Ticket):
        about = {"ticket_id": thing.id, "conversation_id": thing.conversation_id, "visitor_user_id": thing.user_id}
    else:
        about = {"conversation_id": thing.id, "visitor_user_id": thing.visitor_user_id}
    body = {
        "event_type": path.replace("-", "_"),
        "tenant_id": relay.tenant_id,
        "occurred_at": aware_now().isoformat(),
        **about,
        **fields,
    }
    return parse_event(written(body), path=path, tenant_id=relay.tenant_id, timestamp_ms=0)


def escalated(relay: SandboxRelay, conversation: relays.Conversation) -> relays.Ticket:
    """Hand a conversation to the operators, and return the ticket that this leaves."""
    ticket_id = relay.escalate(conversation.id).ticket_id
    return relay.tickets[ticket_id]


def refusing(monkeypatch: pytest.MonkeyPatch, refused: Callable[[Fetched], bool], error: Exception) -> None:
    """Let the database refuse some of what is fetched."""

    def merge(batch: list[Fetched]) -> None:
        if any(refused(fetched) for fetched in batch):
            raise error
        projection.merge(batch)

    monkeypatch.setattr(piecewise, "merge", merge)


def asked(relay: SandboxRelay) -> dict[str, int]:
    """How often each operation was called."""
    counted: dict[str, int] = {}
    for call in relay.calls:
        counted[call.operation] = counted.get(call.operation, 0) + 1
    return counted
