"""The Celery tasks: short, repeatable, and published again while there is more to do."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import celery
import pytest
from django.db import DataError

from bloonio_chat import mirror
from bloonio_chat.mirror import checkpoints, fetching, pacing, reading, tasks
from bloonio_chat.mirror.hydration import hydrate_patiently
from bloonio_chat.mirror.models import Conversation, Message, SyncCheckpoint, Ticket
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk import operations, types
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import (
    ChatRelayError,
    ChatRelayForbiddenError,
    ChatRelayServerError,
    ChatRelayTimeoutError,
)
from tests.mirror.at_relay import Time, refusing, tell
from tests.mirror.equality import differing

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database", "many_calls", "eager")]


@pytest.fixture
def eager() -> Iterator[None]:
    """Tasks run where they are published."""
    settings = celery.current_app.conf
    before, settings.task_always_eager = settings.task_always_eager, True
    yield
    settings.task_always_eager = before


@dataclass
class After:
    """A deadline that is over after so many questions."""

    questions: int

    def __call__(self) -> bool:
        self.questions -= 1
        return self.questions < 0


def filled(relay: SandboxRelay, count: int = 5) -> None:
    for number in range(count):
        relay.escalate(relay.open_conversation(f"v{number}").id)


def test_the_tasks_have_names_that_stay() -> None:
    names = {name for name in celery.current_app.tasks if name.startswith("bloonio_chat.mirror.")}
    assert names == {f"bloonio_chat.mirror.{name}" for name in ("hydrate", "sync", "sync_slice", "verify")}


def test_each_is_given_to_another_worker_when_one_dies() -> None:
    for task in (tasks.hydrate, tasks.sync, tasks.sync_slice, tasks.verify):
        assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)


def test_hydrate_fetches_what_is_marked(relay: SandboxRelay) -> None:
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    assert tasks.hydrate.delay().get() == 3
    assert differing(relay) == []


def test_hydrate_ends_before_beat_comes_again(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloonio_chat.mirror import rates

    monkeypatch.setattr(rates, "CALLS_PER_MINUTE", 12)
    for number in range(30):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    began = its_time.now
    fetched = hydrate_patiently(tasks.TASK_SECONDS, clock=its_time, sleep=its_time.sleep)
    assert 1 < fetched <= 6
    assert 30 < its_time.now - began <= tasks.TASK_SECONDS


def test_sync_reads_everything_in_slices(relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_LIMIT", 3)
    monkeypatch.setattr(tasks, "_Deadline", lambda ends: After(9))
    filled(relay, 8)
    slices: list[str] = []
    original = tasks.sync_slice.delay

    def delay(tenant: str, *run: str) -> None:
        slices.append(tenant)
        original(tenant, *run)

    monkeypatch.setattr(tasks.sync_slice, "delay", delay)
    assert tasks.sync.delay().get() == 1
    assert len(slices) > 2
    assert set(slices) == {"default"}
    assert differing(relay, operators=False) == []
    assert not SyncCheckpoint.objects.filter(finished_at=None).exists()


def test_a_sync_that_is_going_on_is_left_alone(relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(relay)
    monkeypatch.setattr(tasks, "_Deadline", lambda ends: After(3))
    begun: list[str] = []
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda tenant, *run: begun.append(tenant))
    tasks.sync_slice("default")
    assert begun == ["default"]
    assert tasks.sync() == 0
    assert tasks.sync(tenant="default") == 0
    # It died, some time ago.
    SyncCheckpoint.objects.update(reached_at=SyncCheckpoint.objects.all()[0].reached_at - checkpoints.AT_WORK)
    assert tasks.sync() == 1


def test_a_relay_that_fails_ends_the_slice_and_the_next_sync_goes_on(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)

    def patient(report: Any, stop: Any) -> pacing.Pacing:
        return pacing.Pacing(report, stop, clock=its_time, sleep=its_time.sleep)

    monkeypatch.setattr(tasks, "Pacing", patient)
    relay.faults.calls.set("server_error", probability=1.0, only="list_tickets")
    with pytest.raises(ChatRelayError):
        tasks.sync_slice("default")
    relay.faults.clear()
    tasks.sync_slice("default")
    assert differing(relay, operators=False) == []


def test_a_slice_that_fails_is_done_again_later(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    monkeypatch.setattr(
        tasks, "Pacing", lambda report, stop: pacing.Pacing(report, stop, clock=its_time, sleep=its_time.sleep)
    )
    waits: list[float] = []
    retry = tasks.sync_slice.retry

    def noted(**options: Any) -> Any:
        waits.append(options["countdown"])
        assert options["args"] == ("default", checkpoints.unfinished_run("default"))
        return retry(**options)

    monkeypatch.setattr(tasks.sync_slice, "retry", noted)
    # Three slices fail.
    relay.faults.calls.set("server_error", count=3 * pacing.MOST_FAILURES, only="list_tickets")
    tasks.sync_slice.delay("default")
    assert waits == list(tasks.RETRY_SECONDS[:3])
    assert differing(relay, operators=False) == []


def test_a_slice_is_not_done_again_for_ever(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    monkeypatch.setattr(
        tasks, "Pacing", lambda report, stop: pacing.Pacing(report, stop, clock=its_time, sleep=its_time.sleep)
    )
    relay.faults.calls.set("server_error", probability=1.0, only="list_tickets")
    with pytest.raises(ChatRelayError):
        tasks.sync_slice.apply(("default",), retries=len(tasks.RETRY_SECONDS), throw=True)
    # Brokers that give a task to somebody else when it is not acknowledged in time take an hour for that.
    assert sum(tasks.RETRY_SECONDS) > 3600
    assert max(tasks.RETRY_SECONDS) < 1800


@pytest.fixture
def in_time(monkeypatch: pytest.MonkeyPatch, its_time: Time) -> None:
    """A slice's deadline is in the time that stands still."""
    monkeypatch.setattr(tasks, "_Deadline", lambda _: Deadline(its_time))
    monkeypatch.setattr(
        tasks, "Pacing", lambda report, stop: pacing.Pacing(report, stop, clock=its_time, sleep=its_time.sleep)
    )


