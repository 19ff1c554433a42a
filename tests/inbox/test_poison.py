"""An event that kills whoever delivers it: it dies of that in the end, and takes no other event along."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import pytest

from bloonio_chat import signals
from bloonio_chat.inbox import interventions
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxSweep
from tests.inbox.events import keep, make_due, receipts, run, states
from tests.inbox.workers import in_a_process

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.usefixtures("database")]
KILLED = -signal.SIGKILL


def connect(*, in_transaction: bool = False) -> None:
    """Connect a receiver that notes its calls in the database, and whose process a poison kills."""

    def receive(event: Any, **_: Any) -> None:
        InboxSweep.objects.create(name=os.urandom(8).hex(), at_ms=0, holder=event.message_id)
        if event.message_id.startswith("poison"):
            os.kill(os.getpid(), signal.SIGKILL)

    signals.message_received.connect(receive, weak=False, dispatch_uid="r", atomic=in_transaction)


def calls() -> Counter[str]:
    return Counter(InboxSweep.objects.values_list("holder", flat=True))


def work_until_nothing_is_due(most: int = 50) -> int:
    """Start worker after worker, each once all that was to be waited for is over; return how many were killed."""
    killed = 0
    for _ in range(most):
        killed += in_a_process(run) != 0
        left = InboxEvent.objects.filter(due_ms__isnull=False)
        if not left.exists():
            return killed
        InboxLane.objects.update(leased_until_ms=1)
        left.update(due_ms=1)
    raise AssertionError("there is no end to it")


def test_its_neighbours_wait_for_two_leases_at_the_most() -> None:
    connect()
    keep(message_id="poison", conversation_id="c0")
    for number in range(4):
        keep(message_id=f"m{number}", conversation_id=f"c{number}")
    for _ in range(2):
        assert in_a_process(run) == KILLED
        # Time enough for a lease, and not for a retry.
        InboxLane.objects.update(leased_until_ms=1)
    assert in_a_process(run) == 0
    assert Counter(states()) == {"delivered": 4, "delivering": 1}
    assert calls().keys() == {"poison", "m0", "m1", "m2", "m3"}


def test_an_event_that_is_left_in_the_middle_is_delivered_by_another_worker() -> None:
    connect()
    keep(message_id="poison")
    assert in_a_process(run) == KILLED
    row = InboxEvent.objects.get()
    # Written before the receiver was called.
    assert (row.state, row.attempts) == ("delivering", 1)
    assert InboxLane.objects.count() == 1
    assert run().total == 0, "its lease holds"
    # Whatever it was that killed the worker, it was not the event.
    InboxEvent.objects.update(body=bytes(row.body).replace(b"poison", b"remedy"))
    InboxLane.objects.update(leased_until_ms=1)
    assert run().delivered == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("delivered", 2)
    assert not InboxLane.objects.exists()


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_poison_dies_after_its_attempts_and_nobody_else_does(
    max_attempts: int, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = max_attempts
    connect()
    for number in range(4):
        keep(message_id=f"before {number}", conversation_id=f"c{number}")
        keep(message_id=f"poison {number}" if number == 2 else f"after {number}", conversation_id=f"c{number}")
    assert work_until_nothing_is_due() == max_attempts
    # The last worker saw that, in a process of its own.
    dead = InboxEvent.objects.get(state="dead")
    assert b"poison" in bytes(dead.body)
    assert dead.attempts == max_attempts
    assert "The worker was killed" in dead.last_error
    assert receipts(dead) == {"worker": (False, 1)}
    assert Counter(states()) == {"delivered": 7, "dead": 1}
    counted = calls()
    assert counted.pop("poison 2") == max_attempts
    # Who was in work beside it may be called once more, since nobody could write down that it was done.
    assert len(counted) == 7
    assert set(counted.values()) <= {1, min(2, max_attempts)}


def test_innocents_on_their_last_attempt_have_it(settings: Any) -> None:
    """A worker that is killed by another event must not cost one that waited for its last attempt that attempt."""
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    connect()
    keep(message_id="poison", conversation_id="c0")
    innocents = [keep(message_id=f"m{number}", conversation_id=f"c{number}") for number in range(1, 4)]
    InboxEvent.objects.filter(pk__in=[row.pk for row in innocents]).update(attempts=1, state="failed")
    assert work_until_nothing_is_due() == 2
    assert Counter(states()) == {"delivered": 3, "dead": 1}
    assert set(calls()) == {"poison", "m1", "m2", "m3"}


def test_two_poisons_in_one_batch_die_both(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    connect()
    keep(message_id="poison a", conversation_id=None)
    keep(message_id="m", conversation_id=None)
    keep(message_id="poison b", conversation_id=None)
    # Each kills its own worker as often as it may, and may be beside the other one the first time.
    assert 3 <= work_until_nothing_is_due() <= 4
    assert Counter(states()) == {"dead": 2, "delivered": 1}


def test_a_worker_killed_within_a_transaction_leaves_nothing_of_it(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    connect(in_transaction=True)
    keep(message_id="poison")
    keep(message_id="m", conversation_id=None)
    work_until_nothing_is_due()
    assert calls() == {"m": 1}
    assert sorted(states()) == ["dead", "delivered"]


def test_what_died_of_it_can_be_retried_by_hand(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    connect()
    row = keep(message_id="poison")
    work_until_nothing_is_due()
    assert states() == ["dead"]
    signals.message_received.disconnect(dispatch_uid="r")
    assert interventions.retry([row.pk]) == 1
    assert run().delivered == 1
    # The ledger does not go on complaining of a worker.
    assert receipts(row) == {"worker": (True, 2)}


def test_a_worker_that_is_killed_between_receivers_and_the_ledger_is_made_good() -> None:
    """What was done and not written down is done again: at least once, and at most as often as workers die."""
    heard: list[str] = []

    def receive(event: Any, **_: Any) -> None:
        heard.append(event.message_id)
        InboxSweep.objects.create(name=os.urandom(8).hex(), at_ms=0, holder=event.message_id)

    def die_at_the_end() -> None:
        from bloonio_chat.inbox.outcomes import Outcomes

        Outcomes._write = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign,return-value]  # in the child alone
        run()

    signals.message_received.connect(receive, dispatch_uid="r")
    for number in range(3):
        keep(message_id=f"m{number}")
    assert in_a_process(die_at_the_end) == KILLED
    assert states() == ["delivering"] * 3
    assert calls() == {"m0": 1, "m1": 1, "m2": 1}
    InboxLane.objects.update(leased_until_ms=1)
    assert run().delivered == 3
    assert calls() == {"m0": 2, "m1": 2, "m2": 2}
    assert list(InboxEvent.objects.values_list("attempts", flat=True)) == [2, 2, 2]
    make_due()
    assert run().total == 0
