"""Lanes: one worker at a time has a conversation, in the relay's order, and whoever lost it writes nothing more."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import Any

import pytest

from bloonio_chat import signals
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt
from tests.inbox.events import hear, keep, keep_many, make_due, run, states
from tests.inbox.workers import together

pytestmark = pytest.mark.django_db(databases="__all__")
with_transactions = pytest.mark.django_db(transaction=True, databases="__all__")


class Crowd:
    """A receiver that notes who is called at the same time for one conversation."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls: list[tuple[str, str]] = []
        self.met: list[str] = []
        self._inside: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, event: Any, **_: Any) -> None:
        conversation, message = event.conversation_id, event.message_id
        with self._lock:
            self._inside[conversation] += 1
            if self._inside[conversation] > 1:
                self.met.append(conversation)
            self.calls.append((conversation, message))
        # Long enough for another worker to come along, were it let in.
        time.sleep(self.seconds)
        with self._lock:
            self._inside[conversation] -= 1


def expire_leases() -> None:
    InboxLane.objects.update(leased_until_ms=1)


# ---- many workers ----------------------------------------------------------------------------------------------


def fill(count: int, conversations: int) -> None:
    """Put many events into the table, faster than by posting them."""
    row = keep()
    stem = {field.attname: getattr(row, field.attname) for field in InboxEvent._meta.concrete_fields}
    # Another one's, in the order in which they are to be delivered.
    others = []
    for number in range(count):
        conversation = f"c{number % conversations}"
        body = bytes(row.body).replace(b'"c1"', f'"{conversation}"'.encode())
        body = body.replace(b'"message_id": "m', f'"message_id": "n{number:04}-'.encode())
        key = f"{number:064}"
        lane = leasing_lane(conversation)
        others.append(InboxEvent(**{**stem, "id": None, "key": key, "lane": lane, "body": body}))
    row.delete()
    InboxEvent.objects.bulk_create(others)


def leasing_lane(conversation: str) -> str:
    return f"lane-of-{conversation}"


@with_transactions
def test_eight_workers_never_deliver_one_conversation_at_once(database: str) -> None:
    crowd = Crowd(0.001)
    signals.message_received.connect(crowd, dispatch_uid="crowd")
    fill(400, 5)

    # A worker that finds everything held goes home; these come again, as a pool of them does.
    def work(_: int) -> int:
        delivered = 0
        while InboxEvent.objects.filter(due_ms__isnull=False).exists():
            delivered += run(sleep=time.sleep).delivered
        return delivered

    assert sum(together(8, work)) == 400
    assert crowd.met == []
    assert Counter(Counter(crowd.calls).values()) == {1: 400}
    for conversation in range(5):
        messages = [message for one, message in crowd.calls if one == f"c{conversation}"]
        assert messages == sorted(messages)
    assert set(InboxEvent.objects.values_list("state", "attempts", "due_ms")) == {("delivered", 1, None)}
    assert InboxReceipt.objects.filter(succeeded=True, attempts=1).count() == 400
    assert not InboxLane.objects.exists()


@with_transactions
def test_eight_workers_on_many_lanes_take_them_all_once(database: str) -> None:
    crowd = Crowd(0)
    signals.message_received.connect(crowd, dispatch_uid="crowd")
    fill(300, 300)
    tallies = together(8, lambda _: run(sleep=time.sleep))
    assert sum(tally.delivered for tally in tallies) == 300
    assert Counter(Counter(crowd.calls).values()) == {1: 300}
    assert not InboxLane.objects.exists()


@with_transactions
def test_workers_that_all_want_the_same_expired_lanes_share_them(database: str) -> None:
    lanes = [f"lane{number:02}" for number in range(60)]
    leasing.take(database, lanes, seconds=60)
    expire_leases()
    taken = together(8, lambda number: leasing.take(database, lanes[number:] + lanes[:number], seconds=60).lanes)
    assert sorted(itertools.chain(*taken)) == lanes
    # In the database too each has one holder.
    assert InboxLane.objects.count() == 60


