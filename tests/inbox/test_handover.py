"""The threads between the answer and the runner, without a database or a runner of ours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from bloonio_chat.inbox import handover, runners
from bloonio_chat.inbox.handover import Handover

handed: list[list[str]] = []
is_down = threading.Event()
may_go_on = threading.Event()


def runner(lanes: Sequence[str]) -> None:
    """The project's own: it may be held up, and it may fail."""
    handed.append(list(lanes))
    may_go_on.wait(30)
    if is_down.is_set():
        raise OSError("down")


@pytest.fixture
def ours(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handover]:
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.runner"
    runners._import.cache_clear()
    monkeypatch.setattr(handover, "IDLE_SECONDS", 0.2)
    handed.clear()
    is_down.clear()
    may_go_on.set()
    made = Handover()
    yield made
    may_go_on.set()
    assert made.close(30)


def test_what_waits_together_is_handed_over_together(ours: Handover) -> None:
    may_go_on.clear()
    for number in range(handover.THREADS):
        ours.put(f"held {number}")
    while len(handed) < handover.THREADS:
        time.sleep(0.01)
    for number in range(100):
        ours.put(f"lane {number}")
        ours.put(f"lane {number}")
    may_go_on.set()
    assert ours.join(30)
    later = handed[handover.THREADS :]
    assert sorted(lane for lanes in later for lane in lanes) == sorted(f"lane {number}" for number in range(100))
    assert max(map(len, later)) == 100 / handover.THREADS, "a fair share for each"


def test_a_runner_that_is_down_is_left_alone_for_a_moment(
    ours: Handover, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "PAUSE_AFTER_ERROR_SECONDS", 30)
    is_down.set()
    with caplog.at_level(logging.WARNING, "bloonio_chat.inbox"):
        for number in range(50):
            ours.put(f"lane {number}")
            time.sleep(0.01)
        until = time.monotonic() + 30
        while not caplog.records:
            assert time.monotonic() < until, "the runner is not called"
            time.sleep(0.01)
        started = time.monotonic()
        assert ours.close(20)
        assert time.monotonic() - started < 20, "the end of the process cuts the moment short"
    # Only now has whichever thread was in it come to its end, and none begins any more.
    assert len(caplog.records) == len(handed) <= handover.THREADS
    assert "next sweep picks up: OSError: down" in caplog.records[0].getMessage()


def test_what_came_in_that_moment_is_handed_over_after_it(ours: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PAUSE_AFTER_ERROR_SECONDS", 0.1)
    is_down.set()
    ours.put("lost")
    assert ours.join(30)
    is_down.clear()
    ours.put("kept")
    assert ours.join(30)
    assert handed == [["lost"], ["kept"]]


def test_nothing_beyond_the_longest_queue_is_kept(ours: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "LARGEST_QUEUE", 5)
    may_go_on.clear()
    for number in range(handover.THREADS):
        ours.put(f"held {number}")
        while len(handed) <= number:
            time.sleep(0.01)
    for number in range(10):
        ours.put(f"lane {number}")
    may_go_on.set()
    assert ours.join(30)
    assert sum(map(len, handed)) == handover.THREADS + 5


def test_the_end_of_the_process_waits_for_what_is_in_work_and_drops_the_rest(ours: Handover) -> None:
    may_go_on.clear()
    for number in range(handover.THREADS + 3):
        ours.put(f"lane {number}")
        while len(handed) < min(number + 1, handover.THREADS):
            time.sleep(0.01)
    assert not ours.close(0.1), "it is in work still"
    may_go_on.set()
    assert ours.close(30)
    ours.put("too late")
    assert handed == [[f"lane {number}"] for number in range(handover.THREADS)]


def test_a_machine_without_threads_leaves_the_event_to_the_sweep_and_recovers(
    ours: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", _fail)
        for _ in range(handover.THREADS + 1):
            with pytest.raises(RuntimeError):
                ours.put("lane")
    ours.put("lane")
    assert ours.join(30)
    assert handed == [["lane"]]


def _fail(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
