"""Callbacks come until a 2xx (protocol §4.2), signed afresh each time, and hold up nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bloonio_chat.sandbox import SandboxRelay
from tests.sandbox.wire import Receiver, sign
from tests.secrets import MARK


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_anything_but_a_2xx_is_retried(relay: SandboxRelay, receiver: Receiver, status: int) -> None:
    receiver.statuses.extend([status, status, 204])
    relay.open_conversation("a")
    relay.wait()
    [callback] = relay.callbacks
    assert [attempt.status for attempt in callback.attempts] == [status, status, 204]
    assert (callback.outcome, callback.status) == ("delivered", 204)
    assert len({posted.body for posted in receiver.posted}) == 1
    assert callback.body == receiver.posted[0].body


def test_each_attempt_is_signed_afresh_with_the_secret_of_its_time(relay: SandboxRelay, receiver: Receiver) -> None:
    receiver.statuses.append(503)
    gate = receiver.held["hold-me"] = threading.Event()
    relay.open_conversation("hold-me")
    receiver.wait_for(1)
    old = relay.tenant_secret
    new = relay.rotate_secret(f"sk_sandbox_new_{MARK}")
    gate.set()
    relay.wait()
    first, second = receiver.posted
    for posted, secret in ((first, old), (second, new)):
        timestamp = posted.headers["X-Bloonio-Timestamp"]
        assert posted.headers["X-Bloonio-Signature"] == sign(secret, timestamp, posted.body)


def test_the_pauses_grow_with_the_clock(make_relay: Callable[..., SandboxRelay], receiver: Receiver) -> None:
    relay = make_relay(callback_base_url=receiver.url, callback_pauses=(10, 3600))
    receiver.statuses.extend([503, 503])
    relay.open_conversation("a")
    relay.wait_until(lambda: len(relay.callbacks[0].attempts) == 1)
    with pytest.raises(TimeoutError, match="1 callbacks are still pending"):
        relay.wait(timeout_seconds=0.05)
    relay.clock.advance(10)
    relay.wait_until(lambda: len(relay.callbacks[0].attempts) == 2)
    relay.clock.advance(3600)
    relay.wait()
    first, second, third = (attempt.timestamp_ms for attempt in relay.callbacks[0].attempts)
    assert 10_000 <= second - first < 60_000
    assert third - second >= 3_600_000


def test_after_the_last_pause_it_is_given_up(relay: SandboxRelay, receiver: Receiver) -> None:
    receiver.statuses.extend([500] * 9)
    relay.open_conversation("a")
    relay.wait()
    [callback] = relay.callbacks
    assert (callback.outcome, len(callback.attempts)) == ("given_up", 5)


def test_nobody_there_is_an_attempt_too(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay(callback_base_url="http://127.0.0.1:9", callback_pauses=(0.001,))
    relay.open_conversation("a")
    relay.wait()
    [callback] = relay.callbacks
    assert [attempt.status for attempt in callback.attempts] == [None, None]
    assert "refused" in str(callback.attempts[0].problem)


def test_an_answer_that_takes_too_long_is_retried_while_the_first_still_works(
    make_relay: Callable[..., SandboxRelay], receiver: Receiver
) -> None:
    # As many attempts as this thread may want time for.
    relay = make_relay(callback_base_url=receiver.url, callback_timeout_seconds=0.1, callback_pauses=(0.001,) * 1000)
    receiver.held["slow-one"] = threading.Event()
    relay.open_conversation("slow-one")
    receiver.wait_for(2)
    receiver.held["slow-one"].set()
    relay.wait()
    assert relay.callbacks[0].attempts[0].status is None
    assert "timed out" in str(relay.callbacks[0].attempts[0].problem)
    assert relay.callbacks[0].outcome == "delivered"


def test_a_slow_conversation_stops_no_other(relay: SandboxRelay, receiver: Receiver) -> None:
    receiver.held["slow-one"] = threading.Event()
    slow = relay.open_conversation("slow-one")
    receiver.wait_for(1)
    relay.say(slow.id, "Hello")
    for number in range(3):
        relay.open_conversation(f"quick-{number}")
    receiver.wait_for(4)
    assert receiver.events() == ["conversation-started"] * 4
    receiver.held["slow-one"].set()
    relay.wait()
    assert receiver.events()[-1] == "message-received"


def test_what_waits_for_its_retry_steps_aside(make_relay: Callable[..., SandboxRelay], receiver: Receiver) -> None:
    relay = make_relay(callback_base_url=receiver.url, callback_pauses=(3600,))
    receiver.statuses.append(503)
    conversation = relay.open_conversation("a")
    receiver.wait_for(1)
    relay.say(conversation.id, "Hello")
    receiver.wait_for(2)
    relay.clock.advance(3600)
    relay.wait()
    assert receiver.events() == ["conversation-started", "message-received", "conversation-started"]


def test_stopping_cancels_what_is_pending_and_cuts_what_is_under_way(receiver: Receiver) -> None:
    receiver.held["slow-one"] = threading.Event()
    receiver.statuses.append(503)
    relay = SandboxRelay(callback_base_url=receiver.url, callback_pauses=(3600,))
    relay.start()
    relay.open_conversation("retried-later")
    relay.wait_until(lambda: len(relay.callbacks[0].attempts) == 1)
    relay.open_conversation("slow-one")
    receiver.wait_for(2)
    relay.stop()
    assert [callback.outcome for callback in relay.callbacks] == ["cancelled", "cancelled"]
    relay.open_conversation("after-all")
    assert len(relay.callbacks) == 2
