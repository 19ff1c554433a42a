"""Any schedule of failing receivers, workers in between, leases that run out and workers that are killed.

The workers take turns in one thread: wherever a receiver is called, another worker may come along. A killed one raises
what nothing catches, and nothing that it would do on the way out is done.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bloonio_chat import signals
from bloonio_chat.inbox import delivering
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt, InboxSweep
from bloonio_chat.inbox.outcomes import Outcomes
from bloonio_chat.inbox.processing import process
from tests.inbox.events import keep, make_due
from tests.inbox.workers import Time

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]

PLAIN: Final = ("r0", "r1", "r2")
ATOMIC: Final = "in a transaction"
MAX_ATTEMPTS: Final = 4
DEEPEST: Final = 3


class Killed(BaseException):
    """What kill -9 is to a worker."""


class World:
    """Receivers that do as chance says, the workers that call them, and what they may never see."""

    def __init__(self, chance: Random, patched: pytest.MonkeyPatch) -> None:
        self.chance = chance
        self.is_calm = False
        self.clock = Time()
        self.tokens: list[str] = []
        self.killed: set[str] = set()
        self.inside: Counter[str] = Counter()
        self.succeeded: Counter[tuple[str, str]] = Counter()
        self.mourned: Counter[int] = Counter()
        self.wrong: list[str] = []
        take, write, release, take_back = leasing.take, Outcomes.write, leasing.Lease.release, delivering._take_back

        def taken(*args: Any, **kwargs: Any) -> leasing.Lease:
            lease = take(*args, **kwargs)
            self.tokens[-1] = lease.token
            return lease

        def written(outcomes: Any) -> Any:
            self.stop_if_killed(outcomes._lease)
            return write(outcomes)

        def released(lease: Any, lanes: Any) -> None:
            self.stop_if_killed(lease)
            release(lease, lanes)

        def taken_back(begun: Any, lease: Any) -> None:
            self.stop_if_killed(lease)
            take_back(begun, lease)

        patched.setattr(leasing, "take", taken)
        patched.setattr(Outcomes, "write", written)
        patched.setattr(leasing.Lease, "release", released)
        patched.setattr(delivering, "_take_back", taken_back)
        # Those of the world before are gone with it.
        signals.message_received.receivers, signals.delivery_failed.receivers = [], []
        signals.delivery_failed.sender_receivers_cache.clear()
        for name in PLAIN:
            signals.message_received.connect(self.receiver(name), weak=False, dispatch_uid=name)
        signals.message_received.connect(self.receiver(ATOMIC), weak=False, dispatch_uid=ATOMIC, atomic=True)
        signals.delivery_failed.connect(self.mourn, dispatch_uid="mourn")

    def stop_if_killed(self, lease: leasing.Lease) -> None:
        if lease.token in self.killed:
            raise Killed

    def mourn(self, inbox_event_id: int, **_: Any) -> None:
        self.mourned[inbox_event_id] += 1

    def receiver(self, name: str) -> Any:
        def receive(event: Any, **_: Any) -> None:
            conversation, message = event.conversation_id, event.message_id
            ledger = InboxReceipt.objects.filter(receiver=f"message_received:{name}", succeeded=True)
            row = InboxEvent.objects.get(visitor_user_id=message)
            wrong = {
                "called again after its success was written": ledger.filter(event=row).exists(),
                f"called while it is {row.state}": row.state != "delivering",
                "called more often than it may be": row.attempts > MAX_ATTEMPTS,
                "two workers in one conversation": self.inside[conversation] > 0,
            }
            # Not raised here: that would be a receiver's error like any other.
            self.wrong += [what for what, is_so in wrong.items() if is_so]
            self.inside[conversation] += 1
            try:
                self.do_something(name, message)
            finally:
                self.inside[conversation] = 0
            self.succeeded[message, name] += 1

        return receive

    def do_something(self, name: str, message: str) -> None:
        if name == ATOMIC:
            InboxSweep.objects.create(name=f"{len(InboxSweep.objects.all())}", at_ms=0, holder=message)
        if self.is_calm:
            return
        dice = self.chance.random()
        if dice < 0.15:
            raise RuntimeError("boom")
        if dice < 0.2:
            self.killed.add(self.tokens[-1])
            raise Killed
        if name == ATOMIC or len(self.tokens) >= DEEPEST:
            # Another worker's part of this one's transaction would be undone with it.
            return
        if dice < 0.3:
            self.work()
        elif dice < 0.4:
            # This one stands still until its lease has run out, and does not know it yet.
            self.clock.now += 1000
            InboxLane.objects.update(leased_until_ms=1)
            self.inside.clear()
            self.work()

    def work(self) -> None:
        """Let another worker come along, until it is done or killed."""
        self.tokens.append("")
        limit = self.chance.choice([None, None, 1, 3])
        try:
            process(limit=limit, random=self.chance.random, sleep=self.clock.sleep, monotonic=self.clock.monotonic)
        except Killed:
            pass
        finally:
            self.tokens.pop()

    def settle(self) -> None:
        """Let everything come to its end, with receivers that succeed."""
        self.is_calm = True
        for _ in range(20):
            InboxLane.objects.update(leased_until_ms=1)
            if not make_due():
                return
            self.work()
        raise AssertionError("there is no end to it")


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9), events=st.integers(1, 8), conversations=st.integers(1, 3))
def test_every_event_is_delivered_or_dead_and_every_success_counts_once(
    settings: Any, seed: int, events: int, conversations: int
) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = MAX_ATTEMPTS
    for model in (InboxReceipt, InboxEvent, InboxLane, InboxSweep):
        model.objects.all().delete()
    with pytest.MonkeyPatch.context() as patched:
        world = World(Random(seed), patched)
        for number in range(events):
            keep(message_id=f"m{number}", visitor_user_id=f"m{number}", conversation_id=f"c{number % conversations}")
        for _ in range(4):
            world.work()
            InboxLane.objects.update(leased_until_ms=1)
            make_due()
        world.settle()
    assert world.wrong == []
    names = [f"message_received:{name}" for name in (*PLAIN, ATOMIC)]
    for row in InboxEvent.objects.all():
        message = row.visitor_user_id
        ledger = dict(InboxReceipt.objects.filter(event=row).values_list("receiver", "succeeded"))
        assert row.state in ("delivered", "dead")
        assert row.due_ms is None
        assert world.mourned[row.pk] == (1 if row.state == "dead" else 0)
        for name in (*PLAIN, ATOMIC):
            noted = ledger.get(f"message_received:{name}", False)
            assert noted or row.state == "dead"
            assert world.succeeded[message, name] >= noted
        # In a transaction exactly once, whoever was killed.
        assert InboxSweep.objects.filter(holder=message).count() == ledger.get(names[-1], False)
