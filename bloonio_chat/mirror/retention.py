"""What ``bloonio_prune`` does here: conversations that nothing has happened in for long are deleted, with everything.

Rows that a key of the project's protects are kept, and said to be.

A sync passes over what is past its time, so that it does not bring back what was pruned; an event does, since then
something has happened.
"""

from __future__ import annotations

import functools
import random as random_module
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, router, transaction
from django.db.models import Q, QuerySet

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.conf import get_config
from bloonio_chat.mirror.contention import retrying
from bloonio_chat.mirror.models import FROM_EVENT, Conversation, HydratedModel, Message, Ticket
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.writable import writable

_BATCH: Final = 100

# Of the rows of some ids, those that are past their time.
_Past = Callable[[list[int]], list[int]]


def oldest_kept(now: datetime) -> datetime | None:
    """Return the time since which something must have happened in what is kept; ``None``: everything is kept."""
    days = get_config().app.mirror_retention_days
    return None if days is None else now - timedelta(days=days)


def prune(
    dry_run: bool,
    report: Report,
    *,
    now: Callable[[], datetime] = aware_now,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_module.random,
) -> Mapping[str, int]:
    """Delete what is past ``MIRROR_RETENTION_DAYS``, and return how many of what.

    ``deleted_conversations``: nothing has happened since, neither there nor in one of its tickets; open or closed,
    with ``deleted_messages`` and ``deleted_tickets``, of which some belong to no conversation. What hangs on these
    rows by a foreign key goes with them, as its ``on_delete`` says; ``protected``: so many conversations, and tickets
    without one, it keeps. Nothing is changed if ``dry_run``, which does not see what is protected. Raises what the
    database raises; what was done until then is done.
    """
    limit = oldest_kept(now())
    if limit is None:
        report.line("BLOONIO_CHAT_MIRROR_RETENTION_DAYS is not set: the mirror keeps everything.")
        return {}
    using = router.db_for_write(Conversation)
    pruning = _Pruning(using, sleep, random)
    counted = Counter({"deleted_conversations": 0, "deleted_messages": 0, "deleted_tickets": 0, "protected": 0})
    report.total(None)
    for model, its_past in ((Conversation, past_conversations), (Ticket, _past_alone)):
        past = functools.partial(its_past, using, limit)
        for ids in map(past, _batches(using, model, limit)):
            if not ids:
                continue
            done = _count(using, model, ids) if dry_run else pruning.delete(model, past, ids)
            counted.update(done)
            report.advance(sum(done.values()))
    if pruning.protecting:
        report.line(f"{counted['protected']} past their time are kept: {', '.join(sorted(pruning.protecting))}.")
    return counted


def protecting(error: IntegrityError) -> str:
    """Return the names of the models whose rows refuse that what they refer to is deleted."""
    rows: Any = getattr(error, "protected_objects", None) or getattr(error, "restricted_objects", None) or ()
    return ", ".join(sorted({row._meta.label for row in rows})) or "a table that Django does not know"


def past_conversations(using: str, limit: datetime, ids: list[int]) -> list[int]:
    """Return those of the conversations in which nothing has happened since, as far as is known."""
    rows = _quiet(Conversation, using, limit, ids).exclude(last_message_at__gte=limit)
    quiet = list(rows.values_list("pk", flat=True))
    # Asked by ids, each: for one condition of all this, databases read the tables of messages and tickets to the end.
    tickets = Ticket.objects.using(using).filter(Q(updated_at__gte=limit) | _is_heard_of(limit), conversation__in=quiet)
    messages = Message.objects.using(using).filter(created_at__gte=limit, conversation__in=quiet)
    kept = {pk for its in (tickets, messages) for pk in its.values_list("conversation", flat=True).distinct()}
    return [pk for pk in quiet if pk not in kept]


def _past_alone(using: str, limit: datetime, ids: list[int]) -> list[int]:
    return list(_quiet(Ticket, using, limit, ids).filter(conversation=None).values_list("pk", flat=True))


def _quiet(model: type[HydratedModel], using: str, limit: datetime, ids: list[int]) -> QuerySet[Any]:
    """Return those of the rows that have not changed since, nor were told of."""
    rows = model._default_manager.using(using).filter(pk__in=ids, updated_at__lt=limit)
    quiet: QuerySet[Any] = rows.exclude(_is_heard_of(limit))
    return quiet


def _is_heard_of(limit: datetime) -> Q:
    """Return the condition that a row was told of since, by an event or a child, whether or not it could be fetched."""
    return Q(marked_at__gte=limit) | Q(synced_from=FROM_EVENT, synced_at__gte=limit)


def _batches(using: str, model: type[HydratedModel], limit: datetime) -> Iterator[list[int]]:
    """Yield ids of what has not changed since, in the order of the index on ``updated_at``, and none of them twice.

    Some of these are not past their time: any further condition might have the database choose another order.
    """
    rows = model._default_manager.using(using).filter(updated_at__lt=limit).order_by("updated_at", "pk")
    after = Q()
    while some := list(rows.filter(after).values_list("updated_at", "pk")[:_BATCH]):
        yield [pk for _, pk in some]
        time, last = some[-1]
        # Where the index is entered is told by what stands alone, never by what stands on one side of an "or".
        after = Q(updated_at__gte=time) & (Q(updated_at__gt=time) | Q(pk__gt=last))


def _count(using: str, model: type[HydratedModel], ids: list[int]) -> dict[str, int]:
    if model is Ticket:
        return {"deleted_tickets": len(ids)}
    return {
        "deleted_conversations": len(ids),
        "deleted_messages": Message.objects.using(using).filter(conversation__in=ids).count(),
        "deleted_tickets": Ticket.objects.using(using).filter(conversation__in=ids).count(),
    }


@dataclass
class _Pruning:
    """Deleting batch by batch; ``protecting`` is what refuses that."""

    using: str
    sleep: Callable[[float], None]
    random: Callable[[], float]
    protecting: set[str] = field(default_factory=set)

    def delete(self, model: type[HydratedModel], past: _Past, ids: list[int]) -> Counter[str]:
        """Delete rows; where one of them is protected, the others one by one. Return how many of what."""
        try:
            done = retrying(
                lambda: _delete(self.using, model, past, ids), using=self.using, sleep=self.sleep, random=self.random
            )
        except IntegrityError as error:
            if len(ids) > 1:
                return sum((self.delete(model, past, [pk]) for pk in ids), Counter())
            self.protecting.add(f"{protecting(error)} refers to them")
            return Counter(protected=1)
        return Counter(done)


def _delete(using: str, model: type[HydratedModel], past: _Past, ids: list[int]) -> dict[str, int]:
    with writable(), transaction.atomic(using=using):
        rows = model._default_manager.using(using).filter(pk__in=ids).select_for_update().order_by("tenant", "relay_id")
        locked = list(rows.values_list("pk", flat=True))
        # By a statement of its own: one that waits for a lock does not see what came with what it waited for.
        still = past(locked)
        done = _count(using, model, still)
        if model is Conversation:
            Ticket.objects.using(using).filter(conversation__in=still).delete()
        model._default_manager.using(using).filter(pk__in=still).delete()
    return done
