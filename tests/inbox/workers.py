"""Workers side by side, and a time that passes only when a test says so."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def together(count: int, work: Callable[[int], T]) -> list[T]:
    """Run the work in so many threads, which begin at one moment; return what it returned."""
    start = threading.Barrier(count)

    def begin(number: int) -> T:
        start.wait(60)
        try:
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return [future.result(100) for future in [pool.submit(begin, number) for number in range(count)]]


def elsewhere(work: Callable[[], T]) -> T:
    """Run the work in another thread, over connections of its own, and wait for it."""
    return together(1, lambda _: work())[0]


@contextmanager
def many_connections() -> Iterator[None]:
    """Let only one test at a time, of all that run side by side, take most of what a server has."""
    with (Path(tempfile.gettempdir()) / "bloonio-chat-many-connections.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Time:
    """A clock to be injected: it moves on only where somebody sleeps, or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def in_a_process(work: Callable[[], object]) -> int:
    """Run the work in a process of its own, and return the status that it exits with: 0 if it comes to its end."""
    # A connection must not be used by two processes.
    connections.close_all()
    with warnings.catch_warnings():
        # Of the threads of whoever runs the tests, which the child does not have.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 99
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