class Deadline:
    """As that of a task, in another time."""

    def __init__(self, time: Time) -> None:
        self.time, self.ends = time, time.now + tasks.TASK_SECONDS

    def __call__(self) -> bool:
        return self.time.now >= self.ends


def timing_out(
    monkeypatch: pytest.MonkeyPatch, its_time: Time, hits: Callable[[operations.Operation[Any]], bool]
) -> list[str]:
    """Let some calls time out, with all the client's attempts; return the operations called and what they ask for."""
    original, calls = ChatRelayClient.call, []

    def call(self: ChatRelayClient, operation: Any, /) -> Any:
        calls.append(f"{operation.name} {operation.query}")
        if hits(operation):
            its_time.now += 30
            raise ChatRelayTimeoutError("no answer in time")
        return original(self, operation)

    monkeypatch.setattr(ChatRelayClient, "call", call)
    return calls


def slices_of_a_sync(monkeypatch: pytest.MonkeyPatch, most: int = 20) -> int:
    """Work through a sync, slice by slice, and return how many that took."""
    published: list[tuple[str, ...]] = [("default",)]
    slices = 0
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda *args: published.append(args))
    while published and slices < most:
        slices += 1
        tasks.sync_slice(*published.pop())
    assert published == [], "it never ends"
    return slices


def taking(
    monkeypatch: pytest.MonkeyPatch, its_time: Time, seconds: Callable[[operations.Operation[Any], int], float]
) -> list[str]:
    """Let each call take its time, by the operation and the call's number; one that takes less than nothing fails
    after as long. Return what messages were asked for, growing."""
    original, asked_for, calls = ChatRelayClient.call, [], iter(range(10**6))

    def call(self: ChatRelayClient, operation: Any, /) -> Any:
        took = seconds(operation, next(calls))
        its_time.now += abs(took)
        if operation.name == "list_messages":
            asked_for.append(operation.path)
        if took < 0:
            raise ChatRelayServerError("503")
        return original(self, operation)

    monkeypatch.setattr(ChatRelayClient, "call", call)
    return asked_for


@pytest.mark.usefixtures("in_time")
def test_a_page_that_takes_several_slices_is_read_once_also_after_a_restart(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 20)
    slices_of_a_sync(monkeypatch)
    run = pacing.Pacing(tasks._LogReport(), clock=its_time, sleep=its_time.sleep)
    checkpoints.open_run("default", ["conversations", "tickets"], run, since=None, restart=True)
    asked_for = taking(monkeypatch, its_time, lambda operation, number: 5)
    # The list and nine conversations in each.
    assert slices_of_a_sync(monkeypatch) == 3
    assert len(asked_for) == 20
    assert not SyncCheckpoint.objects.filter(finished_at=None).exists()


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("trouble", ["unreadable", "not there", "refused"])
def test_messages_in_trouble_are_asked_for_once_in_a_page_that_takes_several_slices(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time, trouble: str
) -> None:
    filled(relay, 20)
    bad = sorted(relay.conversations)[::2]
    for relay_id in relay.conversations:
        relay.say(relay_id, "Where is my parcel?")
    if trouble == "unreadable":
        for relay_id in bad:
            relay.messages_of(relay_id)[0].role = None  # type: ignore[assignment]  # what no relay should say
    elif trouble == "not there":
        original = fetching.fetch_messages
        monkeypatch.setattr(
            reading,
            "fetch_messages",
            lambda caller, relay_id: (original(caller, relay_id), None)[relay_id in bad],
        )
    else:
        refusing(
            monkeypatch,
            lambda each: isinstance(each.object, types.Message) and each.object.conversation_id in bad,
            DataError("too much"),
        )
    asked_for = taking(monkeypatch, its_time, lambda operation, number: 5)
    assert slices_of_a_sync(monkeypatch) == 3
    assert len(asked_for) == 20


