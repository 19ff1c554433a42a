"""Which columns of a row differ from the relay's object. Written apart from the folding, whose work it checks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any, Final

from django.db import router

from bloonio_chat.mirror.models import Conversation, Message, MirrorModel, Ticket
from bloonio_chat.mirror.nesting import shallow
from bloonio_chat.sdk import types
from bloonio_chat.sdk.events import LONGEST_ID
from bloonio_chat.times import to_database_time

Thing = types.Conversation | types.Message | types.Ticket

_TIMES: Final = ("created_at", "updated_at")
# The fields that both sides call the same.
_COLUMNS: Final[dict[type[MirrorModel], tuple[str, ...]]] = {
    Conversation: (
        "visitor_user_id",
        "visitor_display_name",
        "locale",
        "channel",
        "status",
        "metadata",
        *_TIMES,
        "last_message_at",
        "closed_at",
    ),
    Message: ("role", "content", "attachments", "citations", "confidence", "created_at"),
    Ticket: (
        "ticket_number",
        "user_id",
        "subject",
        "description",
        "priority",
        "status",
        "assignee_user_id",
        "sla_due_at",
        "tags",
        "escalation_id",
        *_TIMES,
        "resolved_at",
        "closed_at",
    ),
}


def is_behind(row: Conversation | Ticket, thing: types.Conversation | types.Ticket) -> bool:
    """Return whether a row lacks what the relay's object shows, and not the other way round."""
    if row.fetched_at is None:
        return True
    return row.updated_at <= thing.updated_at and bool(differences(row, thing))


def count_changed(tenant: str, listed: Iterable[types.Message]) -> int:
    """Return how many of these messages are not here as they are."""
    by_id = {each.id: each for each in listed}
    rows = Message.objects.using(router.db_for_write(Message)).select_related("conversation")
    equal = [
        row
        for row in rows.filter(tenant=tenant, relay_id__in=list(by_id))
        if row.fetched_at is not None and not differences(row, by_id[row.relay_id])
    ]
    return len(by_id) - len(equal)


def differences(row: MirrorModel, thing: Thing) -> list[str]:
    """Return the names of the columns in which a row differs from the relay's object, which has the same id.

    A ticket's or message's row needs its ``conversation``.
    """
    model = type(row)
    found = [
        name
        for name in _COLUMNS[model]
        if _comparable(getattr(row, name)) != _comparable(_expected(row, name, getattr(thing, name)))
    ]
    if row.extra != shallow(thing.model_extra or {}):
        found.append("extra")
    if not isinstance(row, Conversation) and _conversation_of(row) != (getattr(thing, "conversation_id", None) or ""):
        found.append("conversation_id")
    return found


def _expected(row: MirrorModel, name: str, value: Any) -> Any:
    """Return what the column holds if it holds the relay's value: cut where that is too long or nested too deep."""
    column: Any = row._meta.get_field(name)
    if isinstance(value, Enum):
        value = str(value.value)
    if value is None and not column.null:
        return column.get_default()
    if isinstance(value, str) and getattr(column, "max_length", None) is not None:
        return value[:LONGEST_ID]
    if isinstance(value, Iterable) and not isinstance(value, (str, dict)):
        value = [item.model_dump(mode="json") if isinstance(item, types.RelayObject) else item for item in value]
    return shallow(value)


def _comparable(value: Any) -> Any:
    """Return a time as the database holds it: where that is naive, two hours of a year are one."""
    return to_database_time(value) if isinstance(value, datetime) else value


def _conversation_of(row: MirrorModel) -> str:
    conversation = getattr(row, "conversation", None)
    return "" if conversation is None else str(conversation.relay_id)
