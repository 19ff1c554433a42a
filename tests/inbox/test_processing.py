"""``process()``: what its options bound, what it tells, and that it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bloonio_chat import inbox
from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox import processing, sweeping
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxSweep
from bloonio_chat.inbox.outcomes import Tally
from tests.inbox.events import hear, keep, keep_many, make_due, run, states
from tests.inbox.workers import Time

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]
on_one = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class Report:
    """What a command would draw."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.advances: list[int] = []
        self.lines: list[str] = []

    def total(self, count: int | None) -> None:
        self.totals.append(count)

    def advance(self, count: int = 1) -> None:
        self.advances.append(count)

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def report() -> Report:
    return Report()


def test_nothing_due_is_nothing_done(report: Report) -> None:
    assert vars(run(report=report)) == {"delivered": 0, "failed": 0, "dead": 0}
    assert vars(run(report=report, lanes=[])) == vars(run(report=report, lanes=["nobody's"])) == vars(Tally())
    assert report.advances == []


def test_the_package_has_it_too() -> None:
    keep()
    assert inbox.process(limit=5).delivered == 1


def test_the_tally_says_how_each_event_came_out(settings: Any, report: Report) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    hear("r", lambda event: 1 / 0 if event.message_id.startswith("bad") else None)
    for number in range(30):
        keep(message_id=f"{'bad' if number % 5 == 0 else 'good'} {number}", conversation_id=f"c{number % 3}")
    assert vars(run(report=report)) == {"delivered": 24, "failed": 6, "dead": 0}
    make_due()
    assert vars(run(report=report)) == {"delivered": 0, "failed": 0, "dead": 6}
    assert sum(report.advances) == 36
    assert not InboxLane.objects.exists()


@pytest.mark.parametrize("conversations", [1, 4, 50])
@pytest.mark.parametrize("limit", [0, 1, 7, 30, 31, 1000])
def test_no_more_events_than_the_limit(limit: int, conversations: int, report: Report) -> None:
    heard = hear("r")
    keep_many(30, conversations=conversations)
    assert run(limit=limit, report=report).delivered == len(heard) == sum(report.advances) == min(limit, 30)
    assert states().count("received") == 30 - len(heard)
    assert set(InboxEvent.objects.filter(state="received").values_list("attempts", flat=True)) <= {0}
    assert not InboxLane.objects.exists()


def test_more_than_fit_into_memory_at_once_are_delivered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "MOST_EVENTS", 4)
    heard = hear("r")
    keep_many(30, conversations=2)
    assert run().delivered == 30
    assert len(set(heard)) == len(heard) == 30


def test_nothing_new_is_begun_after_so_many_seconds() -> None:
    clock = Time()

    def be_slow(_: Any) -> None:
        clock.now += 1

    heard = hear("r", be_slow)
    keep_many(10)
    assert run(seconds=3, monotonic=clock.monotonic).delivered == 3
    assert run(seconds=0, monotonic=clock.monotonic).delivered == 0
    assert states().count("received") == 7
    assert set(InboxEvent.objects.filter(state="received").values_list("attempts", flat=True)) == {0}
    assert run(monotonic=clock.monotonic).delivered == 7
    assert len(heard) == 10


def test_it_stops_between_two_events_when_it_is_asked_to() -> None:
    heard = hear("r")
    keep_many(10, conversations=3)
    assert run(stop=lambda: len(heard) >= 4).delivered == 4
    assert (states().count("delivered"), states().count("received")) == (4, 6)
    assert not InboxLane.objects.exists()
    assert run(stop=lambda: True).total == 0
    assert run().delivered == 6


def test_only_the_lanes_that_are_given() -> None:
    heard = hear("r")
    rows = keep_many(6, conversations=3)
    assert run(lanes=[rows[0].lane, rows[1].lane, rows[0].lane]).delivered == 4
    assert states() == ["delivered", "delivered", "received"] * 2
    assert len(heard) == 4


