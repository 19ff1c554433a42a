"""From the answer to the runner: a few threads of this process, so that neither the acknowledgement nor the next
request on its connection waits for a receiver or a broker.

Lanes that wait together are handed over together. Nothing here is durable, and need not be: the rows are.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import Final

from django.db import connections

from bloonio_chat.inbox.publishing import Publisher
from bloonio_chat.inbox.runners import get_runner
from bloonio_chat.inbox.scrubbing import describe

logger = logging.getLogger("bloonio_chat.inbox")

THREADS: Final = 4
# What waits beyond this is left to the sweep: a process that is so far behind must not grow.
LARGEST_QUEUE: Final = 1000
MOST_AT_ONCE: Final = 100
IDLE_SECONDS: Final = 10.0
# A broker or a database that is down is left alone for so long, and what comes meanwhile is handed over together.
PAUSE_AFTER_ERROR_SECONDS: Final = 1.0
# How long the end of the process waits for deliveries in work.
PATIENCE_AT_EXIT_SECONDS: Final = 5.0


class Handover:
    """A queue of lanes and the threads that hand them to the runner; threads come when needed and go when idle."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # In the order in which they came, each once.
        self._waiting: dict[str, None] = {}
        self._threads = 0
        self._busy = 0
        self._closed = threading.Event()

    def put(self, lane: str) -> None:
        """Have a lane handed over soon; never waits."""
        with self._changed:
            if self._closed.is_set() or len(self._waiting) >= LARGEST_QUEUE:
                return
            self._waiting[lane] = None
            if len(self._waiting) > self._threads - self._busy and self._threads < THREADS:
                name = f"bloonio-chat-inbox-{self._threads + 1}"
                # Counted once it runs: a machine may have no thread to give just now.
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._threads += 1
            # All: the one that is told could be one that waits for the end.
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is in work; return whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def close(self, seconds: float) -> bool:
        """Take nothing more, and wait for what is in work; return whether it ended in time."""
        with self._changed:
            self._closed.set()
            self._waiting.clear()
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def _work(self) -> None:
        while lanes := self._next():
            pause = PAUSE_AFTER_ERROR_SECONDS
            try:
                runner = get_runner()
                if runner is not None:
                    runner(lanes)
                pause = runner.seconds_to_gather() if isinstance(runner, Publisher) else 0.0
            # Whatever it is: a receiver that calls sys.exit() must not take this thread along, which is counted.
            except BaseException as error:  # noqa: BLE001  # the runner may be the project's; a broker raises its own
                logger.warning(
                    "The runner could not be handed %d lane(s), which the next sweep picks up: %s",
                    len(lanes),
                    describe(error),
                )
            finally:
                # These threads are none of Django's, which would do it.
                connections.close_all()
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()
            if pause:
                self._closed.wait(pause)

    def _next(self) -> list[str]:
        """Return a fair share of what waits; nothing once this thread is not needed any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed.is_set(), IDLE_SECONDS)
            share = min(MOST_AT_ONCE, -(-len(self._waiting) // THREADS))
            lanes = list(self._waiting)[:share]
            for lane in lanes:
                del self._waiting[lane]
            if lanes:
                self._busy += 1
            else:
                self._threads -= 1
            return lanes


_handover = Handover()


def hand_over(lane: str) -> None:
    """Have the runner told that something was accepted in a lane."""
    if get_runner() is not None:
        _handover.put(lane)


def join(seconds: float) -> bool:
    """Wait until everything accepted in this process was handed over; return whether that came in time.

    With the inline runner it has been delivered, then: for tests.
    """
    return _handover.join(seconds)


def _renew() -> None:
    """Threads do not survive a fork."""
    global _handover  # the one of this process
    _handover = Handover()


def _close() -> None:
    _handover.close(PATIENCE_AT_EXIT_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
atexit.register(_close)
