"""Folding full objects, as a fetch or a sync brings them; the clocks are those of the table in ``folding``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.models import FROM_FETCH, Conversation, HydratedModel, Mark, MirrorModel, Ticket
from bloonio_chat.mirror.nesting import shallow
from bloonio_chat.mirror.rows import Rows, cut, is_bare
from bloonio_chat.sdk import types


@dataclass(frozen=True)
class Fetched:
    """A full object, to be merged.

    ``tenant`` is the alias; ``fetched_at`` when the fetch began, by our clock; ``source`` what ``synced_from`` will
    say. ``mark`` is the row's mark as it was before the fetch began: it falls, unless something newer has marked the
    row since. ``has_messages``: the conversation's messages were fetched after it, and are merged with it or before.
    ``messages_truncated``: it has more of them than the relay lists.
    """

    tenant: str
    object: types.Conversation | types.Message | types.Ticket
    fetched_at: datetime
    source: str = FROM_FETCH
    mark: Mark | None = None
    has_messages: bool = False
    messages_truncated: bool = False


def fold_fetched(rows: Rows, fetched: Fetched) -> None:
    """Take in a full object. One whose id, or a message whose conversation's, is longer than any id leaves no trace."""
    thing = fetched.object
    if isinstance(thing, types.Conversation):
        _fold_conversation(rows, fetched, thing)
    elif isinstance(thing, types.Ticket):
        _fold_ticket(rows, fetched, thing)
    else:
        _fold_message(rows, fetched, thing)


def _fold_conversation(rows: Rows, fetched: Fetched, thing: types.Conversation) -> None:
    row = rows.conversation(fetched.tenant, thing.id)
    if row is None:
        return
    visitor = cut(thing.visitor_user_id)
    values = {
        "visitor_user_id": visitor,
        "visitor_display_name": thing.visitor_display_name or "",
        "locale": cut(thing.locale),
        "channel": cut(thing.channel.value),
        "status": cut(thing.status.value),
        "metadata": shallow(thing.metadata),
        "created_at": thing.created_at,
        "updated_at": thing.updated_at,
        "last_message_at": thing.last_message_at,
        "closed_at": thing.closed_at,
        "fetched_at": fetched.fetched_at,
        "extra": shallow(thing.model_extra or {}),
    }
    was_stub = row.fetched_at is None
    is_newer = _is_newer(row, values, "updated_at", "fetched_at")
    forgotten_at = rows.forgotten_at(fetched.tenant, visitor, thing.created_at)
    if forgotten_at is not None and (is_newer or is_theirs(row, visitor)):
        rows.forget(row, forgotten_at)
    if row.forgotten_at is not None:
        return
    if is_newer:
        rows.assign(row, fetched.source, **values)
    if fetched.has_messages:
        as_of = max(filter(None, (thing.updated_at, thing.last_message_at, row.messages_as_of)))
        rows.assign(row, fetched.source, messages_as_of=as_of)
    if fetched.messages_truncated:
        rows.assign(row, fetched.source, messages_truncated=True)
    _clear_mark(rows, row, fetched, was_stub=was_stub)


