"""Leases on lanes: one worker at a time has a conversation's events, until its lease runs out.

A lane in work is a row with its holder's random token; taking one is a compare-and-set by the database's clock, and
so is writing an outcome: whoever lost the token no longer writes (it is the fencing token). A lane that nobody holds
has no row, so the table stays as small as the work in progress.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from django.db import OperationalError, connections
from django.db.models import Exists, OuterRef
from django.db.models.expressions import CombinedExpression

from bloonio_chat.inbox.clock import DatabaseClock, read_clock
from bloonio_chat.inbox.models import InboxEvent, InboxLane

LANE_LENGTH: Final = 32
_DEADLOCKS: Final = 5
_LOOKED_AT: Final = 200

T = TypeVar("T")


def lane_of(tenant_id: str, conversation_id: str | None, key: str) -> str:
    """Return the lane of an event: its conversation's, or one of its own. ``tenant_id`` is the relay's.

    A digest, so that no database's collation can take two conversations for one.
    """
    if not conversation_id:
        return key[:LANE_LENGTH]
    return hashlib.sha256(f"{tenant_id}\n{conversation_id}".encode()).hexdigest()[:LANE_LENGTH]


@dataclass
class Lease:
    """The lanes that one worker holds. ``seconds`` is how long a renewal lasts."""

    using: str
    seconds: int
    token: str
    lanes: set[str]

    def renew(self) -> set[str]:
        """Hold the lanes for ``seconds`` from now, and return those that were lost: another worker has them."""
        if not self.lanes:
            return set()
        mine = InboxLane.objects.using(self.using).filter(token=self.token)
        if mine.update(leased_until_ms=_until(self.seconds)) == len(self.lanes):
            return set()
        lost = self.lanes - set(mine.values_list("lane", flat=True))
        self.lanes -= lost
        return lost

    def holds(self, lane: str) -> bool:
        """Renew one lane's lease and return whether it was still held; in a transaction, it stays so to the end."""
        mine = InboxLane.objects.using(self.using).filter(token=self.token, lane=lane)
        return lane in self.lanes and mine.update(leased_until_ms=_until(self.seconds)) == 1

    def release(self, lanes: Iterable[str]) -> None:
        """Let others have these lanes."""
        released = sorted(self.lanes.intersection(lanes))
        if released:
            mine = InboxLane.objects.using(self.using).filter(token=self.token, lane__in=released)
            _despite_deadlocks(self.using, mine.delete)
            self.lanes.difference_update(released)


def lane_is_held(using: str) -> Exists:
    """Return the condition, on events, that somebody holds their lane."""
    return Exists(InboxLane.objects.using(using).filter(lane=OuterRef("lane"), leased_until_ms__gt=DatabaseClock()))


def find_due(using: str, *, limit: int, older_than_ms: int = 0) -> list[str]:
    """Return lanes that have something due and that nobody holds, those that wait longest first.

    ``limit`` events are looked at; ``older_than_ms`` leaves out what became due only just now.
    """
    due = (
        InboxEvent.objects.using(using)
        .filter(~lane_is_held(using), due_ms__lte=DatabaseClock() - older_than_ms)
        .order_by("due_ms")
        .values_list("lane", flat=True)[:limit]
    )
    return list(dict.fromkeys(due))


def is_waiting(using: str, *, older_than_ms: int) -> bool:
    """Return whether something has been due for so long and nobody has its lane, among what has waited longest."""
    due = InboxEvent.objects.using(using).filter(due_ms__lte=DatabaseClock() - older_than_ms).order_by("due_ms")
    # So many are enough: all of one long conversation, they are in work or nobody's.
    lanes = set(due.values_list("lane", flat=True)[:_LOOKED_AT])
    held = InboxLane.objects.using(using).filter(lane__in=lanes, leased_until_ms__gt=DatabaseClock())
    return bool(lanes) and held.count() < len(lanes)


def have_due(using: str, lanes: Iterable[str]) -> list[str]:
    """Return those of the lanes that have something due, whoever holds them."""
    due = InboxEvent.objects.using(using).filter(lane__in=list(lanes), due_ms__lte=DatabaseClock())
    # One may have a million.
    return sorted(due.values_list("lane", flat=True).distinct())


def take(using: str, lanes: Iterable[str], *, seconds: int) -> Lease:
    """Lease as many of the lanes as can be had, for so many seconds."""
    # In one order everywhere, so that two workers can't wait for each other.
    wanted = sorted(set(lanes))
    lease = Lease(using, seconds, uuid.uuid4().hex, set())
    if not wanted:
        return lease
    rows = InboxLane.objects.using(using)
    # Read once: an expression in each row of an INSERT takes longer than all else about it.
    until, holder = read_clock(using) + seconds * 1000, holder_name()
    new = [InboxLane(lane=lane, token=lease.token, leased_until_ms=until, holder=holder) for lane in wanted]
    _despite_deadlocks(using, lambda: rows.bulk_create(new, ignore_conflicts=True))
    mine = rows.filter(token=lease.token).values_list("lane", flat=True)
    lease.lanes = set(mine)
    if len(lease.lanes) < len(wanted):
        rest = [lane for lane in wanted if lane not in lease.lanes]
        ran_out = rows.filter(lane__in=rest, leased_until_ms__lte=DatabaseClock())
        if _despite_deadlocks(using, lambda: ran_out.update(token=lease.token, leased_until_ms=until, holder=holder)):
            lease.lanes = set(mine.all())
    return lease


def seize(using: str, lane: str, *, seconds: int) -> Lease:
    """Lease a lane whoever holds it: the holder's token is void from now on, and it writes nothing more."""
    rows = InboxLane.objects.using(using)
    token = uuid.uuid4().hex
    held = {"token": token, "leased_until_ms": _until(seconds), "holder": holder_name()}
    while not rows.filter(lane=lane).update(**held):
        # Nobody has it, or the holder has just let it go.
        rows.bulk_create([InboxLane(lane=lane, **held)], ignore_conflicts=True)
    return Lease(using, seconds, token, {lane})


def forget_abandoned(using: str, *, older_than_ms: int) -> int:
    """Delete lanes that were left behind so long ago, and return how many."""
    abandoned = InboxLane.objects.using(using).filter(leased_until_ms__lte=DatabaseClock() - older_than_ms)
    return int(abandoned.delete()[0])


def holder_name() -> str:
    """Return who this is, for people: machine, process and thread."""
    return f"{socket.gethostname()[:128]}:{os.getpid()}:{threading.current_thread().name[:64]}"


def _despite_deadlocks(using: str, write: Callable[[], T]) -> T:
    """Write, and again where that fell victim to a deadlock.

    InnoDB knows them even between two that insert one row while a third deletes it, so no order of ours avoids them.
    """
    for _ in range(_DEADLOCKS):
        try:
            return write()
        except OperationalError as error:
            # In a transaction, it undid all of that.
            if connections[using].in_atomic_block or not _is_deadlock(error):
                raise
    return write()


def _is_deadlock(error: OperationalError) -> bool:
    """By the codes of MariaDB and MySQL, and of PostgreSQL's two drivers."""
    driver = error.__cause__
    return error.args[:1] == (1213,) or "40P01" in (getattr(driver, "sqlstate", ""), getattr(driver, "pgcode", ""))


def _until(seconds: int) -> CombinedExpression:
    return DatabaseClock() + seconds * 1000
