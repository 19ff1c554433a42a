"""The relay: several threads that post events at a steady rate, and post again what was not acknowledged."""

from __future__ import annotations

import heapq
import http.client
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.inbox.project.posting import Poster, body_of

THREADS: Final = 4
# The receiver works so long on an event, and on one of so many much longer.
RECEIVER_SECONDS: Final = 0.003
SLOW_RECEIVER_SECONDS: Final = 0.4
ONE_IN_SLOW: Final = 100
# Events of so many conversations; one in so many has none, and is a lane of its own.
CONVERSATIONS: Final = 40
ONE_IN_ALONE: Final = 4
# One acknowledged event in so many is sent again all the same.
ONE_IN_REPEATED: Final = 50
# A real relay is more patient, both for an answer and between two attempts.
ANSWER_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.5


@dataclass
class Tally:
    """What the relay saw: event ids with a 200, how its posts came out, and how long the acknowledgements took."""

    acknowledged: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take the other's in."""
        self.acknowledged |= other.acknowledged
        self.answers += other.answers
        self.seconds += other.seconds


class Load:
    """Posts ``rate`` events a second for so many seconds, then what is left, until all have their 200."""

    def __init__(self, port: int, *, rate: float, seconds: float, seed: int) -> None:
        self.count = int(rate * seconds)
        self._port, self._rate, self._seed = port, rate, seed
        self._tallies = [Tally() for _ in range(THREADS)]
        self._given_up = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[number], daemon=True) for number in range(THREADS)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def finish(self, seconds: float) -> Tally:
        """Wait for the last acknowledgement, but not longer than that, and return what was seen."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._given_up.set()
        whole = Tally()
        for thread, tally in zip(self._threads, self._tallies, strict=True):
            thread.join()
            whole.add(tally)
        return whole

    def _run(self, thread: int) -> None:
        rng = random.Random(f"{self._seed} {thread}")  # noqa: S311  # a run that can be repeated, no secret
        started, tally = time.monotonic(), self._tallies[thread]
        # When to post, its number, and whether for the first time.
        waiting = [(number / self._rate, number) for number in range(thread, self.count, THREADS)]
        bodies: dict[int, bytes] = {}
        heapq.heapify(waiting)
        with Poster(self._port, timeout=ANSWER_SECONDS) as poster:
            while waiting and not self._given_up.is_set():
                due, number = heapq.heappop(waiting)
                self._given_up.wait(max(0.0, started + due - time.monotonic()))
                if number not in bodies:
                    bodies[number] = _make_body(number, rng)
                answer = _post(poster, bodies[number], tally)
                tally.answers[answer] += 1
                if answer == "200":
                    tally.acknowledged.add(str(number))
                if answer != "200" or rng.randrange(ONE_IN_REPEATED) == 0:
                    heapq.heappush(waiting, (time.monotonic() - started + AGAIN_SECONDS, number))


def _post(poster: Poster, body: bytes, tally: Tally) -> str:
    try:
        seconds = poster.post(body)
    except (OSError, http.client.HTTPException):
        return "none"
    if poster.status == 200:
        tally.seconds.append(seconds)
    return str(poster.status)


def _make_body(number: int, rng: random.Random) -> bytes:
    alone = rng.randrange(ONE_IN_ALONE) == 0
    return body_of(
        str(number),
        conversation_id=None if alone else f"c{rng.randrange(CONVERSATIONS)}",
        seconds=SLOW_RECEIVER_SECONDS if rng.randrange(ONE_IN_SLOW) == 0 else RECEIVER_SECONDS,
    )
