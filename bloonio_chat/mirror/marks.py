"""Marked rows: which are due to be fetched, and who is at it.

Two workers don't fetch the same: whoever moves ``fetch_after_ms`` on, by compare-and-set, has the row for a while, and
only with the mark that was read before. So an event that marks the row again before or during the fetch is not lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import router
from django.db.models import QuerySet

from bloonio_chat.mirror.models import Conversation, HydratedModel, Mark, Ticket
from bloonio_chat.mirror.writable import writable

# Longer than two calls can take, with all their attempts.
LEASE_SECONDS: Final = 180
# How long a row waits after so many fetches that came to nothing.
PAUSES_SECONDS: Final = (60, 600, 3600, 6 * 3600, 24 * 3600)
# After so many answers that the relay has no such object, only another event has it fetched.
MOST_TRIES: Final = 5


@dataclass(frozen=True)
class Marked:
    """A row that is to be fetched, as it was found."""

    model: type[HydratedModel]
    pk: int
    tenant: str
    relay_id: str
    mark: Mark
    fetch_after_ms: int
    tries: int

    def take(self, *, now_ms: int) -> bool:
        """Have the row for a while; return whether nobody else does, and nothing has marked it again."""
        rows = self._rows().filter(marked_at=self.mark.marked_at, fetch_after_ms=self.fetch_after_ms)
        with writable():
            return bool(rows.update(fetch_after_ms=self._until(now_ms)) == 1)

    def release(self, *, taken_ms: int, tries: int = 0) -> None:
        """Let the row be fetched at once, should it be marked still. ``taken_ms`` is when it was taken."""
        with writable():
            self._mine(taken_ms).update(fetch_after_ms=0, fetch_tries=tries)

    def postpone(self, *, taken_ms: int, now_ms: int) -> None:
        """Let the row wait: the fetch came to nothing."""
        pause = PAUSES_SECONDS[min(self.tries, len(PAUSES_SECONDS) - 1)]
        with writable():
            self._mine(taken_ms).update(fetch_after_ms=now_ms + pause * 1000, fetch_tries=self.tries + 1)

    def give_up(self) -> bool:
        """Take the mark off a row that the relay does not have; return whether that was tried often enough."""
        if self.tries + 1 < MOST_TRIES:
            return False
        with writable():
            self._rows().filter(marked_at=self.mark.marked_at).update(marked_at=None)
        return True

    def _mine(self, taken_ms: int) -> QuerySet[Any]:
        rows: QuerySet[Any] = self._rows().filter(fetch_after_ms=self._until(taken_ms))
        return rows

    def _until(self, now_ms: int) -> int:
        return now_ms + LEASE_SECONDS * 1000

    def _rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = _rows_of(self.model).filter(pk=self.pk)
        return rows


def find_marked(
    tenant: str, *, now_ms: int, limit: int, conversations: bool = True, tickets: bool = True
) -> list[Marked]:
    """Return marked rows that are due, those that have waited longest first, at most so many."""
    found = [
        Marked(model, row.pk, tenant, row.relay_id, row.mark, row.fetch_after_ms, row.fetch_tries)
        for model, is_wanted in ((Conversation, conversations), (Ticket, tickets))
        if is_wanted
        for row in _marked(model, tenant)
        .filter(fetch_after_ms__lte=now_ms)
        .order_by("marked_at")
        .only("relay_id", "marked_at", "facts", "fetch_after_ms", "fetch_tries")[:limit]
    ]
    found.sort(key=lambda each: (each.mark.marked_at, each.relay_id))
    return found[:limit]


def count_marked(tenant: str) -> int:
    """Return how many rows of a tenant are marked, due or not."""
    return sum(_marked(model, tenant).count() for model in (Conversation, Ticket))


def _marked(model: type[HydratedModel], tenant: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = _rows_of(model).filter(tenant=tenant, marked_at__isnull=False, forgotten_at__isnull=True)
    return rows


def _rows_of(model: type[HydratedModel]) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.using(router.db_for_write(model))
    return rows
