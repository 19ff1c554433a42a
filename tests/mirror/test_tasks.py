"""The Celery tasks: short, repeatable, and published again while there is more to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import celery
import pytest

from bloonio_chat import mirror
from bloonio_chat.mirror import checkpoints, hydration, pacing, reading, tasks
from bloonio_chat.mirror.hydration import hydrate_patiently
from bloonio_chat.mirror.models import Conversation, SyncCheckpoint
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk.errors import ChatRelayError, ChatRelayForbiddenError
from tests.mirror.at_relay import Time, tell
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

    def delay(tenant: str) -> None:
        slices.append(tenant)
        original(tenant)

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
    monkeypatch.setattr(tasks.sync_slice, "delay", begun.append)
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


def test_a_tenant_that_is_suspended_is_not_asked_again(relay: SandboxRelay) -> None:
    filled(relay, 1)
    relay.tenant.suspended = True
    with pytest.raises(ChatRelayForbiddenError):
        tasks.sync_slice.apply(("default",), throw=True)
    assert {call.status for call in relay.calls} == {403}
    assert len(relay.calls) == 1


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
    for conversation in relay.conversations.values():
        tell(relay, "conversation-started", conversation)
    task()
    task()
    assert hydration.hydrate(9) >= 0
