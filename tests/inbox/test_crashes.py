"""``python -m benchmarks.crashes``: a short run of it, and that it sees what it is there to see."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.crashes.account import WINDOW_SECONDS, Account, account
from benchmarks.crashes.havoc import DATABASE, WHOLE_WORKER, Mishap
from benchmarks.crashes.load import Tally
from bloonio_chat.inbox.outcomes import MOST_UNWRITTEN
from tests.inbox.project.brokers import own_broker
from tests.inbox.project.database_servers import own_database
from tests.inbox.project.processes import ROOT
from tests.secrets import MARK
from tests.services import missing


@pytest.mark.timeout(240)
def test_a_short_run_loses_nothing() -> None:
    if own_broker("redis") is None:
        missing("redis-server is not installed")
    if own_database("postgresql") is None:
        missing("PostgreSQL's own programs (initdb, postgres) are not found, or there is nobody to run them as")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crashes", "--broker=redis", "--seconds=10", "--rate=40", "--seed=5"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=200)
    finally:
        if process.poll() is None:
            # It ends all that it has started.
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Nothing was lost, and every repetition is explained." in output
    assert "database stopped and started" in output
    assert MARK not in output


# ---- that it sees what it is there to see ----------------------------------------------------------------------


def write(path: Path, *deeds: tuple[str, str, int, float], conversation: str = "c") -> None:
    lines = [f"{what}\t{name}\t{conversation}\t{pid}\t{at}\n" for what, name, pid, at in deeds]
    path.write_text("".join(lines), encoding="utf-8")


def reckon(
    path: Path,
    *,
    acknowledged: Sequence[str] = ("1",),
    rows: Sequence[tuple[str, str]] = (("1", "delivered"),),
    atomic: Sequence[str] = ("1",),
    mishaps: Sequence[Mishap] = (),
) -> Account:
    tables = {"bloonio_chat_inbox_inboxevent": rows, "project_deed": [(name,) for name in atomic]}

    def query(statement: str) -> Sequence[tuple[Any, ...]]:
        return next(its for table, its in tables.items() if table in statement)

    site: Any = SimpleNamespace(deeds_path=path, query=query)
    tally = Tally(set(acknowledged), Counter({"200": 1}), [0.01, 0.02])
    return account(site, events=1, tally=tally, mishaps=mishaps, settled_after=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deeds"
    write(path, ("begun", "1", 7, 99.9), ("done", "1", 7, 100.0))
    return path


def test_a_run_in_which_all_went_well_has_no_problems(path: Path) -> None:
    result = reckon(path)
    assert result.problems() == []
    assert dict(result.lines())["acknowledged and lost"] == "0"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": []}, "1 acknowledged events have no row: 1"),
        ({"rows": [("1", "failed")]}, "not all events are delivered: {'failed': 1}"),
        ({"atomic": []}, "1 acknowledged events did not reach the atomic receiver: 1"),
        ({"atomic": ["1", "1"]}, "1 events reached the atomic receiver twice: 1"),
        ({"acknowledged": []}, "1 of 1 events were never acknowledged"),
    ],
)
def test_what_is_lost_is_seen(path: Path, changes: dict[str, Any], problem: str) -> None:
    assert problem in reckon(path, **changes).problems()


def test_an_event_that_no_receiver_had_is_seen(path: Path) -> None:
    write(path, ("begun", "1", 7, 99.9))
    result = reckon(path)
    assert "1 acknowledged events were not delivered: 1" in result.problems()
    assert dict(result.lines())["acknowledged and lost"] == "1"


def test_a_repetition_needs_a_mishap_that_explains_it(path: Path) -> None:
    write(path, ("begun", "1", 7, 99.9), ("done", "1", 7, 100.0), ("begun", "1", 8, 105.0), ("done", "1", 8, 105.1))
    killed = Mishap(WHOLE_WORKER, 100.2, 100.3, [7])
    assert reckon(path, mishaps=[killed]).problems() == []
    assert reckon(path, mishaps=[killed]).bound == 2, "what it had done, and one in work"
    assert reckon(path, mishaps=[Mishap(DATABASE, 99.0, 101.0)]).problems() == []
    for other in (
        [],
        [Mishap(WHOLE_WORKER, 100.2, 100.3, [9])],
        [Mishap(WHOLE_WORKER, 100.1 + WINDOW_SECONDS, 200.0, [7])],
        [Mishap(DATABASE, 50.0, 60.0)],
    ):
        problems = reckon(path, mishaps=other).problems()
        assert problems[0] == "1 events were delivered twice, and no mishap explains it: 1"
        assert "1 events were delivered twice, and the bound is 0" in problems


def test_no_process_may_have_left_more_unwritten_than_it_says(path: Path) -> None:
    many = range(MOST_UNWRITTEN + 50)
    write(
        path,
        *(("done", str(number), 7, 100.0) for number in many),
        *(("done", str(number), 8, 110.0) for number in many),
    )
    result = reckon(path, mishaps=[Mishap(WHOLE_WORKER, 100.2, 100.3, [7])])
    assert result.bound == MOST_UNWRITTEN + 1
    assert f"{len(many)} events were delivered twice, and the bound is {result.bound}" in result.problems()


def test_two_at_once_in_one_conversation_are_seen(path: Path) -> None:
    overlapping = (("begun", "1", 7, 1.0), ("begun", "2", 8, 1.5), ("done", "1", 7, 2.0), ("done", "2", 8, 3.0))
    write(path, *overlapping)
    assert reckon(path).overlapping == 1
    assert reckon(path, mishaps=[Mishap(WHOLE_WORKER, 1.2, 1.3, [7])]).overlapping == 0, "it was dead by then"
    write(path, ("begun", "1", 7, 1.0), ("done", "1", 7, 1.4), ("begun", "2", 8, 1.5), ("done", "2", 8, 3.0))
    assert reckon(path).overlapping == 0


def test_its_help_can_be_read() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crashes", "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for option in ("--seconds", "--rate", "--seed", "--broker", "--database", "--keep"):
        assert option in done.stdout
