"""What a row becomes by what is heard of it: one event, or one full object from the relay. No database, no clock.

Every group of columns is a join: it takes the greater of what it has and what it hears, by the group's clock, so any
order, any duplication and any interleaving of the same events and objects ends in the same rows.

=================================  ============================================  ====================================
columns                            told by                                       clock
=================================  ============================================  ====================================
conversation: visitor, locale,     the full object; until there is one, events   the object's ``updated_at``, then
channel, status, metadata, extra,  say the visitor, and their times stand for    ``fetched_at``, then its content
its times, ``fetched_at``          ``created_at`` (the first), ``updated_at``
                                   and ``last_message_at`` (the last)
``agent_status`` to                ``facts``: the events themselves, a growing   ``claim_count`` and the step within
``escalated_at``                   set, of which the columns are computed        the claim; the event's time where a
                                                                                 body counts no claims
``messages_truncated``             fetches                                       once true, it stays so
``messages_as_of``                 fetches of messages                           the latest
ticket: number, user, subject, …,  the full object; until there is one, events   as the conversation's
its times, ``extra``, ``base``     say number, user and times
ticket: ``status``,                ``base`` (what the object said) and, over     an event counts if it is newer than
``assignee_user_id``,              it, the events in ``facts`` that are newer    ``as_of``: the latest ``updated_at``
``resolved_at``                                                                  of any object, or newest event that
                                                                                 was known when a fetch began
a message's or ticket's            events and objects                            none: it never changes. Where two
conversation, ``escalation_id``                                                  differ, the greater text
message: all else                  the full object; until there is one, the      ``fetched_at``, then its content
                                   event says who wrote it and when
``heard_at``                       events                                        the first
``forgotten_at``                   erasing, and events and objects of who was    once set, it stays so; not set where
                                   erased                                        a full object names somebody else
=================================  ============================================  ====================================

Erasing is the exception to any order: a stub that is erased, since an event names who was forgotten, stays so, even if
its full object would have said that it is somebody else's by now.

A full object replaces its columns as a whole, so what is null in it is null; an event only ever adds. ``marked_at`` and
``synced_…`` are no data: a row is marked when an event is news, and the mark falls once a fetch that began afterwards
is merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.merging import Fetched as Fetched
from bloonio_chat.mirror.merging import fold_fetched, is_theirs
from bloonio_chat.mirror.models import FROM_EVENT, Conversation, HydratedModel, Ticket
from bloonio_chat.mirror.rows import Key as Key
from bloonio_chat.mirror.rows import Rows, cut, is_bare
from bloonio_chat.sdk.enums import MessageRole
from bloonio_chat.sdk.events import WebhookEvent


@dataclass(frozen=True)
class Erasure:
    """A conversation or a ticket of a person who is erased: its id, and when that was asked for."""

    conversation_id: str | None
    ticket_id: str | None
    forgotten_at: datetime


def fold(rows: Rows, tenant: str, heard: WebhookEvent | Fetched | Erasure) -> None:
    """Take in whatever is heard. ``tenant`` is the alias."""
    if isinstance(heard, WebhookEvent):
        fold_event(rows, tenant, heard)
    elif isinstance(heard, Fetched):
        fold_fetched(rows, heard)
    else:
        fold_erasure(rows, tenant, heard)


def fold_event(rows: Rows, tenant: str, event: WebhookEvent) -> None:
    """Take in what an event says. ``tenant`` is the alias.

    An event that names neither a conversation nor a ticket leaves no trace; one of an unknown type marks what it names.
    """
    time = event.occurred_at
    conversation = rows.conversation(tenant, event.conversation_id)
    ticket = rows.ticket(tenant, event.ticket_id)
    _forget_its_visitor(rows, conversation, ticket, event, tenant)
    if conversation is not None and conversation.forgotten_at is not None:
        return
    if ticket is not None and ticket.forgotten_at is not None:
        ticket = None
    marked: list[HydratedModel] = [row for row in (conversation, ticket) if row is not None and is_bare(row)]
    if conversation is not None:
        rows.hear_of(conversation, FROM_EVENT, time)
        _hint(rows, conversation, visitor_user_id=event.visitor_user_id)
    if ticket is not None:
        rows.hear_of(ticket, FROM_EVENT, time)
        _hint(rows, ticket, user_id=event.visitor_user_id, ticket_number=event.ticket_number)
        rows.tie(ticket, FROM_EVENT, conversation, event.escalation_id)
    if _is_news(rows, conversation, ticket, event):
        marked = [] if conversation is None else [conversation, *_perhaps_changed(rows.tickets_of(conversation))]
        if ticket is not None and ticket not in marked:
            marked.append(ticket)
    for row in marked:
        rows.mark(row, FROM_EVENT)


def _perhaps_changed(tickets: list[Ticket]) -> list[Ticket]:
    """Return those of a conversation's tickets to which something may have happened with it.

    Each costs a call. So of the many that a faithful customer leaves behind, only the last one: it may be open again.
    """
    done = [ticket for ticket in tickets if ticket.fetched_at is not None and ticket.status in facts.TICKET_DONE]
    if len(done) < 2:
        return tickets
    done.remove(max(done, key=lambda ticket: (ticket.created_at, ticket.relay_id)))
    return [ticket for ticket in tickets if ticket not in done]


def _forget_its_visitor(
    rows: Rows, conversation: Conversation | None, ticket: Ticket | None, event: WebhookEvent, tenant: str
) -> None:
    """Erase what the event is about where its visitor was forgotten, and a ticket where its conversation was erased."""
    visitor = cut(event.visitor_user_id or "")
    forgotten_at = rows.forgotten_at(tenant, visitor, event.occurred_at)
    if forgotten_at is not None:
        for row in (conversation, ticket):
            if row is not None and is_theirs(row, visitor):
                rows.forget(row, forgotten_at)
    if conversation is not None and conversation.forgotten_at is not None and ticket is not None:
        rows.forget(ticket, conversation.forgotten_at)


def _is_news(rows: Rows, conversation: Conversation | None, ticket: Ticket | None, event: WebhookEvent) -> bool:
    """Keep what the event says, where it belongs, and return whether it was not known."""
    kind = event.event_type.value
    if kind == facts.MESSAGE and conversation is not None and event.message_id:
        return _hear_message(rows, conversation, event)
    # Where the ticket was forgotten, so is what is said of it.
    is_about_ticket = bool(event.ticket_id) and (kind in facts.TICKET_TYPES or conversation is None)
    home = ticket if is_about_ticket else conversation
    if home is None or not facts.add(home.facts, facts.fact_of(event)):
        return False
    rows.touch(home, FROM_EVENT)
    rows.compute(home, FROM_EVENT)
    return True


def _hear_message(rows: Rows, conversation: Conversation, event: WebhookEvent) -> bool:
    time = event.occurred_at
    if conversation.fetched_at is None:
        rows.assign(conversation, FROM_EVENT, last_message_at=max(conversation.last_message_at or time, time))
    message = rows.message(conversation.tenant, event.message_id)
    if message is None:
        return False
    if rows.link(message, conversation.relay_id):
        rows.touch(message, FROM_EVENT)
    was_heard = message.heard_at is not None
    rows.assign(message, FROM_EVENT, heard_at=min(message.heard_at or time, time))
    if message.fetched_at is None:
        rows.assign(message, FROM_EVENT, created_at=message.heard_at, role=MessageRole.VISITOR.value)
    return not was_heard


def _hint(rows: Rows, row: HydratedModel, **said: str | None) -> None:
    """Let a stub's texts be what events say; they contradict each other only where the relay errs."""
    if row.fetched_at is None:
        rows.assign(row, FROM_EVENT, **{name: max(getattr(row, name), text) for name, text in said.items() if text})


def fold_erasure(rows: Rows, tenant: str, erasure: Erasure) -> None:
    """Erase a conversation with all its messages and tickets, or a ticket; what is not there yet never comes."""
    for row in (rows.conversation(tenant, erasure.conversation_id), rows.ticket(tenant, erasure.ticket_id)):
        if row is not None:
            rows.forget(row, erasure.forgotten_at)
