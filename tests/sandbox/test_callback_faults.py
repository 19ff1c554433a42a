"""Faults of callbacks: each one as it looks to the receiver, and that a seed repeats them."""

from __future__ import annotations

import time
from collections.abc import Callable

from bloonio_chat.sandbox import SandboxRelay
from tests.sandbox.wire import Receiver, sign


def _signed_well(relay: SandboxRelay, receiver: Receiver) -> list[bool]:
    return [
        posted.headers["X-Bloonio-Signature"]
        == sign(relay.tenant_secret, posted.headers["X-Bloonio-Timestamp"], posted.body)
        for posted in receiver.posted
    ]


def test_duplicates_are_two_deliveries_of_one_body(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("duplicate")
    relay.open_conversation("a")
    relay.wait()
    first, twin = receiver.posted
    assert first.body == twin.body
    assert [callback.duplicate_of for callback in relay.callbacks] == [None, 1]


def test_a_callback_is_overtaken_by_the_next(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("reorder", value=3600)
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "Hello")
    relay.wait()
    assert receiver.events() == ["message-received", "conversation-started"]


def test_a_callback_that_nothing_overtakes_comes_in_the_end(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("reorder", value=3600)
    relay.open_conversation("a")
    assert not receiver.posted
    relay.clock.advance(3600)
    relay.wait()
    assert receiver.events() == ["conversation-started"]


def test_a_callback_is_late(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("delay", value=3600, only="conversation_started")
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "Hello")
    receiver.wait_for(1)
    relay.clock.advance(3600)
    relay.wait()
    assert receiver.events() == ["message-received", "conversation-started"]


def test_a_wrong_signature_is_put_right_by_the_retry(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("wrong_signature")
    receiver.statuses.append(401)
    relay.open_conversation("a")
    relay.wait()
    assert _signed_well(relay, receiver) == [False, True]
    assert [attempt.faults for attempt in relay.callbacks[0].attempts] == [("wrong_signature",), ()]


def test_a_skewed_clock_signs_another_time(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("skew", value=-90)
    receiver.statuses.append(401)
    relay.open_conversation("a")
    relay.wait()
    first, second = (int(posted.headers["X-Bloonio-Timestamp"]) for posted in receiver.posted)
    # The second one comes a little later.
    assert 90_000 <= second - first < 150_000
    assert _signed_well(relay, receiver) == [True, True]


def test_a_connection_that_is_cut_before_the_body_delivers_nothing(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("drop_before")
    relay.open_conversation("a")
    relay.wait()
    assert len(receiver.posted) == 1
    assert [(each.status, each.faults) for each in relay.callbacks[0].attempts] == [(None, ("drop_before",)), (200, ())]


def test_an_acknowledgement_that_is_lost_means_a_second_delivery(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("drop_after")
    relay.open_conversation("a")
    relay.wait()
    first, second = receiver.posted
    assert first.body == second.body
    assert [attempt.status for attempt in relay.callbacks[0].attempts] == [None, 200]


def test_a_body_that_is_cut_short_comes_again(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("truncate")
    relay.open_conversation("a")
    relay.wait()
    # The receiver of these tests keeps only what has its declared length.
    assert len(receiver.posted) == 1
    assert [attempt.faults for attempt in relay.callbacks[0].attempts] == [("truncate",), ()]


def test_a_body_trickles(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("slow", value=0.1)
    started = time.monotonic()
    relay.open_conversation("a")
    relay.wait()
    assert time.monotonic() - started >= 0.1
    assert receiver.posted[0].json["event_type"] == "conversation_started"
    assert relay.callbacks[0].attempts[0].faults == ("slow",)


def test_a_trickling_body_does_not_hold_up_the_end(make_relay: Callable[..., SandboxRelay], receiver: Receiver) -> None:
    relay = make_relay(callback_base_url=receiver.url)
    relay.faults.callbacks.set("slow", value=3600)
    relay.open_conversation("a")
    started = time.monotonic()
    relay.stop()
    assert time.monotonic() - started < 60
    assert relay.callbacks[0].outcome == "cancelled"


def test_a_fault_can_be_for_one_event(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.faults.callbacks.set("duplicate", count=5, only="message_received")
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "Hello")
    relay.wait()
    assert sorted(receiver.events()) == ["conversation-started", "message-received", "message-received"]


def _struck(relay: SandboxRelay) -> list[object]:
    relay.faults.callbacks.set("duplicate", probability=0.3)
    for name in ("drop_after", "drop_before", "wrong_signature"):
        relay.faults.callbacks.set(name, probability=0.2)
    for number in range(30):
        relay.open_conversation(f"user-{number}")
    relay.wait()
    return [(each.duplicate_of, [attempt.faults for attempt in each.attempts]) for each in relay.callbacks]


def test_a_seed_repeats_faults_whichever_thread_comes_first(
    make_relay: Callable[..., SandboxRelay], receiver: Receiver
) -> None:
    first, same, other = (make_relay(seed=seed, callback_base_url=receiver.url) for seed in (7, 7, 8))
    faults = _struck(first)
    assert _struck(same) == faults
    assert _struck(other) != faults