# ---- one worker ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_a_lane_is_delivered_in_the_order_in_which_its_events_occurred() -> None:
    heard = hear("r")
    for second in (5, 3, 9, 1, 7, 3):
        keep(
            occurred_at=f"2026-01-02T03:04:0{second}Z", message_id=f"{second}-{len(heard)}-{InboxEvent.objects.count()}"
        )
    assert run().delivered == 6
    assert [message.partition("-")[0] for message in heard] == ["1", "3", "3", "5", "7", "9"]
    # At the same moment, in the order of their arrival.
    assert heard[1] < heard[2]


@pytest.mark.usefixtures("database")
def test_an_event_that_waits_for_its_retry_steps_aside() -> None:
    broken = [True]

    def fail_first(event: Any) -> None:
        if event.message_id == "first" and broken[0]:
            raise RuntimeError("boom")

    heard = hear("r", fail_first)
    keep(message_id="first")
    keep(message_id="second")
    assert vars(run()) == {"delivered": 1, "failed": 1, "dead": 0}
    keep(message_id="third")
    assert run().delivered == 1
    assert heard == ["first", "second", "third"]
    broken.clear()
    broken.append(False)
    make_due()
    assert run().delivered == 1
    assert heard[3:] == ["first"]


@pytest.mark.usefixtures("database")
def test_a_poisoned_event_does_not_hold_up_its_conversation(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 3

    def fail_poison(event: Any) -> None:
        if event.message_id == "poison":
            raise RuntimeError("boom")

    heard = hear("r", fail_poison)
    keep(message_id="poison")
    for number in range(4):
        keep(message_id=f"m{number}")
        run()
        make_due()
    assert heard.count("poison") == 3
    assert [message for message in heard if message != "poison"] == ["m0", "m1", "m2", "m3"]
    assert states() == ["dead", *["delivered"] * 4]


@pytest.mark.usefixtures("database")
def test_lanes_that_others_hold_are_neither_found_nor_taken(database: str) -> None:
    heard = hear("r")
    held, free = keep(conversation_id="held"), keep(conversation_id="free")
    lease = leasing.take(database, [held.lane], seconds=60)
    assert lease.lanes == {held.lane}
    assert leasing.find_due(database, limit=10) == [free.lane]
    assert leasing.take(database, [held.lane], seconds=60).lanes == set()
    assert run().delivered == 1
    assert run(lanes=[held.lane]).total == 0
    assert heard == [self_id(free)]
    assert set(InboxLane.objects.values_list("lane", flat=True)) == {held.lane}
    lease.release([held.lane])
    assert run().delivered == 1
    assert not InboxLane.objects.exists()


def self_id(row: InboxEvent) -> str:
    return bytes(row.body).decode().partition('"message_id": "')[2].partition('"')[0]


@pytest.mark.usefixtures("database")
def test_given_lanes_are_delivered_though_many_of_them_are_held(database: str) -> None:
    rows = keep_many(40, conversations=40)
    lanes = sorted(row.lane for row in rows)
    leasing.take(database, lanes[:25], seconds=60)
    assert run(lanes=lanes).delivered == 15


# ---- lost wake-ups ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lanes", "due", "overdue"])
def test_what_comes_in_while_its_lane_is_held_is_delivered_by_the_holder(database: str, how: str) -> None:
    def post_another(event: Any) -> None:
        if event.message_id == "first":
            row = keep(message_id="second")
            # Its own runner finds the lane held, and goes home.
            assert run(lanes=[row.lane]).total == 0

    heard = hear("r", post_another)
    row = keep(message_id="first")
    ways: dict[str, dict[str, Any]] = {"lanes": {"lanes": [row.lane]}, "due": {}, "overdue": {"older_than_ms": 5000}}
    InboxEvent.objects.update(due_ms=1)
    assert run(**ways[how]).delivered == 2
    assert heard == ["first", "second"]


@with_transactions
def test_what_another_process_keeps_meanwhile_is_not_forgotten(database: str) -> None:
    """Runners and callbacks side by side: when all are done, nothing is left."""
    hear("r")
    lane = keep().lane

    def work(number: int) -> None:
        for turn in range(5):
            keep(event_id=f"{number}-{turn}")
            run(lanes=[lane], sleep=time.sleep)

    together(6, work)
    assert set(states()) == {"delivered"}
    assert InboxEvent.objects.count() == 31
    assert not InboxLane.objects.exists()
