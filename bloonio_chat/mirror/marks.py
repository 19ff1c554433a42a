"""Marked rows: which are due to be fetched, and who is at it.

Two workers don't fetch the same: whoever moves ``taken_until_ms`` on, by compare-and-set, has the row for a while, and
only with the mark that was read before. So an event that marks the row again before or during the fetch is not lost.
The row that has waited longest is the first, however often it was marked since.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import router
from django.db.models import QuerySet

from bloonio_chat.conf import uses_time_zones
from bloonio_chat.mirror.models import Conversation, HydratedModel, Mark, Ticket
from bloonio_chat.mirror.writable import writable

# Longer than two calls can take, with all their attempts.
LEASE_SECONDS: Final = 180
# How long a row waits after so many fetches that came to nothing.
PAUSES_SECONDS: Final = (60, 600, 3600, 6 * 3600, 24 * 3600)
# After so many answers that the relay has no such object, only another event has it fetched: once after each pause.
MOST_TRIES: Final = len(PAUSES_SECONDS) + 1
# A row that was marked so long before a list was asked for is in the list as it was marked for, whatever the clocks of
# two machines say; one that was marked later is fetched by itself.
_SKEW: Final = timedelta(seconds=60)
# Where USE_TZ is off, a time is read back earlier in the hour that a zone has twice (some have more of it).
_READ_BACK_EARLIER: Final = timedelta(hours=2)


@dataclass(frozen=True)
class Marked:
    """A row that is to be fetched, as it was found."""

    model: type[HydratedModel]
    pk: int
    tenant: str
    relay_id: str
    mark: Mark
    waiting_since: datetime
    taken_until_ms: int
    fetch_after_ms: int
    tries: int

    def take(self, *, now_ms: int) -> bool:
        """Have the row for a while; return whether nobody else does, and nothing has marked it again."""
        as_found = self._rows().filter(
            marked_at=self.mark.marked_at, taken_until_ms=self.taken_until_ms, fetch_after_ms=self.fetch_after_ms
        )
        with writable():
            return bool(as_found.update(taken_until_ms=_until(now_ms)) == 1)

    def release(self, *, taken_ms: int, tries: int = 0) -> None:
        """Let the row be fetched at once, should it be marked still. ``taken_ms`` is when it was taken."""
        with writable():
            self._mine(taken_ms).update(taken_until_ms=0, fetch_after_ms=0, fetch_tries=tries)

    def postpone(self, *, taken_ms: int, now_ms: int) -> None:
        """Let the row wait, longer each time: the fetch came to nothing."""
        self._wait(taken_ms, now_ms, PAUSES_SECONDS[min(self.tries, len(PAUSES_SECONDS) - 1)], self.tries + 1)

    def step_aside(self, *, taken_ms: int, now_ms: int) -> None:
        """Let the row wait for a little, so that others are the first: the fetch came to nothing for all of them."""
        self._wait(taken_ms, now_ms, PAUSES_SECONDS[0], self.tries)

    def postpone_or_give_up(self, *, taken_ms: int, now_ms: int) -> None:
        """Let the row wait, or take its mark off if that was tried often enough: the relay does not have it."""
        if self.tries + 1 < MOST_TRIES:
            self.postpone(taken_ms=taken_ms, now_ms=now_ms)
            return
        with writable():
            self._mine(taken_ms).filter(marked_at=self.mark.marked_at).update(marked_at=None, waiting_since=None)
        self.release(taken_ms=taken_ms)

    def _wait(self, taken_ms: int, now_ms: int, seconds: int, tries: int) -> None:
        with writable():
            mine = self._mine(taken_ms)
            mine.update(taken_until_ms=0, fetch_after_ms=now_ms + seconds * 1000, fetch_tries=tries)

    def _mine(self, taken_ms: int) -> QuerySet[Any]:
        rows: QuerySet[Any] = self._rows().filter(taken_until_ms=_until(taken_ms))
        return rows

    def _rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = _rows_of(self.model).filter(pk=self.pk)
        return rows


def find_marked(
    tenant: str,
    *,
    now_ms: int,
    limit: int,
    conversations: bool = True,
    tickets: bool = True,
    untried_first: Container[type[HydratedModel]] = (),
) -> list[Marked]:
    """Return marked rows that are due, those that have waited longest first, at most so many.

    Of the models in ``untried_first``, those that were tried in vain are behind all others.
    """
    found = [
        Marked(
            model,
            row.pk,
            tenant,
            row.relay_id,
            row.mark,
            row.waiting_since,
            row.taken_until_ms,
            row.fetch_after_ms,
            row.fetch_tries,
        )
        for model, is_wanted in ((Conversation, conversations), (Ticket, tickets))
        if is_wanted
        for row in _due(model, tenant, now_ms, limit, model in untried_first)
    ]
    found.sort(key=lambda each: (each.tries > 0 and each.model in untried_first, each.waiting_since, each.relay_id))
    return found[:limit]


def _due(model: type[HydratedModel], tenant: str, now_ms: int, limit: int, untried_first: bool) -> list[Any]:
    rows = (
        _marked(model, tenant)
        .filter(taken_until_ms__lte=now_ms, fetch_after_ms__lte=now_ms)
        .order_by("waiting_since")
        .only("relay_id", "marked_at", "waiting_since", "facts", "taken_until_ms", "fetch_after_ms", "fetch_tries")
    )
    if not untried_first:
        return list(rows[:limit])
    # Two queries, each of which walks along the index: an order by both columns would sort all that is marked.
    untried = list(rows.filter(fetch_tries=0)[:limit])
    return [*untried, *rows.filter(fetch_tries__gt=0)[: limit - len(untried)]]


def settled_mark(row: HydratedModel | None, began_at: datetime) -> Mark | None:
    """Return a row's mark, if what it was marked for is surely in a list that was asked for then."""
    if row is None or row.marked_at is None:
        return None
    surely = _SKEW if uses_time_zones() else _SKEW + _READ_BACK_EARLIER
    return row.mark if row.marked_at < began_at - surely else None


def count_marked(tenant: str) -> int:
    """Return how many rows of a tenant are marked, due or not."""
    return sum(_marked(model, tenant).count() for model in (Conversation, Ticket))


def _marked(model: type[HydratedModel], tenant: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = _rows_of(model).filter(tenant=tenant, waiting_since__isnull=False, forgotten_at__isnull=True)
    return rows


def _until(taken_ms: int) -> int:
    return taken_ms + LEASE_SECONDS * 1000


def _rows_of(model: type[HydratedModel]) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.using(router.db_for_write(model))
    return rows