def test_only_the_event_that_is_given() -> None:
    heard = hear("r")
    rows = keep_many(3)
    assert run(lanes=[rows[1].lane], event_id=rows[1].pk).delivered == 1
    assert states() == ["received", "delivered", "received"]
    assert run(lanes=[rows[1].lane], event_id=rows[1].pk, sleep=lambda seconds: None).total == 0
    assert len(heard) == 1


def test_what_became_due_only_just_now_is_left_out(database: str) -> None:
    hear("r")
    old, young = keep(conversation_id="old"), keep(conversation_id="young")
    InboxEvent.objects.filter(pk=old.pk).update(due_ms=DatabaseClock() - 60_000)
    assert leasing.find_due(database, limit=10, older_than_ms=30_000) == [old.lane]
    assert leasing.find_due(database, limit=10, older_than_ms=90_000) == []
    assert run(older_than_ms=30_000).delivered == 1
    assert states() == ["delivered", "received"]
    assert run(lanes=[young.lane]).delivered == 1


def test_what_waits_longest_goes_first(database: str) -> None:
    heard = hear("r")
    for number in (2, 0, 1):
        row = keep(conversation_id=f"c{number}", message_id=str(number))
        InboxEvent.objects.filter(pk=row.pk).update(due_ms=number + 1)
    assert len(leasing.find_due(database, limit=2)) == 2
    assert run().delivered == 3
    assert heard == ["0", "1", "2"]


def test_a_slow_lane_does_not_keep_its_neighbours_leased_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, leased = Time(), []
    take = leasing.take

    def note(using: str, lanes: Any, *, seconds: int) -> Any:
        lease = take(using, lanes, seconds=seconds)
        leased.append(len(lease.lanes))
        return lease

    def be_slow(_: Any) -> None:
        clock.now += 3

    monkeypatch.setattr(leasing, "take", note)
    heard = hear("r", be_slow)
    keep_many(12, conversations=12)
    assert run(monotonic=clock.monotonic).delivered == 12
    # One event is longer than a worker may keep others waiting: fewer and fewer are leased, in the end one.
    assert leased == [8, 4, 2, *[1] * 9]
    assert len(heard) == 12
    assert set(InboxEvent.objects.values_list("attempts", flat=True)) == {1}


def test_a_quick_worker_leases_more_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    take = leasing.take

    def note(using: str, lanes: Any, *, seconds: int) -> Any:
        sizes.append(len(set(lanes)))
        return take(using, lanes, seconds=seconds)

    monkeypatch.setattr(leasing, "take", note)
    keep_many(60, conversations=60)
    assert run(monotonic=Time().monotonic).delivered == 60
    assert sizes == [8, 16, 32, 4]


