"""Erasing one person from the inbox: what the events of their conversations said, and whose they were.

The rows stay, with the keys by which repeats are known: none of it says who it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from django.db import router, transaction
from django.db.models import QuerySet
from django.db.models.functions import Substr
from django.utils.timezone import now

from bloonio_chat.conf import get_config
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox import states
from bloonio_chat.inbox.lanes import LANE_LENGTH, lane_of
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt

# What an event says that was erased before everybody had it.
UNDELIVERED: Final = "Erased at a person's request, before it was delivered to everybody."

_BATCH: Final = 500
# How often what came in meanwhile is looked for: who goes on talking is not followed for ever.
_ROUNDS: Final = 5


class InboxForgetting:
    """The inbox's half of ``bloonio_forget``; see :class:`bloonio_chat.callbacks.ports.Forgetting`."""

    def conversations(self, *, tenant: str | None, visitor: str) -> set[tuple[str, str]]:
        """Return (tenant, conversation id) of the visitor's events. Raises ``ValueError`` for an empty id."""
        rows = _events_of(visitor).exclude(conversation_id="").values_list("tenant", "conversation_id").distinct()
        # Compared here: a database's collation may take two aliases for one.
        return {(alias, conversation) for alias, conversation in rows if tenant in (None, alias)}

    def erase(
        self, *, tenant: str | None, visitor: str, conversations: set[tuple[str, str]], dry_run: bool
    ) -> Mapping[str, int]:
        """Erase the visitor's events, and all of these conversations: the operators' events don't name the visitor.

        What names another visitor is left alone; what comes in meanwhile goes too. Return how many ``erased_events``
        there were, and how many of them were ``undelivered``: those are buried, without ``delivery_failed``. A receiver
        that is called at this moment has the event; what comes of it is not written. Raises ``ValueError`` for an empty
        id, and ``ChatRelayConfigurationError`` where no tenant is known.
        """
        using = router.db_for_write(InboxEvent)
        counted = {"erased_events": 0, "undelivered": 0}
        lanes = set(_lanes_of(pair for pair in conversations if tenant in (None, pair[0])))
        for _ in range(1 if dry_run else _ROUNDS):
            own = _events_of(visitor).values_list("tenant", "lane").distinct()
            lanes.update(lane for alias, lane in own if tenant in (None, alias))
            before = counted["erased_events"]
            for lane in sorted(lanes):
                found, undelivered = _count(using, lane, visitor) if dry_run else _erase_lane(using, lane, visitor)
                counted["erased_events"] += found
                counted["undelivered"] += undelivered
            if counted["erased_events"] == before:
                break
        return counted


def _events_of(visitor: str) -> QuerySet[InboxEvent]:
    if not visitor:
        raise ValueError("An empty visitor id is nobody's.")
    events = InboxEvent.objects.using(router.db_for_write(InboxEvent))
    found: QuerySet[InboxEvent] = events.filter(visitor_user_id=visitor)
    return found


def _in_lane(using: str, lane: str, visitor: str) -> QuerySet[InboxEvent]:
    """Return the lane's events that are the visitor's, or name nobody, and are not erased."""
    events = InboxEvent.objects.using(using)
    # A conversation may have passed from one visitor to another. Without a conversation, what names nobody was erased.
    found: QuerySet[InboxEvent] = events.filter(lane=lane, visitor_user_id__in=("", visitor)).exclude(
        visitor_user_id="", conversation_id=""
    )
    return found


def _count(using: str, lane: str, visitor: str) -> tuple[int, int]:
    events = _in_lane(using, lane, visitor)
    return events.count(), events.filter(state__in=states.OPEN_STATES).count()


def _erase_lane(using: str, lane: str, visitor: str) -> tuple[int, int]:
    """Erase the visitor's events in this lane; return how many there were, and how many were not delivered."""
    events, erased, undelivered = _in_lane(using, lane, visitor), 0, 0
    if events.exists():
        # A worker that has them in memory would write what it knows: from now on it may not.
        lease = leasing.seize(using, lane, seconds=get_config().app.inbox_lease_seconds)
        try:
            for ids in _batches(events):
                erased += len(ids)
                undelivered += _erase(using, ids)
        finally:
            lease.release([lane])
    return erased, undelivered


def _lanes_of(conversations: Iterable[tuple[str, str]]) -> Iterator[str]:
    tenants = get_config().tenants
    for alias, conversation_id in conversations:
        if alias in tenants and conversation_id:
            yield lane_of(tenants[alias].tenant_id, conversation_id, "")


def _batches(events: QuerySet[InboxEvent]) -> Iterator[list[int]]:
    last = 0
    while ids := list(events.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        yield ids
        last = ids[-1]


def _erase(using: str, ids: list[int]) -> int:
    """Erase these events, and return how many were not delivered."""
    events = InboxEvent.objects.using(using).filter(pk__in=ids)
    with transaction.atomic(using=using):
        time = now()
        # A lane of its own, since the conversation's is a digest of its id.
        events.update(
            body=b"",
            signature="",
            visitor_user_id="",
            conversation_id="",
            last_error="",
            erased_at=time,
            lane=Substr("key", 1, LANE_LENGTH),
        )
        undelivered = events.filter(state__in=states.OPEN_STATES).update(
            state=states.BURIED, due_ms=None, finished_at=time, last_error=UNDELIVERED
        )
        # Nobody can do anything about it any more.
        events.filter(state=states.DEAD).update(state=states.BURIED)
        InboxReceipt.objects.using(using).filter(event__in=ids).exclude(last_error="").update(last_error="")
    return int(undelivered)
