"""The threads of the handover in odd processes: one that waits beside them, one that forks, one that ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bloonio_chat.inbox import handover, runners
from bloonio_chat.inbox.handover import Handover
from tests.inbox.workers import in_a_process

handed: list[str] = []
may_end: dict[str, threading.Event] = {}


def runner(lanes: Sequence[str]) -> None:
    """The project's own."""
    for lane in lanes:
        handed.append(lane)
        if lane == "leave":
            raise SystemExit
        if lane in may_end:
            assert may_end[lane].wait(120)


@pytest.fixture
def ours(settings: Any) -> Iterator[Handover]:
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.runner"
    runners._import.cache_clear()
    handed.clear()
    may_end.clear()
    made = Handover()
    yield made
    for event in may_end.values():
        event.set()
    assert made.close(30)


def wait_for(lane: str) -> None:
    until = time.monotonic() + 30
    while lane not in handed:
        assert time.monotonic() < until, f"{lane} is not handed over"
        time.sleep(0.005)


def test_whoever_waits_for_the_end_takes_no_wake_up_from_a_worker(
    ours: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "IDLE_SECONDS", 60)
    next_lanes = Handover._next

    def be_late(self: Handover) -> list[str]:
        # So that the worker waits behind whoever waits for the end.
        time.sleep(0.1)
        return next_lanes(self)

    monkeypatch.setattr(Handover, "_next", be_late)
    may_end["held"] = threading.Event()
    ours.put("held")
    wait_for("held")
    ours.put("quick")
    wait_for("quick")
    waiting = threading.Thread(target=ours.join, args=(120,))
    waiting.start()
    time.sleep(0.3)
    ours.put("after")
    wait_for("after")
    may_end["held"].set()
    waiting.join(30)
    assert not waiting.is_alive()


def test_a_runner_that_leaves_takes_no_thread_with_it(
    ours: Handover, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handover, "PAUSE_AFTER_ERROR_SECONDS", 0)
    for _ in range(2 * handover.THREADS):
        ours.put("leave")
        assert ours.join(30)
    ours.put("last")
    wait_for("last")
    assert handed.count("leave") == 2 * handover.THREADS
    assert "next sweep picks up: SystemExit" in caplog.text


def test_threads_go_when_there_is_nothing_to_do_and_come_again(ours: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "IDLE_SECONDS", 0.05)
    before = threading.active_count()
    for turn in range(3):
        ours.put(f"turn {turn}")
        wait_for(f"turn {turn}")
        until = time.monotonic() + 30
        while threading.active_count() > before:
            assert time.monotonic() < until, "a thread stays"
            time.sleep(0.01)


def test_no_more_threads_than_there_is_work_for(ours: Handover) -> None:
    before = threading.active_count()
    for number in range(20):
        ours.put(f"one after the other {number}")
        assert ours.join(30)
    assert threading.active_count() <= before + 1
    may_end.update({f"held {number}": threading.Event() for number in range(20)})
    for number in range(20):
        ours.put(f"held {number}")
    assert threading.active_count() <= before + handover.THREADS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_has_threads_of_its_own(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.runner"
    runners._import.cache_clear()
    handed.clear()
    may_end.clear()
    may_end["held"] = threading.Event()
    handover.hand_over("held")
    wait_for("held")

    def work() -> None:
        # What the parent has in work is none of the child's.
        assert handover.join(0)
        handover.hand_over("the child's")
        wait_for("the child's")
        assert handover.join(30)

    try:
        assert in_a_process(work) == 0
    finally:
        may_end["held"].set()
    assert handover.join(30)
    assert handed == ["held"]


ENDING = """
    import time, threading
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="x",
        INSTALLED_APPS=["bloonio_chat", "bloonio_chat.inbox"],
        BLOONIO_CHAT_BASE_URL="http://127.0.0.1:9",
        BLOONIO_CHAT_TENANT_ID="01900000-0000-7000-8000-000000000001",
        BLOONIO_CHAT_TENANT_SECRET="sk_test",
        BLOONIO_CHAT_INBOX_RUNNER="__main__.runner",
    )

    begun = threading.Event()

    def runner(lanes):
        print("begun", *lanes, flush=True)
        begun.set()
        time.sleep({seconds})
        print("done", *lanes, flush=True)

    django.setup()
    from bloonio_chat.inbox import handover
    handover.PATIENCE_AT_EXIT_SECONDS = {patience}
    handover.hand_over("a")
    begun.wait(60)
"""


@pytest.mark.parametrize(
    ("seconds", "patience", "told"),
    [pytest.param(0.5, 60, "begun a\ndone a\n", id="short"), pytest.param(100, 1, "begun a\n", id="long")],
)
def test_the_end_of_the_process_waits_a_while_for_what_is_in_work(seconds: float, patience: int, told: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(ENDING).format(seconds=seconds, patience=patience)],
        cwd=Path(__file__).parents[2],
        env={key: value for key, value in os.environ.items() if not key.startswith(("BLOONIO", "DJANGO"))},
        capture_output=True,
        text=True,
        # Less than the longer work takes, and more than it takes to start.
        timeout=90,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == told
