"""The relay's time. It runs with the machine's, and can be moved: ``relay.clock.advance(60)``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone


class Clock:
    """What the whole sandbox asks for the time, and waits on.

    ``source`` gives the Unix time in seconds.
    """

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._ahead = 0.0
        # Whoever waits, for a moment or for something to happen, waits on this, so that moving the time wakes all.
        self.changed = threading.Condition(threading.RLock())

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._source() + self._ahead

    def now_ms(self) -> int:
        """Return the Unix time in milliseconds."""
        return int(self.now() * 1000)

    def moment(self, seconds_ahead: float = 0.0) -> datetime:
        """Return the time, or the time so many seconds from now, in UTC."""
        return datetime.fromtimestamp(self.now() + seconds_ahead, timezone.utc)

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass at once; negative ones turn the clock back."""
        with self.changed:
            self._ahead += seconds
            self.changed.notify_all()

    def wake(self) -> None:
        """Let all that wait look again at what they wait for."""
        with self.changed:
            self.changed.notify_all()

    def sleep(self, seconds: float, *, interrupted: Callable[[], bool]) -> bool:
        """Wait until that many seconds have passed; return ``False`` when interrupted before."""
        ends = self.now() + seconds
        with self.changed:
            while not interrupted():
                left = ends - self.now()
                if left <= 0:
                    return True
                self.changed.wait(left)
        return False
