"""What happened in a conversation, in its order: for a page that reads like a chat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.models import Conversation, Message, Ticket

_TOLD: Final = frozenset({facts.STARTED, facts.ESCALATED, facts.ASSIGNED, facts.RELEASED, facts.RESOLVED})


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened at a time.

    ``kind`` is an event's type: ``message_received`` for a message, whoever wrote it, else one of the other eight.
    What applies of ``message``, ``ticket``, ``operator_id``, ``operator_display_name`` and ``reason`` is there.
    """

    at: datetime
    kind: str
    message: Message | None = None
    ticket: Ticket | None = None
    operator_id: str = ""
    operator_display_name: str = ""
    reason: str = ""


def timeline_of(conversation: Conversation) -> list[TimelineEntry]:
    """Return what happened in a conversation, oldest first, in two queries: its messages and its tickets."""
    names: dict[str, str] = {}
    for fact in conversation.facts:
        if "name" in fact and "operator" in fact:
            names[fact["operator"]] = fact["name"]
    entries = [TimelineEntry(each.created_at, facts.MESSAGE, message=each) for each in conversation.messages.all()]
    entries += _told_of(conversation, names)
    for ticket in conversation.tickets.all():
        entries += _told_of_ticket(ticket, names)
    # Where two have one time: what came first in a row comes first here.
    return sorted(entries, key=lambda entry: (entry.at, _rank(entry)))


def _told_of(conversation: Conversation, names: dict[str, str]) -> Iterator[TimelineEntry]:
    for fact in conversation.facts:
        if fact["type"] in _TOLD:
            yield _entry(fact, names)


def _told_of_ticket(ticket: Ticket, names: dict[str, str]) -> Iterator[TimelineEntry]:
    """Tell a ticket's events, and what its object alone knows: that it was made, or resolved, without an event."""
    told = [fact for fact in ticket.facts if fact["type"] in facts.TICKET_TYPES]
    for fact in told:
        yield _entry(fact, names, ticket)
    kinds = {fact["type"] for fact in told}
    if ticket.fetched_at is not None and facts.TICKET_CREATED not in kinds:
        yield TimelineEntry(ticket.created_at, facts.TICKET_CREATED, ticket=ticket)
    if ticket.resolved_at is not None and facts.TICKET_RESOLVED not in kinds:
        yield TimelineEntry(ticket.resolved_at, facts.TICKET_RESOLVED, ticket=ticket)


def _entry(fact: facts.Fact, names: dict[str, str], ticket: Ticket | None = None) -> TimelineEntry:
    operator = fact.get("operator", "")
    return TimelineEntry(
        datetime.fromisoformat(fact["at"]),
        fact["type"],
        ticket=ticket,
        operator_id=operator,
        operator_display_name=fact.get("name") or names.get(operator, ""),
        reason=fact.get("reason", ""),
    )


def _rank(entry: TimelineEntry) -> tuple[int, int]:
    order = (facts.STARTED, facts.MESSAGE, facts.ESCALATED, facts.TICKET_CREATED, facts.ASSIGNED, facts.TICKET_ASSIGNED)
    of_kind = order.index(entry.kind) if entry.kind in order else len(order)
    return of_kind, 0 if entry.message is None else entry.message.pk
