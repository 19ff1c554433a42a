"""What goes wrong while the load runs: processes are killed, the broker and the database are stopped and started."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from benchmarks.crashes.site import BEAT, WEB, WORKERS, Site

# Seconds between two mishaps, on average; and how long what is stopped stays away.
PAUSE_SECONDS: Final = 1.0
SHORTEST_OUTAGE_SECONDS: Final = 0.5
LONGEST_OUTAGE_SECONDS: Final = 4.0

DATABASE: Final = "database stopped and started"
WORKER_PROCESS: Final = "worker process killed"
WHOLE_WORKER: Final = "whole worker killed"


@dataclass
class Mishap:
    """What was done from when to when (``time.monotonic``), and which worker processes were killed by it."""

    kind: str
    began: float
    ended: float = 0.0
    killed: list[int] = field(default_factory=list)


class Havoc:
    """Does mishaps at random, each kind at least once if there is time; the seed decides which and when."""

    def __init__(self, site: Site, *, seed: int, report: Callable[[str], None]) -> None:
        self.mishaps: list[Mishap] = []
        self._site = site
        self._report = report
        self._random = random.Random(seed)  # noqa: S311  # a run that can be repeated, no secret
        # How often each comes, beside the others.
        self._kinds: dict[str, tuple[Callable[[Mishap], None], int]] = {
            WORKER_PROCESS: (self._kill_worker_process, 6),
            WHOLE_WORKER: (self._kill_whole_worker, 3),
            "web process killed": (self._kill_web_process, 6),
            "whole web server killed": (lambda _: self._kill(WEB), 1),
            "beat killed": (lambda _: self._kill(BEAT), 1),
            "broker stopped and started": (self._restart_broker, 4),
        }
        if site.database_server is not None:
            self._kinds[DATABASE] = (self._restart_database, 3)

    def run(self, seconds: float) -> None:
        """Do mishaps for so long; all that was stopped runs again in the end."""
        deadline = time.monotonic() + seconds
        for kind in self._order():
            pause = min(self._random.expovariate(1 / PAUSE_SECONDS), 3 * PAUSE_SECONDS)
            time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return
            mishap = Mishap(kind, time.monotonic())
            self._kinds[kind][0](mishap)
            mishap.ended = time.monotonic()
            self.mishaps.append(mishap)
            self._site.start_what_ended()
            self._report(kind)

    def _order(self) -> Iterator[str]:
        each = list(self._kinds)
        self._random.shuffle(each)
        yield from each
        weights = [weight for _, weight in self._kinds.values()]
        while True:
            yield self._random.choices(list(self._kinds), weights)[0]

    def _kill_worker_process(self, mishap: Mishap) -> None:
        worker = self._site.running[self._random.choice(WORKERS)]
        # None is there while the worker starts.
        for pid in self._random.sample(children, 1) if (children := sorted(worker.children())) else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                mishap.killed.append(pid)

    def _kill_whole_worker(self, mishap: Mishap) -> None:
        worker = self._site.running[self._random.choice(WORKERS)]
        mishap.killed = worker.children()
        worker.kill()

    def _kill_web_process(self, _: Mishap) -> None:
        children = sorted(self._site.running[WEB].children())
        if children:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(children), signal.SIGKILL)

    def _kill(self, name: str) -> None:
        self._site.running[name].kill()

    def _restart_broker(self, _: Mishap) -> None:
        self._site.broker.stop()
        time.sleep(self._outage())
        self._site.broker.start()

    def _restart_database(self, mishap: Mishap) -> None:
        server = self._site.database_server
        if server is None:
            raise RuntimeError("there is no database of our own to restart")
        server.stop(self._random.choice(server.ways))
        time.sleep(self._outage())
        server.start()

    def _outage(self) -> float:
        return self._random.uniform(SHORTEST_OUTAGE_SECONDS, LONGEST_OUTAGE_SECONDS)
