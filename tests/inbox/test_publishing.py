"""The runner ``celery``: a task for whatever was accepted, and few of them once workers are behind or away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import OperationalError, connections

from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox import publishing, runners, tasks
from bloonio_chat.inbox.clock import read_clock
from bloonio_chat.inbox.handover import Handover
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.processing import process
from bloonio_chat.inbox.publishing import BEHIND_MS, GATHER_SECONDS, LOOK_SECONDS, Publisher
from tests.inbox.events import keep
from tests.inbox.workers import Time

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]
on_one = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand for the broker; it keeps what comes."""
    came: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda **how: came.append(how))
    return came


def wait_overdue(milliseconds: int) -> None:
    InboxEvent.objects.update(due_ms=read_clock(InboxEvent.objects.db) - milliseconds)


def test_a_task_is_published_at_once_and_not_kept_for_ever(published: list[dict[str, Any]]) -> None:
    time = Time()
    publish = Publisher(monotonic=time.monotonic)
    keep()
    for lanes in (["a"], ["b", "c"]):
        publish(lanes)
        assert publish.seconds_to_gather() == 0
    assert [how["args"] for how in published] == [[["a"]], [["b", "c"]]]
    assert {how["expires"] for how in published} == {7200}


@pytest.mark.parametrize("held", [False, True])
def test_once_workers_are_behind_what_comes_gathers(held: bool, database: str) -> None:
    publish = Publisher(monotonic=Time().monotonic)
    rows = [keep(conversation_id="c1"), keep(conversation_id="c1"), keep(conversation_id="c2")]
    wait_overdue(BEHIND_MS + 1000)
    leasing.take(database, [rows[0].lane, *([rows[2].lane] if held else [])], seconds=60)
    assert publish.seconds_to_gather() == (0 if held else GATHER_SECONDS), "a worker that has it all is not behind"


def test_one_long_conversation_in_work_is_not_read_through(
    database: str, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(leasing, "_LOOKED_AT", 2)
    rows = [keep(conversation_id=conversation) for conversation in ("c1", "c1", "c2")]
    for age, row in enumerate(reversed(rows), start=11):
        InboxEvent.objects.filter(pk=row.pk).update(due_ms=read_clock(database) - age * 1000)
    leasing.take(database, [rows[0].lane], seconds=60)
    with django_assert_num_queries(2, using=database):
        assert not leasing.is_waiting(database, older_than_ms=BEHIND_MS)
    monkeypatch.setattr(leasing, "_LOOKED_AT", 3)
    assert leasing.is_waiting(database, older_than_ms=BEHIND_MS)


@on_one
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_hand_over_lets_lanes_gather_and_ends_at_once_all_the_same(
    settings: Any, published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    wait_overdue(BEHIND_MS + 1000)
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    monkeypatch.setattr(publishing, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(runners, "_BUILT_IN", {"celery": Publisher()})
    handover = Handover()
    handover.put("first")
    assert handover.join(30), "who lets lanes gather is not at work"
    handover.put("second")
    assert not handover.join(0.2), "it waits for the next time"
    assert [how["args"] for how in published] == [[["first"]]]
    assert handover.close(10)


def test_the_database_is_asked_now_and_then(django_assert_num_queries: Any, database: str) -> None:
    time = Time()
    publish = Publisher(monotonic=time.monotonic)
    keep()
    wait_overdue(BEHIND_MS + 1000)
    with django_assert_num_queries(2, using=database):
        assert [publish.seconds_to_gather() for _ in range(3)] == [GATHER_SECONDS] * 3
    InboxEvent.objects.update(state="delivered", due_ms=None)
    with django_assert_num_queries(0, using=database):
        assert publish.seconds_to_gather() == GATHER_SECONDS
    time.now += LOOK_SECONDS
    assert publish.seconds_to_gather() == 0, "nobody is behind any more"


@on_one
def test_a_database_that_is_gone_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> bool:
        raise OperationalError("gone")

    monkeypatch.setattr(publishing, "is_waiting", gone)
    assert Publisher().seconds_to_gather() == 0


@on_one
def test_it_is_the_runner_celery(settings: Any, published: list[dict[str, Any]]) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    runner = runners.get_runner()
    assert runner is not None
    runner(["a"])
    assert len(published) == 1


@on_one
def test_what_a_task_has_no_time_for_is_handed_on_and_does_not_pile_up_either(
    published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep(conversation_id="c1")
    keep(conversation_id="c1")

    def only_one(*, lanes: Sequence[str] | None = None, **options: Any) -> Any:
        return process(lanes=lanes, limit=1 if lanes else 0)

    monkeypatch.setattr(tasks, "process", only_one)
    assert tasks.deliver.run([row.lane]) == 1
    assert published == [{"args": [[row.lane]], "expires": 7200}]


@on_one
def test_tasks_are_given_to_another_worker_when_one_dies() -> None:
    for task in (tasks.deliver, tasks.drain, tasks.sweep):
        assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)


@on_one
def test_a_lane_with_a_million_events_is_read_once(database: str) -> None:
    rows = [keep(conversation_id="c1") for _ in range(5)]
    connection = connections[database]
    read: list[Any] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        read.append(sql)
        return answer

    with connection.execute_wrapper(note):
        assert leasing.have_due(database, [rows[0].lane]) == [rows[0].lane]
    assert "DISTINCT" in read[0], "the database, not this process, leaves out the repeats"
