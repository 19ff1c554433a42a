"""Delivering whatever is due: the one loop behind every runner, the command and the tasks."""

from __future__ import annotations

import logging
import random as random_module
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from django.db import connections, router
from django.db.transaction import TransactionManagementError

from bloonio_chat.callbacks.ports import Report, ports
from bloonio_chat.conf import get_config
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox.delivering import deliver, read_due
from bloonio_chat.inbox.durability import why_not_durable
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.outcomes import Outcomes, Tally

logger = logging.getLogger("bloonio_chat.inbox")

# How many lanes a worker leases at once: more while that is quick, fewer once its lanes would wait for each other.
FIRST_SIZE: Final = 8
LARGEST_SIZE: Final = 200
QUICK_SECONDS: Final = 0.5
LONG_SECONDS: Final = 2.0
# Bodies of so many events are in memory at once.
MOST_EVENTS: Final = 200
# How often to look again where other workers were faster.
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.05
# How many marked objects the mirror fetches after a round of deliveries.
_HYDRATIONS: Final = 50


def process(
    *,
    lanes: Sequence[str] | None = None,
    event_id: int | None = None,
    limit: int | None = None,
    seconds: float | None = None,
    older_than_ms: int = 0,
    stop: Callable[[], bool] = lambda: False,
    report: Report | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = random_module.random,
    sleep: Callable[[float], None] = time.sleep,
) -> Tally:
    """Deliver what is due, until there is no more, and return how many events came out how.

    ``lanes``: only there. ``event_id``: only that one, of the one lane that is given. ``limit``: at most so many
    events. ``seconds``: begin nothing new after so long. ``older_than_ms``: leave out what became due only just now.
    ``stop`` is asked between two events. Raises ``TransactionManagementError`` in a transaction, which could undo what
    is noted of receivers that were called, and what the database raises; what receivers raise is in the ledger and in
    the log.
    """
    using = router.db_for_write(InboxEvent)
    problem = why_not_durable(connections[using])
    if problem:
        raise TransactionManagementError(f"Nothing is delivered from the inbox: {problem}.")
    app = get_config().app
    search = _Search(using, lanes, older_than_ms)
    started, tally, size, tries = monotonic(), Tally(), FIRST_SIZE, 0

    def is_over() -> bool:
        return stop() or (seconds is not None and monotonic() - started >= seconds)

    while not is_over():
        room = MOST_EVENTS if limit is None else min(MOST_EVENTS, limit - tally.total)
        wanted = search.next_lanes(size, room) if room > 0 else []
        if not wanted:
            break
        began = monotonic()

        def is_enough(since: float = began) -> bool:
            return is_over() or monotonic() - since >= LONG_SECONDS

        lease = leasing.take(using, wanted, seconds=app.inbox_lease_seconds)
        search.note(wanted, lease)
        outcomes = Outcomes(lease, max_attempts=app.inbox_max_attempts, monotonic=monotonic, random=random, sleep=sleep)
        done = outcomes.tally
        try:
            # Batch after batch in the lanes that are held, since to lease others costs as much as to deliver.
            while lease.lanes:
                deliveries = read_due(lease, limit=room, event_id=event_id)
                deliver(deliveries, lease, outcomes, max_attempts=app.inbox_max_attempts, is_enough=is_enough)
                if len(deliveries) < room or limit is not None or is_enough():
                    break
        finally:
            lease.release(set(lease.lanes))
            tally.add(done)
            if report is not None and done.total:
                report.advance(done.total)
        if done.total:
            tries = 0
        elif tries >= _TRIES or event_id is not None:
            break
        elif search.just_held or lanes is None:
            tries += 1
            sleep(_PAUSE_SECONDS * random())
        size = _next_size(size, monotonic() - began)
    _hydrate(is_over)
    return tally


class _Search:
    """Which lanes to lease next: some of those that were asked for, or those that wait longest."""

    def __init__(self, using: str, asked_for: Sequence[str] | None, older_than_ms: int) -> None:
        self._using = using
        self._asked_for = None if asked_for is None else set(asked_for)
        self._older_than_ms = older_than_ms
        # Those of the last round that were ours.
        self.just_held: set[str] = set()

    def next_lanes(self, size: int, room: int) -> list[str]:
        """Return at most ``size`` lanes in which something is due, among ``room`` events at the most."""
        if self._asked_for is not None:
            return leasing.have_due(self._using, self._asked_for)[:size]
        # Whoever came for what was kept meanwhile found the lanes held, and left it to us: it may be too young.
        came_meanwhile = leasing.have_due(self._using, self.just_held if self._older_than_ms else ())[:size]
        limit = min(size, room)
        return came_meanwhile or leasing.find_due(self._using, limit=limit, older_than_ms=self._older_than_ms)

    def note(self, wanted: Iterable[str], lease: leasing.Lease) -> None:
        """Learn which of the lanes were to be had."""
        self.just_held = set(lease.lanes)
        if self._asked_for is not None:
            # Another worker has the others, and looks again after it let go.
            self._asked_for -= set(wanted) - self.just_held


def _next_size(size: int, took_seconds: float) -> int:
    if took_seconds < QUICK_SECONDS:
        return min(LARGEST_SIZE, size * 2)
    return max(1, size // 2) if took_seconds > LONG_SECONDS else size


def _hydrate(is_over: Callable[[], bool]) -> None:
    """Have the mirror fetch some of what deliveries marked."""
    if ports.hydrate is None or is_over():
        return
    try:
        ports.hydrate(_HYDRATIONS, stop=is_over)
    except Exception:
        # It is marked still, and the mirror's own tasks come round again.
        logger.exception("The mirror could not fetch what was marked.")
