"""How far a sync has come, written down after each page, and after each call within it: a run that was killed is gone
on with by the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import router, transaction

from bloonio_chat.mirror.contention import retrying
from bloonio_chat.mirror.models import SyncCheckpoint
from bloonio_chat.mirror.pacing import Pacing
from bloonio_chat.mirror.walking import Walk

# A run that was left so long ago is not gone on with. A sync once a day goes on with the one of the day before.
OLDEST: Final = timedelta(hours=48)
# More than a sync asks for between two checkpoints: a page, and the beginning of the list once more.
MOST_FAILED: Final = 1000
# A run that has written nothing for so long is not at work any more.
AT_WORK: Final = timedelta(minutes=10)
# How far ahead a run may say that it goes on.
LONGEST_WAIT: Final = timedelta(hours=1)


def open_run(
    tenant: str,
    resources: Sequence[str],
    pacing: Pacing,
    *,
    since: datetime | None,
    restart: bool,
) -> dict[str, SyncCheckpoint]:
    """Return the checkpoints of a run, by resource: those of one that was not finished, else new ones.

    A run that was asked for something else, or was left two days ago, is not gone on with; nor is any if ``restart``.
    Of two that begin together, the later looks again, and so goes on with the other's where it is asked for the same.
    """
    using, now = router.db_for_write(SyncCheckpoint), pacing.now()

    def open_once() -> dict[str, SyncCheckpoint]:
        rows = SyncCheckpoint.objects.using(using).filter(tenant=tenant)
        found = {row.resource: row for row in rows.filter(resource__in=resources)}
        is_unfinished = any(row.finished_at is None for row in found.values())
        # While one list is read the others' rows stay as they are.
        is_ours = all(row.since == since for row in found.values()) and any(
            now - row.reached_at < OLDEST for row in found.values()
        )
        if len(found) == len(resources) and is_unfinished and is_ours and not restart:
            return found
        with transaction.atomic(using=using):
            rows.delete()
            SyncCheckpoint.objects.using(using).bulk_create(
                [
                    SyncCheckpoint(
                        tenant=tenant,
                        resource=resource,
                        since=since,
                        is_restart=restart,
                        began_at=now,
                        reached_at=now,
                    )
                    for resource in resources
                ]
            )
            return {row.resource: row for row in rows}

    return retrying(open_once, using=using, sleep=pacing.sleep, random=pacing.random)


def reach(checkpoint: SyncCheckpoint, walk: Walk, *, now: datetime) -> None:
    """Write down that a walk has come so far: to the next page."""
    walk.done.clear()
    checkpoint.position = walk.position()
    _write(checkpoint, now, finished_at=now if walk.is_done else None)


def note(checkpoint: SyncCheckpoint, walk: Walk, relay_id: str, changed_at: datetime, *, now: datetime) -> None:
    """Write down, at once, that an object of the page was read or failed at, as it was then.

    Else a slice of a sync that has no time for a whole page, or that one object takes all the time of, would be
    followed by the same one for ever.
    """
    walk.done[relay_id] = changed_at.isoformat()
    walk.failed = walk.failed[-MOST_FAILED:]
    # The walk itself may be further by now than what was read through.
    of_page = {"failed": walk.failed, "done": walk.done, "in_vain": walk.in_vain}
    checkpoint.position = {**checkpoint.position, **of_page}
    _write(checkpoint, now)


def is_noted(walk: Walk, relay_id: str, changed_at: datetime) -> bool:
    """Return whether an object of the page was read or failed at, and is as it was then."""
    return walk.done.get(relay_id) == changed_at.isoformat()


def unfinished_run(tenant: str) -> str | None:
    """Return what a tenant's run is known by, if there is one that is not finished: when it began."""
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint)).filter(tenant=tenant, finished_at=None)
    began_at = rows.values_list("began_at", flat=True).first()
    return None if began_at is None else began_at.isoformat()


def wait(tenant: str, *, until: datetime) -> None:
    """Write down that a run that is not finished goes on at that time."""
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint))
    rows.filter(tenant=tenant, finished_at=None).update(reached_at=until)


def _write(checkpoint: SyncCheckpoint, now: datetime, **columns: datetime | None) -> None:
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint)).filter(pk=checkpoint.pk)
    # Not save(): where another run has begun anew, this one's is gone, and is not to come back.
    rows.update(position=checkpoint.position, reached_at=now, **columns)


def is_at_work(tenant: str, *, now: datetime) -> bool:
    """Return whether a run of this tenant seems to be going on right now."""
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint))
    # What is further ahead than any wait comes from a clock that was wrong.
    lately = rows.filter(reached_at__gt=now - AT_WORK, reached_at__lte=now + LONGEST_WAIT)
    return bool(lately.filter(tenant=tenant, finished_at=None).exists())