def test_it_gives_up_where_other_workers_are_always_faster(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    keep()

    def lose(using: str, lanes: Any, *, seconds: int) -> leasing.Lease:
        return leasing.Lease(using, seconds, "nobody's", set())

    monkeypatch.setattr(leasing, "take", lose)
    assert run(sleep=clock.sleep).total == 0
    assert 1 <= len(clock.naps) <= 10
    assert max(clock.naps) <= 0.1


def test_what_the_mirror_marked_is_fetched_afterwards_and_its_errors_are_only_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def hydrate(limit: int, *, stop: Callable[[], bool]) -> int:
        asked.append(limit)
        assert not stop()
        assert not InboxLane.objects.exists(), "no lane waits for the relay"
        raise RuntimeError("the relay is down")

    monkeypatch.setattr(ports, "hydrate", hydrate)
    keep()
    assert run().delivered == 1
    assert len(asked) == 1
    assert "the relay is down" in caplog.text
    keep()
    run(stop=lambda: True)
    assert len(asked) == 1


# ---- sweeping --------------------------------------------------------------------------------------------------


def options(**changes: Any) -> dict[str, Any]:
    names = ("forever", "retry_failed", "retry_dead")
    return {**dict.fromkeys(names, False), "limit": None, "event": None, **changes}


def test_a_sweep_delivers_and_notes_that_it_did(database: str, report: Report) -> None:
    keep_many(3)
    leasing.take(database, ["long ago"], seconds=60)
    InboxLane.objects.update(leased_until_ms=1)
    assert sweeping.process_inbox(options(), report) == {"delivered": 3, "failed": 0, "dead": 0}
    assert (report.totals, sum(report.advances)) == ([3], 3)
    sweep = InboxSweep.objects.get(name=sweeping.SWEEP)
    assert not InboxLane.objects.exists(), "what a dead worker left is cleared"
    InboxSweep.objects.update(at_ms=0)
    assert sweeping.sweep(limit=1).total == 0
    assert InboxSweep.objects.get(name=sweep.name).at_ms >= sweep.at_ms


def test_the_command_s_limit_and_total(report: Report) -> None:
    keep_many(5)
    assert sweeping.count_due() == 5
    assert sweeping.process_inbox(options(limit=2), report)["delivered"] == 2
    assert report.totals == [2]
    assert sweeping.count_due(1) == 1


def test_the_command_retries_what_failed_or_died(
    settings: Any, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pause that chance makes short would be over within the same sweep.
    monkeypatch.setattr(sweeping, "process", run)
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    heard = hear("r", lambda event: 1 / 0)
    keep_many(2)
    run()
    assert sweeping.process_inbox(options(), report)["dead"] == 0
    sweeping.process_inbox(options(retry_failed=True), report)
    assert report.lines == ["2 failed events are due now."]
    assert len(heard) == 4
    InboxEvent.objects.update(state="dead", due_ms=None)
    sweeping.process_inbox(options(retry_dead=True), report)
    assert report.lines[1:] == ["2 dead events are due now."]
    assert len(heard) == 6


def test_the_command_delivers_one_event(settings: Any, report: Report) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1
    broken = [True]
    heard = hear("r", lambda event: 1 / 0 if broken[0] else None)
    rows = keep_many(3)
    assert sweeping.process_inbox(options(event=rows[1].pk), report) == {"delivered": 0, "failed": 0, "dead": 1}
    broken[0] = False
    assert sweeping.process_inbox(options(event=rows[1].pk), report)["delivered"] == 1
    assert (heard.count(heard[0]), len(heard)) == (2, 2)
    assert states() == ["received", "delivered", "received"]
    with pytest.raises(ValueError, match=f"Event {rows[1].pk} is delivered: nothing is left to do"):
        sweeping.process_inbox(options(event=rows[1].pk), report)
    with pytest.raises(ValueError, match="There is no event 999999999"):
        sweeping.process_inbox(options(event=999_999_999), report)


def test_the_command_says_so_where_another_worker_has_the_event(
    database: str, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep()
    leasing.take(database, [row.lane], seconds=60)
    assert sweeping.process_inbox(options(event=row.pk), report) == vars(Tally())
    assert report.lines == [f"Event {row.pk} is in work elsewhere, or waits for a lease to run out."]


@on_one
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_it_goes_on_until_it_is_stopped_and_rests_where_nothing_is_due(report: Report) -> None:
    clock, tally = Time(), Tally()
    heard = hear("r")
    keep_many(3)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.naps) in (2, 3):
            keep()

    sweeping.keep_sweeping(
        tally,
        report,
        stop=lambda: len(clock.naps) >= 60,
        sleep=sleep,
        monotonic=clock.monotonic,
        random=lambda: 0.5,
    )
    assert (tally.delivered, len(heard), sum(report.advances)) == (5, 5, 5)
    assert set(clock.naps) == {0.75}
    assert InboxSweep.objects.filter(name=sweeping.SWEEP).exists()


@on_one
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_it_notes_that_it_is_there_now_and_then(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, noted = Time(), []
    monkeypatch.setattr(sweeping, "note_sweep", lambda: noted.append(clock.now))
    sweeping.keep_sweeping(
        Tally(),
        report,
        stop=lambda: clock.now >= 1100,
        sleep=clock.sleep,
        monotonic=clock.monotonic,
        random=lambda: 1.0,
    )
    assert noted == [1000.0, 1030.0, 1060.0, 1090.0]
