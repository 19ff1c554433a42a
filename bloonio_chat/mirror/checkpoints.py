"""How far a sync has come, written down after each page: a run that was killed is gone on with by the next one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import router, transaction

from bloonio_chat.mirror.models import SyncCheckpoint
from bloonio_chat.mirror.walking import Walk

# What was read so long ago is read again. A sync once a day goes on with the one of the day before.
OLDEST: Final = timedelta(hours=48)
# A run that has written nothing for so long is not at work any more.
AT_WORK: Final = timedelta(minutes=10)


def open_run(
    tenant: str, resources: Sequence[str], *, since: datetime | None, now: datetime, restart: bool
) -> dict[str, SyncCheckpoint]:
    """Return the checkpoints of a run, by resource: those of one that was not finished, else new ones.

    A run that was asked for something else, or began over two days ago, is not gone on with; nor is any if ``restart``.
    """
    using = router.db_for_write(SyncCheckpoint)
    rows = SyncCheckpoint.objects.using(using)
    found = {row.resource: row for row in rows.filter(tenant=tenant, resource__in=resources)}
    is_unfinished = any(row.finished_at is None for row in found.values())
    is_ours = all(row.since == since and now - row.began_at < OLDEST for row in found.values())
    if len(found) == len(resources) and is_unfinished and is_ours and not restart:
        return found
    with transaction.atomic(using=using):
        rows.filter(tenant=tenant).delete()
        rows.bulk_create(
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
    return {row.resource: row for row in rows.filter(tenant=tenant)}


def reach(checkpoint: SyncCheckpoint, walk: Walk, *, now: datetime) -> None:
    """Write down that a walk has come so far."""
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint)).filter(pk=checkpoint.pk)
    # Not save(): where another run has begun anew, this one's is gone, and is not to come back.
    rows.update(position=walk.position(), reached_at=now, finished_at=now if walk.is_done else None)


def is_at_work(tenant: str, *, now: datetime) -> bool:
    """Return whether a run of this tenant seems to be going on right now."""
    rows = SyncCheckpoint.objects.using(router.db_for_write(SyncCheckpoint))
    return bool(rows.filter(tenant=tenant, finished_at=None, reached_at__gt=now - AT_WORK).exists())
