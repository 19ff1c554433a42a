"""The Celery tasks. Each may run twice, at the same time, or never: the rows know what is to be done.

Have beat run them; without the inbox nothing else fetches what events have marked::

    CELERY_BEAT_SCHEDULE = {
        "bloonio-chat-hydrate": {"task": "bloonio_chat.mirror.hydrate", "schedule": 60, "options": {"expires": 60}},
        "bloonio-chat-sync": {"task": "bloonio_chat.mirror.sync", "schedule": 3600, "options": {"expires": 3600}},
        "bloonio-chat-verify": {"task": "bloonio_chat.mirror.verify", "schedule": 86400, "options": {"expires": 86400}},
    }

``expires``: while no worker runs, none of them piles up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from celery import Task, shared_task

from bloonio_chat.mirror import checkpoints, hydration, verifying
from bloonio_chat.mirror.pacing import PASSING, PacedCaller, Pacing, StoppedError
from bloonio_chat.mirror.reading import Counts, Reading
from bloonio_chat.mirror.sync import tenants_of
from bloonio_chat.mirror.times import aware_now

logger = logging.getLogger("bloonio_chat.mirror")

# Acknowledged when done, and given to another worker when this one dies. A result would be kept for nobody.
_OPTIONS: Final[dict[str, Any]] = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True}

# How long one task works: most of that it waits for the next call that the share allows. Shorter than the minute after
# which beat comes again, and than any sensible time limit.
TASK_SECONDS: Final = 50.0
# After how long a slice of a sync is done again where the relay failed, so often in a row: for more than an hour.
# No wait is so long that a broker takes the task for lost.
RETRY_SECONDS: Final = (60, 120, 240, 480, 900, 900, 900, 900)
# About fifty calls.
SAMPLE: Final = 20


class _LogReport:
    """A report whose lines go to the log; nobody watches how far it is."""

    def total(self, count: int | None) -> None:
        """Nothing to do."""

    def advance(self, count: int = 1) -> None:
        """Nothing to do."""

    def line(self, text: str) -> None:
        """Log it."""
        logger.info("%s", text)


@dataclass
class _Deadline:
    """Says that the time is over, so many seconds after it was made."""

    ends: float

    def __call__(self) -> bool:
        return time.monotonic() >= self.ends


@shared_task(name="bloonio_chat.mirror.hydrate", **_OPTIONS)
def hydrate() -> int:
    """Fetch what is marked, for most of a minute at the most; return how many conversations and tickets."""
    return hydration.hydrate_patiently(TASK_SECONDS)


@shared_task(name="bloonio_chat.mirror.sync", **_OPTIONS)
def sync(tenant: str | None = None) -> int:
    """For beat: begin a sync of every tenant, or of one by its alias; return of how many.

    One that is going on is left alone; one that was not finished is gone on with.
    """
    idle = [alias for alias in tenants_of(tenant) if not checkpoints.is_at_work(alias, now=aware_now())]
    for alias in idle:
        sync_slice.delay(alias)
    return len(idle)


@shared_task(name="bloonio_chat.mirror.sync_slice", bind=True, max_retries=len(RETRY_SECONDS), **_OPTIONS)
def sync_slice(self: Task[Any, Any], tenant: str, run: str | None = None) -> Mapping[str, int]:
    """Read on in a tenant's lists for most of a minute, and publish the next such task if there is more.

    ``run`` is the run that is gone on with (``checkpoints.unfinished_run``): where another task has finished it, there
    is nothing to do. ``None``: whichever there is, or a new one.
    What is marked then is for :func:`hydrate`. Where the relay does not answer in spite of all patience, the task is
    published again, to be done later. Raises ``ChatRelayError`` where that did not help either, or does not: then the
    next sync goes on there.
    """
    counts = Counts()
    if run is not None and run != checkpoints.unfinished_run(tenant):
        return vars(counts)
    pacing = Pacing(_LogReport(), stop=_Deadline(time.monotonic() + TASK_SECONDS))
    try:
        Reading(PacedCaller(tenant, pacing), counts).read_lists(restart=False)
    except StoppedError:
        # It may have waited all the time, and beat is not to begin another one beside it.
        checkpoints.wait(tenant, until=pacing.now())
        run = checkpoints.unfinished_run(tenant)
        if run is not None:
            sync_slice.delay(tenant, run)
    except PASSING as error:
        run = checkpoints.unfinished_run(tenant)
        if run is None:
            # Another task has read the rest meanwhile.
            return vars(counts)
        countdown = RETRY_SECONDS[min(self.request.retries, len(RETRY_SECONDS) - 1)]
        # Beat may come again before that, and is not to begin another one.
        checkpoints.wait(tenant, until=pacing.now() + timedelta(seconds=countdown))
        raise self.retry(args=(tenant, run), exc=error, countdown=countdown) from None
    return vars(counts)


@shared_task(name="bloonio_chat.mirror.verify", **_OPTIONS)
def verify(sample: int | None = SAMPLE, tenant: str | None = None) -> Mapping[str, int]:
    """Compare a sample of every tenant's rows, or of one's, with the relay; return how many were what.

    A difference is an error in the log of ``bloonio_chat.mirror``. ``sample=None`` compares everything, within the
    share of calls: that takes a worker for as long. Raises ``ChatRelayError`` where the relay does not answer.
    """
    counts = verifying.verify({"tenant": tenant, "sample": sample}, _LogReport())
    if any(counts[what] for what in ("missing", "stale", "extra")):
        logger.error(
            "The mirror differs from the relay: %s. bloonio_sync --restart mends what is missing or stale, and "
            "bloonio_verify says which rows the relay has no more.",
            dict(counts),
        )
    return counts
