"""Leases: who lost one writes nothing more and calls nobody else, and who holds one has it renewed."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.models import F

from bloonio_chat.inbox import delivering, processing
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox.clock import read_clock
from bloonio_chat.inbox.models import InboxEvent, InboxLane
from tests.inbox.events import hear, keep, receipts, run
from tests.inbox.workers import Time, elsewhere

pytestmark = pytest.mark.django_db(databases="__all__")


def expire_leases() -> None:
    InboxLane.objects.update(leased_until_ms=1)


def test_what_a_dead_worker_held_is_taken_over_once_its_lease_ran_out(database: str) -> None:
    heard = hear("r")
    row = keep()
    leasing.take(database, [row.lane], seconds=60)
    # As its worker left it.
    InboxEvent.objects.update(state="delivering", attempts=1)
    assert run().total == 0
    expire_leases()
    assert run().delivered == 1
    assert len(heard) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("delivered", 2)
    assert not InboxLane.objects.exists()


def test_a_lost_lease_releases_renews_and_holds_nothing(database: str) -> None:
    old = leasing.take(database, ["a", "b", "c"], seconds=60)
    InboxLane.objects.filter(lane__in=["a", "b"]).update(leased_until_ms=1)
    new = leasing.take(database, ["a", "b", "c"], seconds=60)
    assert (new.lanes, new.token != old.token) == ({"a", "b"}, True)
    assert not old.holds("a")
    assert old.holds("c")
    assert old.renew() == {"a", "b"}
    assert old.lanes == {"c"}
    old.lanes = {"a", "b", "c"}
    old.release(["a", "b", "c"])
    assert set(InboxLane.objects.values_list("lane", "token")) == {("a", new.token), ("b", new.token)}


@pytest.mark.parametrize("fails", [False, True], ids=["a success", "a failure"])
def test_the_outcome_of_a_worker_that_lost_its_lane_is_dropped(
    database: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    calls: list[int] = []

    def stall(_: Any) -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            clock.now += 100
            expire_leases()
            # The other worker takes over, and is done before this one wakes up.
            assert run(sleep=clock.sleep).delivered == 1
            if fails:
                raise RuntimeError("too late to tell")

    hear("r", stall)
    row = keep()
    assert run(monotonic=clock.monotonic, sleep=clock.sleep).total == 0
    row.refresh_from_db()
    assert (row.state, row.attempts, row.last_error, len(calls)) == ("delivered", 2, "", 2)
    assert receipts(row) == {"message_received:r": (True, 1)}
    assert "lost 1 lane(s)" in caplog.text
    assert not InboxLane.objects.exists()


def test_after_its_lane_is_lost_a_worker_calls_nobody_else_for_it(database: str) -> None:
    clock = Time()

    def stall(event: Any) -> None:
        if event.conversation_id == "lost" and len(first) == 1:
            clock.now += 100
            InboxLane.objects.filter(lane=lost.lane).update(leased_until_ms=1)
            leasing.take(database, [lost.lane], seconds=60)

    first = hear("first", stall)
    second = hear("second")
    lost = keep(conversation_id="lost", message_id="lost")
    keep(conversation_id="lost", message_id="lost too")
    # Without a conversation, so that it comes in another lane, and later.
    keep(conversation_id=None, message_id="other")
    assert run(monotonic=clock.monotonic, sleep=clock.sleep).delivered == 1
    assert (first, second) == (["lost", "other"], ["other"])
    assert InboxLane.objects.count() == 1


def test_what_was_read_in_a_lane_that_is_lost_by_then_is_left_alone(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_then_lose(*args: Any, **kwargs: Any) -> Any:
        found = delivering.read_due(*args, **kwargs)
        InboxLane.objects.filter(lane=lost.lane).update(token="another's")
        return found

    monkeypatch.setattr(processing, "read_due", read_then_lose)
    heard = hear("r")
    lost, kept = keep(conversation_id="a", message_id="lost"), keep(conversation_id="b", message_id="kept")
    InboxEvent.objects.filter(pk=lost.pk).update(due_ms=1)
    assert run(sleep=Time().sleep).delivered == 1
    assert heard == ["kept"]
    lost.refresh_from_db()
    assert (lost.state, lost.attempts) == ("received", 0)
    assert InboxEvent.objects.get(pk=kept.pk).state == "delivered"


@pytest.mark.usefixtures("database")
def test_what_ended_its_last_worker_goes_last() -> None:
    heard = hear("r")
    suspect = keep(message_id="suspect", occurred_at="2026-01-01T00:00:00Z")
    keep(message_id="in its lane")
    keep(message_id="elsewhere", conversation_id=None)
    InboxEvent.objects.filter(pk=suspect.pk).update(state="delivering", attempts=1, due_ms=1)
    assert run().delivered == 3
    assert (sorted(heard[:2]), heard[2]) == (["elsewhere", "in its lane"], "suspect")


@pytest.mark.parametrize("seconds", [1, 9, 20])
def test_a_lease_is_renewed_between_slow_receivers(database: str, settings: Any, seconds: int) -> None:
    settings.BLOONIO_CHAT_INBOX_LEASE_SECONDS = 30
    clock, left = Time(), []

    def be_slow(_: Any) -> None:
        held = InboxLane.objects.annotate(now=leasing._until(0)).values_list("leased_until_ms", "now")
        left.append(min(held))
        clock.now += seconds
        # The database's clock goes on too.
        InboxLane.objects.update(leased_until_ms=F("leased_until_ms") - seconds * 1000)

    for number in range(4):
        hear(f"r{number}", be_slow)
    keep(conversation_id="c1")
    keep(conversation_id="c2")
    before = read_clock(database)
    assert run(monotonic=clock.monotonic).delivered + run(monotonic=clock.monotonic).delivered == 2
    untils = [until for until, _ in left]
    # Never less than at the call before: what was taken off there was put back, however slow the machine is.
    assert untils == sorted(untils)
    assert len(untils) == 8
    assert before + 30_000 <= untils[0]
    assert max(until - now for until, now in left) <= 30_000


def test_lanes_that_were_abandoned_are_cleared(database: str) -> None:
    leasing.take(database, ["old", "new"], seconds=60)
    InboxLane.objects.filter(lane="old").update(leased_until_ms=1)
    assert leasing.forget_abandoned(database, older_than_ms=1000) == 1
    assert list(InboxLane.objects.values_list("lane", flat=True)) == ["new"]


def test_a_holder_s_name_fits_its_column(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "é" * 300)
    monkeypatch.setattr(threading.current_thread(), "name", "🙂" * 300)
    leasing.take(database, ["a"], seconds=60)
    assert len(InboxLane.objects.get().holder) <= 255
    assert elsewhere(leasing.holder_name) != leasing.holder_name()


@pytest.mark.parametrize("statement", ["INSERT", "DELETE"])
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_deadlock_over_lanes_is_tried_again(database: str, statement: str) -> None:
    victims: list[str] = []

    def deadlock(execute: Any, sql: str, *rest: Any) -> Any:
        if "inboxlane" in sql and sql.startswith(statement) and len(victims) < 2:
            victims.append(sql)
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")
        return execute(sql, *rest)

    heard = hear("r")
    keep()
    with connections[database].execute_wrapper(deadlock):
        assert run().delivered == 1
    assert (len(heard), len(victims)) == (1, 2)
    assert not InboxLane.objects.exists()