def _fold_ticket(rows: Rows, fetched: Fetched, thing: types.Ticket) -> None:
    row = rows.ticket(fetched.tenant, thing.id)
    if row is None:
        return
    conversation = _parent(rows, fetched, thing.conversation_id, thing.created_at)
    visitor = cut(thing.user_id)
    values = {
        "ticket_number": cut(thing.ticket_number),
        "user_id": visitor,
        "subject": thing.subject,
        "description": thing.description,
        "priority": cut(thing.priority.value),
        "sla_due_at": thing.sla_due_at,
        "tags": thing.tags,
        "created_at": thing.created_at,
        "updated_at": thing.updated_at,
        "closed_at": thing.closed_at,
        "fetched_at": fetched.fetched_at,
        "extra": shallow(thing.model_extra or {}),
        "base": {
            "status": cut(thing.status.value),
            "operator": cut(thing.assignee_user_id or ""),
            "resolved_at": None if thing.resolved_at is None else facts.stamp(thing.resolved_at),
        },
    }
    was_stub = row.fetched_at is None
    is_newer = _is_newer(row, values, "updated_at", "fetched_at")
    forgotten_at = rows.forgotten_at(fetched.tenant, visitor, thing.created_at)
    if forgotten_at is not None:
        if conversation is not None and is_theirs(conversation, visitor):
            rows.forget(conversation, forgotten_at)
        if is_newer or is_theirs(row, visitor):
            rows.forget(row, forgotten_at)
    if conversation is not None and conversation.forgotten_at is not None:
        rows.forget(row, conversation.forgotten_at)
    if row.forgotten_at is not None:
        return
    if is_newer:
        rows.assign(row, fetched.source, **values)
    # What was known when a fetch began is in what it brought, whatever the times say.
    heard_at = None if fetched.mark is None else fetched.mark.heard_at
    rows.assign(row, fetched.source, as_of=max(filter(None, (thing.updated_at, row.as_of, heard_at))))
    rows.compute(row, fetched.source)
    rows.tie(row, fetched.source, conversation, thing.escalation_id)
    _clear_mark(rows, row, fetched, was_stub=was_stub)


def _fold_message(rows: Rows, fetched: Fetched, thing: types.Message) -> None:
    conversation = _parent(rows, fetched, thing.conversation_id, thing.created_at)
    if conversation is None or conversation.forgotten_at is not None:
        return
    row = rows.message(fetched.tenant, thing.id)
    if row is None:
        return
    if rows.link(row, conversation.relay_id):
        rows.touch(row, fetched.source)
    keeps = rows.keeps_messages
    values = {
        "role": cut(thing.role.value),
        "content": thing.content if keeps else "",
        "attachments": shallow(_dumped(thing.attachments)) if keeps else [],
        "citations": shallow(_dumped(thing.citations)),
        "confidence": thing.confidence,
        "created_at": thing.created_at,
        "fetched_at": fetched.fetched_at,
        # Nobody knows what texts are in there.
        "extra": shallow(thing.model_extra or {}) if keeps else {},
    }
    if _is_newer(row, values, "fetched_at"):
        rows.assign(row, fetched.source, **values)


def is_theirs(row: Conversation | Ticket, visitor: str) -> bool:
    """Return whether a row is taken for a visitor's who is named beside it: unless a full object says it is another's.

    The relay hands a guest's conversation to whom the guest turns out to be, so old events may name another.
    """
    whose = row.user_id if isinstance(row, Ticket) else row.visitor_user_id
    return row.fetched_at is None or whose in ("", visitor)


def _parent(rows: Rows, fetched: Fetched, conversation_id: str | None, time: datetime) -> Conversation | None:
    """Return the conversation that a child belongs to; one that nobody has told of yet is marked."""
    conversation = rows.conversation(fetched.tenant, conversation_id)
    if conversation is not None and conversation.forgotten_at is None:
        was_bare = is_bare(conversation)
        rows.hear_of(conversation, fetched.source, time)
        if was_bare:
            rows.mark(conversation, fetched.source)
    return conversation


def _is_newer(row: MirrorModel, values: Mapping[str, Any], *clock: str) -> bool:
    """Return whether these values are to replace the row's, by the columns that are its clock."""
    if row.fetched_at is None:
        return True
    heard, known = [values[name] for name in clock], [getattr(row, name) for name in clock]
    if heard != known:
        return heard > known
    return _canonical(values) > _canonical({name: getattr(row, name) for name in values})


def _clear_mark(rows: Rows, row: HydratedModel, fetched: Fetched, *, was_stub: bool) -> None:
    # A mark that stays, on what was here before, is of something that is still to be fetched: that goes on waiting.
    if row.fetch_tries and (was_stub or fetched.mark is not None or row.marked_at is None):
        # It is there after all, so the next mark has not to wait.
        rows.assign(row, fetched.source, fetch_tries=0, fetch_after_ms=0)
    if fetched.mark is not None:
        rows.settle(row, fetched.source, fetched.mark)


def _dumped(items: Iterable[types.RelayObject]) -> list[dict[str, Any]]:
    return [item.model_dump(mode="json") for item in items]


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=facts.stamp)