@pytest.mark.usefixtures("in_time")
def test_what_changed_after_it_was_read_is_read_again_by_who_goes_on(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 12)
    asked_for = taking(monkeypatch, its_time, lambda operation, number: 5)
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda *args: None)
    tasks.sync_slice("default")
    assert len(asked_for) == 9
    relay.say(sorted(relay.conversations)[0], "One more thing.")
    slices_of_a_sync(monkeypatch)
    assert differing(relay, operators=False) == []


@pytest.mark.usefixtures("in_time")
def test_a_call_that_fails_once_at_the_end_of_a_slice_is_made_again_by_the_next(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 12)
    # The tenth, at second 50.
    asked_for = taking(monkeypatch, its_time, lambda operation, number: -5.1 if number == 9 else 5)
    slices_of_a_sync(monkeypatch)
    assert len(asked_for) == 12 + 1
    assert differing(relay, operators=False) == []


@pytest.mark.usefixtures("in_time")
def test_slices_that_come_to_nothing_but_one_failure_do_not_follow_each_other_for_ever(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 2)
    bad = sorted(relay.conversations)[0]

    def seconds(operation: operations.Operation[Any], number: int) -> float:
        # The page and the call together take all of a slice, and the call less than half of it.
        return 26 if operation.name != "list_messages" else -24.9 if bad in str(operation.query) else 1

    taking(monkeypatch, its_time, seconds)
    assert slices_of_a_sync(monkeypatch) < 10
    assert Conversation.objects.get(messages_as_of=None).relay_id == bad


@pytest.mark.usefixtures("in_time")
def test_slices_that_only_wait_are_at_work(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    began = its_time.now
    relay.faults.calls.set("rate_limit", count=1, value=3000)
    published: list[tuple[str, ...]] = [("default",)]
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda *args: published.append(args))
    while its_time.now < began + checkpoints.AT_WORK.total_seconds():
        tasks.sync_slice(*published.pop())
    assert checkpoints.is_at_work("default", now=datetime.fromtimestamp(its_time.now, timezone.utc))


@pytest.mark.usefixtures("in_time")
def test_a_slice_of_a_run_that_another_chain_has_finished_begins_no_new_one(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 12)
    taking(monkeypatch, its_time, lambda operation, number: 5)
    published: list[tuple[str, ...]] = []
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda *args: published.append(args))
    tasks.sync_slice("default")
    [late] = published
    # Published by a version that does not say which run it means.
    slices_of_a_sync(monkeypatch)
    calls = len(relay.calls)
    tasks.sync_slice(*late)
    assert len(relay.calls) == calls
    # Nor where that chain has begun the next.
    slices_of_a_sync(monkeypatch)
    calls = len(relay.calls)
    tasks.sync_slice(*late)
    assert len(relay.calls) == calls


@pytest.mark.usefixtures("in_time")
def test_a_slice_that_fails_is_not_done_again_where_another_chain_has_finished(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 2)

    def hits(operation: operations.Operation[Any]) -> bool:
        if operation.name != "list_tickets":
            return False
        SyncCheckpoint.objects.update(finished_at=datetime.fromtimestamp(its_time.now, timezone.utc))
        return True

    timing_out(monkeypatch, its_time, hits)
    # Nothing is raised: neither the error, nor that it is to be done again.
    assert tasks.sync_slice("default")["conversations"] == 2


