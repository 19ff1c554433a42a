"""A relay that calls back, fast, to a receiver of these tests; and no thread of it may outlive a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox.clock import Clock
from tests.sandbox.wire import Receiver, Wire
from tests.secrets import MARK

SECRET = f"sk_sandbox_{MARK}"
PAUSES = (0.001, 0.002, 0.003, 0.004)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("sandbox-")]
    assert not left


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def make_relay() -> Iterator[Callable[..., SandboxRelay]]:
    """Start relays with settings of one's own; all are stopped afterwards."""
    started: list[SandboxRelay] = []

    def make(**settings: Any) -> SandboxRelay:
        relay = SandboxRelay(**{"tenant_secret": SECRET, "callback_pauses": PAUSES, "seed": 1, **settings})
        relay.start()
        started.append(relay)
        return relay

    yield make
    for relay in started:
        relay.stop()


@pytest.fixture
def relay(make_relay: Callable[..., SandboxRelay], receiver: Receiver) -> SandboxRelay:
    return make_relay(callback_base_url=receiver.url)


@pytest.fixture
def wire(relay: SandboxRelay) -> Wire:
    return Wire(relay)


@pytest.fixture
def still_wire(make_relay: Callable[..., SandboxRelay]) -> Wire:
    """To a relay of three calls a minute whose clock moves only when it is told to."""
    return Wire(make_relay(clock=Clock(lambda: 1_700_000_000.0), rate_limit_per_min=3))
