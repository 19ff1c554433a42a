"""What ``bloonio_prune`` does here: what finished events said is erased after a while, and their rows some time later.

Events that are not finished are never touched. Each batch is a transaction of its own, so that a run may end anywhere,
and no callback waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.conf import get_config
from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt

# A key that is gone lets a repeat in as a new event. How long the relay repeats is not documented; the usual schedules
# of webhooks end within days.
KEY_DAYS: Final = 30

_BATCH: Final = 500
_DAY_MS: Final = 24 * 3600 * 1000


class _Limits(NamedTuple):
    """What came before is past its time: what it said, and its row."""

    body: datetime
    row: datetime


class _Row(NamedTuple):
    pk: int
    received_at: datetime
    erased_at: datetime | None


def prune(dry_run: bool, report: Report, *, now: Callable[[], datetime] = timezone.now) -> Mapping[str, int]:
    """Erase what is past ``INBOX_RETENTION_DAYS``, counted from the receipt; return how many of what.

    ``erased_bodies`` is of how many finished events the body was erased, with signature, visitor id and
    errors; the rows keep the keys, and what was dead is buried. ``deleted_events`` is how many rows were deleted,
    receipts and all: after ``INBOX_RETENTION_DAYS``, and 30 days at least. ``deleted_lanes`` were left behind by dead
    workers. Nothing is changed if ``dry_run``. Raises what the database raises; what was done until then is done.
    """
    days = get_config().app.inbox_retention_days
    if days is None:
        report.line("BLOONIO_CHAT_INBOX_RETENTION_DAYS is not set: the inbox keeps everything.")
        return {}
    using = router.db_for_write(InboxEvent)
    row_days = max(days, KEY_DAYS)
    limits = _Limits(now() - timedelta(days=days), now() - timedelta(days=row_days))
    counted = {"erased_bodies": 0, "deleted_events": 0, "deleted_lanes": 0}
    report.total(None)
    for state in states.FINISHED_STATES:
        for rows in _past(using, state, limits):
            gone = [row.pk for row in rows if row.received_at < limits.row]
            bodies = [row.pk for row in rows if row.received_at >= limits.row and row.erased_at is None]
            if not dry_run:
                _delete(using, gone)
                _erase(using, bodies, now())
            counted["deleted_events"] += len(gone)
            counted["erased_bodies"] += len(bodies)
            report.advance(len(gone) + len(bodies))
    lanes = InboxLane.objects.using(using).filter(leased_until_ms__lte=DatabaseClock() - row_days * _DAY_MS)
    counted["deleted_lanes"] = lanes.count() if dry_run else lanes.delete()[0]
    return counted


def _past(using: str, state: str, limits: _Limits) -> Iterator[list[_Row]]:
    """Yield what came before the limit, in batches, in the order of the index on state and id."""
    events = InboxEvent.objects.using(using).filter(state=state).order_by("pk")
    last = 0
    while rows := list(map(_Row._make, _values(events.filter(pk__gt=last)[:_BATCH]))):
        last = rows[-1].pk
        past = [row for row in rows if row.received_at < limits.body]
        # Ids and times grow together but for what came in the same moment.
        if not past:
            return
        yield past


def _values(events: QuerySet[InboxEvent]) -> QuerySet[InboxEvent, tuple[int, datetime, datetime | None]]:
    return events.values_list("pk", "received_at", "erased_at")


def _erase(using: str, ids: Sequence[int], now: datetime) -> None:
    if not ids:
        return
    with transaction.atomic(using=using):
        # Whoever retries one of them waits, or was first: then it is not finished any more.
        _finished(using, ids).update(body=b"", signature="", visitor_user_id="", last_error="", erased_at=now)
        # Nobody can do anything about it any more.
        _finished(using, ids).filter(state=states.DEAD, erased_at__isnull=False).update(state=states.BURIED)
        receipts = InboxReceipt.objects.using(using).filter(event__in=ids, event__erased_at__isnull=False)
        receipts.exclude(last_error="").update(last_error="")


def _delete(using: str, ids: Sequence[int]) -> None:
    if not ids:
        return
    with transaction.atomic(using=using):
        # Locks them on every database, for the reason above.
        _finished(using, ids).update(erased_at=timezone.now())
        # Django reads what it deletes: the bodies need not be.
        _finished(using, ids).only("pk").delete()


def _finished(using: str, ids: Sequence[int]) -> QuerySet[InboxEvent]:
    events = InboxEvent.objects.using(using)
    found: QuerySet[InboxEvent] = events.filter(pk__in=ids, state__in=states.FINISHED_STATES)
    return found