@pytest.mark.usefixtures("in_time")
def test_a_relay_that_does_not_answer_in_time_is_asked_again_later_and_not_for_ever(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    timing_out(monkeypatch, its_time, lambda operation: operation.name == "list_conversations")
    published: list[Any] = []
    monkeypatch.setattr(tasks.sync_slice, "delay", lambda *args: published.append(args))
    waits: list[float] = []
    retry = tasks.sync_slice.retry

    def noted(**options: Any) -> Any:
        waits.append(options["countdown"])
        return retry(**options)

    monkeypatch.setattr(tasks.sync_slice, "retry", noted)
    with pytest.raises(ChatRelayTimeoutError):
        tasks.sync_slice.apply(("default",)).get()
    assert published == []
    assert waits[:-1] == list(tasks.RETRY_SECONDS)


@pytest.mark.usefixtures("in_time")
def test_conversations_whose_messages_time_out_keep_no_slice_from_the_others(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    monkeypatch.setattr(reading, "LARGEST_LIMIT", 4)
    filled(relay, 10)
    # On the first page and on the last, and two of them on one.
    bad = [list(relay.conversations)[number] for number in (9, 8, 1)]

    def is_bad(operation: operations.Operation[Any]) -> bool:
        return operation.name == "list_messages" and any(relay_id in operation.query for relay_id in bad)

    calls = timing_out(monkeypatch, its_time, is_bad)
    assert slices_of_a_sync(monkeypatch) <= len(bad) + 1
    for relay_id in bad:
        assert sum("list_messages" in call and relay_id in call for call in calls) <= pacing.MOST_FAILURES
    assert not SyncCheckpoint.objects.filter(finished_at=None).exists()
    without = Conversation.objects.filter(messages_as_of=None)
    assert set(without.values_list("relay_id", flat=True)) == set(bad)
    # The next sync asks for them again.
    bad.clear()
    tasks.sync_slice("default")
    assert differing(relay, operators=False) == []


@pytest.mark.usefixtures("in_time")
def test_a_sync_that_waits_to_be_done_again_is_left_alone(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    timing_out(monkeypatch, its_time, lambda operation: operation.name == "list_tickets")
    countdown = max(tasks.RETRY_SECONDS)
    with pytest.raises(ChatRelayTimeoutError):
        tasks.sync_slice.apply(("default",), retries=len(tasks.RETRY_SECONDS), throw=True)
    now = datetime.fromtimestamp(its_time.now, timezone.utc)
    assert checkpoints.is_at_work("default", now=now + timedelta(seconds=countdown))
    assert not checkpoints.is_at_work("default", now=now + timedelta(seconds=countdown) + checkpoints.AT_WORK)
    # A machine whose clock is a year ahead keeps the others from nothing.
    checkpoints.wait("default", until=now + timedelta(days=365))
    assert not checkpoints.is_at_work("default", now=now)


def test_a_tenant_that_is_suspended_is_not_asked_again(relay: SandboxRelay) -> None:
    filled(relay, 1)
    relay.tenant.suspended = True
    with pytest.raises(ChatRelayForbiddenError):
        tasks.sync_slice.apply(("default",), throw=True)
    assert {call.status for call in relay.calls} == {403}
    assert len(relay.calls) == 1


def test_a_call_that_leaves_a_slice_no_time_is_none_that_failed_at_its_end() -> None:
    assert pacing.LONG_CALL_SECONDS <= tasks.TASK_SECONDS / 2


def test_verify_says_what_differs(relay: SandboxRelay, caplog: pytest.LogCaptureFixture) -> None:
    filled(relay, 2)
    tasks.sync()
    assert tasks.verify(sample=None) == {"equal": 4, "missing": 0, "stale": 0, "extra": 0, "unknown": 0}
    assert "differs" not in caplog.text
    with mirror.writable():
        Conversation.objects.update(locale="xx")
    with caplog.at_level(logging.INFO, "bloonio_chat.mirror"):
        assert tasks.verify()["stale"] == 2
    assert "The mirror differs from the relay" in caplog.text
    assert "differs in locale" in caplog.text


@pytest.mark.parametrize("task", [tasks.hydrate, tasks.sync, tasks.verify])
def test_a_task_may_run_twice(relay: SandboxRelay, task: Callable[[], Any]) -> None:
    filled(relay, 1)
    relay.say(next(iter(relay.conversations)), "Where is my parcel?")
    for conversation in relay.conversations.values():
        tell(relay, "conversation-started", conversation)
    task()
    once = everything()
    assert len(once[Conversation]) == 1
    task()
    assert everything() == once


def everything() -> dict[Any, list[Any]]:
    """All rows of the relay's objects, as they are."""
    return {model: list(model._default_manager.order_by("pk").values()) for model in (Conversation, Message, Ticket)}


def test_the_schedule_in_the_documents_is_of_tasks_that_do_not_pile_up() -> None:
    text = (Path(__file__).parents[2] / "docs" / "mirror.md").read_text(encoding="utf-8")
    [entries] = re.findall(r"^CELERY_BEAT_SCHEDULE = (\{.*?^\})", text, flags=re.MULTILINE | re.DOTALL)
    schedule = ast.literal_eval(entries)
    assert {entry["task"] for entry in schedule.values()} == {
        f"bloonio_chat.mirror.{name}" for name in ("hydrate", "sync", "verify")
    }
    for entry in schedule.values():
        assert 0 < entry["options"]["expires"] <= entry["schedule"]
    assert tasks.__doc__ is not None
    [documented] = re.findall(r"CELERY_BEAT_SCHEDULE = (\{.*?^    \})", tasks.__doc__, flags=re.MULTILINE | re.DOTALL)
    assert ast.literal_eval(documented) == schedule
