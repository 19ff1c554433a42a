"""``./run demo``, as its user sees it: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
STEPS = 8

# The demo with a relay whose operators' releases never happen.
SABOTAGED = """
import sys
from bloonio_chat.sandbox import SandboxRelay
SandboxRelay.release = lambda self, conversation_id: self.escalations[conversation_id]
from example_project.demo import main
sys.argv = ["demo", "--once"]
sys.exit(main())
"""


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BLOONIO_CHAT_", "DJANGO_"))}
    return {**ours, "PYTHONUNBUFFERED": "1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_once_tells_the_whole_story_and_succeeds() -> None:
    done = run("-m", "example_project.demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(".")[0] for line in done.stdout.splitlines() if re.match(r"\d+\. ", line)] == [
        str(number) for number in range(1, STEPS + 1)
    ]
    for signal_name in (
        "conversation_started",
        "message_received",
        "escalation_triggered",
        "ticket_created",
        "agent_assigned",
        "ticket_assigned",
        "agent_released",
        "agent_resolved",
        "ticket_resolved",
    ):
        assert f"signal {signal_name}" in done.stdout
    assert "FAILED" not in done.stdout
    assert done.stderr == ""
    assert "sk_sandbox_" not in done.stdout


def test_a_step_that_does_not_happen_fails_the_demo() -> None:
    done = run("-c", SABOTAGED)
    assert done.returncode == 1
    assert "FAILED: expected the signals {'agent_released': 1}, heard {}" in done.stdout


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a shell has put into the background may ignore Ctrl-C, and then so do those that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_running_until_it_is_stopped_and_leaves_nothing(stop: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "example_project.demo"],
        cwd=ROOT,
        env={**environment(), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C stops them" not in printed:
            line = process.stdout.readline()
            assert line, f"it ended by itself: {printed}"
            printed += line
        addresses = re.findall(r"http://127\.0\.0\.1:(\d+)/", printed)
        [relay_port, site_port] = sorted({int(port) for port in addresses[:2]})
        for port in (relay_port, site_port):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                assert page.status == 200
        process.send_signal(stop)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert "Traceback" not in out
    for port in (relay_port, site_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
    assert list(tmp_path.iterdir()) == []
