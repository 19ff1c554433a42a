"""Picking up whatever no runner finished: from the command, cron or Celery beat. At-least-once comes from here."""

from __future__ import annotations

import logging
import random as random_module
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, close_old_connections, connections, router

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.interventions import RETRIABLE_STATES, retry_all
from bloonio_chat.inbox.lanes import forget_abandoned, holder_name
from bloonio_chat.inbox.models import InboxEvent, InboxSweep
from bloonio_chat.inbox.outcomes import Tally
from bloonio_chat.inbox.processing import process
from bloonio_chat.inbox.scrubbing import describe
from bloonio_chat.inbox.states import DEAD, FAILED

logger = logging.getLogger("bloonio_chat.inbox")

SWEEP: Final = "sweep"
# How long --forever rests once there is nothing due, and after an error of the database.
IDLE_SECONDS: Final = 1.0
ERROR_SECONDS: Final = 5.0
# A lane that was left behind so long ago is nobody's.
_ABANDONED_MS: Final = 24 * 3600 * 1000
# How often --forever notes that it is there.
_NOTE_SECONDS: Final = 30.0


def sweep(**options: Any) -> Tally:
    """Deliver all that is due, as :func:`bloonio_chat.inbox.process` with these options; note first that it began."""
    note_sweep()
    return process(**options)


def note_sweep() -> None:
    """Note when this was, for the checks and the figures, and clear what dead workers left."""
    using = router.db_for_write(InboxSweep)
    sweeps = InboxSweep.objects.using(using)
    changes = {"at_ms": DatabaseClock(), "holder": holder_name()}
    if not sweeps.filter(name=SWEEP).update(**changes):
        sweeps.bulk_create([InboxSweep(name=SWEEP, **changes)], ignore_conflicts=True)
    forget_abandoned(using, older_than_ms=_ABANDONED_MS)


def process_inbox(options: Mapping[str, Any], report: Report) -> Mapping[str, int]:
    """Do what ``bloonio_process_inbox`` was asked for, and return how many events came out how.

    ``options`` has the command's: ``forever``, ``retry_failed``, ``retry_dead``, ``limit``, ``event``. Raises
    ``ValueError`` for an event that is not there or has nothing left to do.
    """
    for wanted, state in ((options["retry_failed"], FAILED), (options["retry_dead"], DEAD)):
        if wanted:
            report.line(f"{retry_all(state)} {state} events are due now.")
    if options["event"] is not None:
        tally = _one(options["event"], report)
    elif options["forever"]:
        tally = _forever(report)
    else:
        report.total(count_due(options["limit"]))
        with stopping() as stop:
            tally = sweep(limit=options["limit"], report=report, stop=stop)
    return vars(tally)


def count_due(limit: int | None = None) -> int:
    """Return how many events are due now, at most ``limit``."""
    due = InboxEvent.objects.using(router.db_for_read(InboxEvent)).filter(due_ms__lte=DatabaseClock())
    return int(due[:limit].count())


def _one(event_id: int, report: Report) -> Tally:
    events = InboxEvent.objects.using(router.db_for_write(InboxEvent))
    row = events.filter(pk=event_id).defer("body").first()
    if row is None:
        raise ValueError(f"There is no event {event_id} in the inbox.")
    if row.erased_at is not None:
        raise ValueError(f"Event {event_id} was erased: there is nothing left to deliver.")
    if row.state in RETRIABLE_STATES:
        retry_all(row.state, event_id=event_id)
    elif row.due_ms is None:
        raise ValueError(f"Event {event_id} is {row.state}: nothing is left to do.")
    report.total(1)
    tally = process(lanes=[row.lane], event_id=event_id, limit=1, report=report)
    if not tally.total:
        report.line(f"Event {event_id} is in work elsewhere, or waits for a lease to run out.")
    return tally


def _forever(report: Report) -> Tally:
    """Deliver until the process is asked to stop; what is in work is finished first."""
    report.total(None)
    tally = Tally()
    with stopping() as stop:
        keep_sweeping(tally, report, stop=stop)
    return tally


def keep_sweeping(
    tally: Tally,
    report: Report,
    *,
    stop: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    random: Callable[[], float] = random_module.random,
) -> None:
    """Deliver what is due, again and again, until ``stop`` says so; a database that is gone is waited for."""
    noted_at: float | None = None
    while not stop():
        pause = IDLE_SECONDS
        try:
            close_old_connections()
            if noted_at is None or monotonic() - noted_at >= _NOTE_SECONDS:
                note_sweep()
                noted_at = monotonic()
            done = process(stop=stop, report=report, seconds=_NOTE_SECONDS)
            tally.add(done)
            if done.total:
                continue
        except (DatabaseError, InterfaceError) as error:
            # Without the traceback: it would come every few seconds.
            logger.error("The database failed; trying again soon: %s", describe(error))  # noqa: TRY400  # as above
            connections.close_all()
            pause = ERROR_SECONDS
        if not stop():
            # Not all workers at the same moment.
            sleep(pause * (0.5 + random() / 2))


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Give what says whether SIGINT or SIGTERM has asked this process to stop; a second one stops it at once."""
    asked = threading.Event()

    def ask(number: int, _: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
