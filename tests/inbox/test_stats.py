"""The inbox's figures: each of them, on an empty inbox too, and that the cheap ones are cheap."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import figures as figures_module
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox import sweeping
from bloonio_chat.inbox.figures import figures, last_sweep, vitals
from bloonio_chat.inbox.models import InboxLane, InboxSweep
from tests.inbox.rows import add, add_receipt

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


def test_an_empty_inbox_has_figures() -> None:
    assert figures() == {
        "runner": "command",
        "received": 0,
        "delivering": 0,
        "failed": 0,
        "dead": 0,
        "buried": 0,
        "delivered": 0,
        "oldest_undelivered_seconds": None,
        "overdue_seconds": None,
        "last_sweep_seconds": None,
        "last_sweep_by": None,
        "lanes_in_work": 0,
        "leases_run_out": 0,
        "newest": {
            "events": 0,
            "repeated": 0,
            "repeats": 0,
            "least_skew_ms": None,
            "most_skew_ms": None,
            "mean_skew_ms": None,
        },
        "failing_receivers": {},
    }


def test_events_are_counted_by_state() -> None:
    for count, state in enumerate(("received", "delivering", "failed", "dead", "delivered", "buried"), 1):
        for _ in range(count):
            add(state=state)
    wanted = {"received": 1, "delivering": 2, "failed": 3, "dead": 4, "delivered": 5, "buried": 6}
    assert {name: figures()[name] for name in wanted} == wanted
    assert "delivered" not in vitals()


def test_the_quick_figures_stop_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        add(state="dead")
    monkeypatch.setattr(figures_module, "MOST_COUNTED", 2)
    assert vitals()["dead"] == 2
    assert figures()["dead"] == 3


@pytest.mark.parametrize("use_tz", [True, False])
def test_ages_are_by_the_databases_clock(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "America/New_York"
    add(state="delivered", days_ago=9)
    add(state="dead", days_ago=9)
    add(state="failed", days_ago=2, due_ms=_now_ms() + 3_600_000)
    found = vitals()
    assert found["oldest_undelivered_seconds"] == pytest.approx(2 * 86_400, abs=60)
    assert found["overdue_seconds"] is None
    add(state="received", days_ago=1)
    found = vitals()
    assert found["oldest_undelivered_seconds"] == pytest.approx(2 * 86_400, abs=60)
    assert found["overdue_seconds"] == pytest.approx(86_400, abs=60)


def test_repeats_and_clocks_of_the_newest_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    add(repeats=99, skew_ms=-99_999)
    add(repeats=0, skew_ms=-500)
    add(repeats=3, skew_ms=1000)
    monkeypatch.setattr(figures_module, "NEWEST", 2)
    assert figures()["newest"] == {
        "events": 2,
        "repeated": 1,
        "repeats": 3,
        "least_skew_ms": -500,
        "most_skew_ms": 1000,
        "mean_skew_ms": 250,
    }


def test_a_receiver_fails_on_what_is_not_delivered() -> None:
    waiting, dead = add(state="failed"), add(state="dead")
    for event in (waiting, dead):
        add_receipt(event, "a", "error")
        add_receipt(event, "b")
    add_receipt(waiting, "c", "error")
    # One that was removed from the project since.
    add_receipt(add(), "d", "error")
    add_receipt(add(state="dead", erased_at="2026-01-01T00:00:00Z"), "e", "error")
    assert figures()["failing_receivers"] == {"a": 2, "c": 1}


def test_lanes_in_work_and_leases_that_ran_out(database: str) -> None:
    leasing.take(database, ["a", "b"], seconds=60)
    leasing.take(database, ["c"], seconds=60)
    InboxLane.objects.filter(lane="c").update(leased_until_ms=1)
    found = vitals()
    assert (found["lanes_in_work"], found["leases_run_out"]) == (2, 1)


def test_the_last_sweep_is_seen() -> None:
    assert last_sweep() is None
    sweeping.note_sweep()
    InboxSweep.objects.update(at_ms=_now_ms() - 90_000)
    found = figures()
    assert found["last_sweep_seconds"] == pytest.approx(90, abs=30)
    assert found["last_sweep_by"] == leasing.holder_name()


def test_the_command_prints_them() -> None:
    add_receipt(add(state="failed"), "message_received:shop.forward", "error")
    assert ports.inbox_stats is figures
    out = StringIO()
    call_command("bloonio_inbox_stats", json=True, stdout=out)
    assert json.loads(out.getvalue())["failing_receivers"] == {"message_received:shop.forward": 1}


def test_the_quick_figures_ask_little(database: str, django_assert_num_queries: Any) -> None:
    add(state="failed")
    with django_assert_num_queries(10, using=database) as captured:
        vitals()
    for query in captured.captured_queries:
        assert "LIMIT" in query["sql"] or "inboxlane" in query["sql"]


def _now_ms() -> int:
    import time

    return int(time.time() * 1000)
