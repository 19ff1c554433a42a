"""Processes of the project, each with a group and a log of its own; none outlives whoever started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
PATIENCE_SECONDS: Final = 60

# Whoever is slow to post again finds the connection open still.
KEEP_SECONDS: Final = "60"
WEB: Final = (
    *("gunicorn", "tests.inbox.project.wsgi", "--bind", "127.0.0.1:{port}"),
    *("--graceful-timeout", "15", "--keep-alive", KEEP_SECONDS),
)
SERVERS: Final = {
    "gunicorn sync": (*WEB, "--worker-class", "sync"),
    "gunicorn gthread": (*WEB, "--worker-class", "gthread", "--threads", "4"),
    "uvicorn": (
        *("uvicorn", "tests.inbox.project.asgi:application", "--port", "{port}"),
        *("--timeout-keep-alive", KEEP_SECONDS),
    ),
}
CELERY: Final = ("celery", "-A", "tests.inbox.project.worker")
# A broker may have workers of other projects, whom these need not know. Each wants a name of its own: -n.
WORKER: Final = (
    *(*CELERY, "worker", "--pool=prefork", "--concurrency=2", "--loglevel=INFO"),
    *("--without-gossip", "--without-mingle"),
)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether something takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds; raise ``TimeoutError``, which names ``what``, if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def environment(
    database: Mapping[str, Any], deeds: Path, *, runner: str, broker: str = "", queue: str = ""
) -> dict[str, str]:
    """Return the environment of the project's processes: whence its settings come."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BLOONIO_CHAT_")},
        "DJANGO_SETTINGS_MODULE": "tests.inbox.project.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PROJECT_DATABASE": json.dumps(database),
        "PROJECT_DEEDS": str(deeds),
        "PROJECT_BROKER": broker,
        "PROJECT_QUEUE": queue,
        "BLOONIO_CHAT_INBOX_RUNNER": runner,
    }


@dataclass
class Process:
    """A process that was started, and its children."""

    name: str
    log_path: Path
    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The process's id, and its group's."""
        return self.popen.pid

    def log(self) -> str:
        """Return all that it has printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def children(self) -> list[int]:
        """Return its children's process ids."""
        found = subprocess.run(["pgrep", "-P", str(self.pid)], stdout=subprocess.PIPE, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self.popen.poll() is None

    def wait_for(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until it has printed that."""
        self._wait(lambda: text in self.log(), f"{self.name} prints {text!r}", seconds)

    def wait_for_port(self, port: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something listens there."""
        self._wait(lambda: listens(port), f"{self.name} listens", seconds)

    def _wait(self, condition: Callable[[], object], what: str, seconds: float) -> None:
        try:
            wait_until(lambda: condition() or not self.is_running(), what, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log: {self.log()[-4000:]}") from None
        if not condition():
            raise RuntimeError(f"{self.name} ended with {self.popen.returncode}: {self.log()[-4000:]}")

    def stop(self, seconds: float = 20, by: int = signal.SIGTERM) -> int:
        """Ask it to stop, wait, kill what is left of its group, and return its exit status."""
        if self.is_running():
            self.popen.send_signal(by)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        return self.kill()

    def kill(self) -> int:
        """Kill the whole group at once, as when its machine fails, and return its exit status."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.popen.wait(PATIENCE_SECONDS)


class Processes:
    """Starts processes in one environment, and ends them all at the end of a ``with`` block."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.started: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self.started:
            if process.is_running():
                process.popen.send_signal(signal.SIGTERM)
        for process in self.started:
            process.stop()

    def start(self, name: str, *arguments: str, **changes: str) -> Process:
        """Start ``python -m`` with these arguments; ``changes`` are to the environment. The log is ``name``'s."""
        log_path = self.folder / f"{name}.log"
        with log_path.open("ab") as log:
            popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env={**self.environment, **changes},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, log_path, popen)
        self.started.append(process)
        return process

    def serve(self, name: str, kind: str, port: int, *arguments: str, **changes: str) -> Process:
        """Start a server of :data:`SERVERS`; it may not listen yet."""
        return self.start(name, *(part.format(port=port) for part in SERVERS[kind]), *arguments, **changes)

    def run(self, *arguments: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Run ``python -m`` with these arguments to its end, and return what it printed; raise if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stdout[-4000:]}")
        return done.stdout

    def migrate(self) -> None:
        """Make the project's tables."""
        self.run("django", "migrate", "--run-syncdb", "--verbosity=0")

    def logs(self) -> str:
        """Return all that all of them have printed."""
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in self.folder.glob("*.log"))
