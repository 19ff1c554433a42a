"""Asking the relay for full objects, with what they bring along, in the form that ``projection.merge`` takes.

Nothing is written here, and no transaction is open. The time at which a fetch began is read before it. An object that
is not what the protocol says it is hides no other: a list goes without it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import FROM_FETCH, Mark
from bloonio_chat.sdk import operations, types
from bloonio_chat.sdk.errors import ChatRelayAnswerError, ChatRelayNotFoundError
from bloonio_chat.sdk.operations import LARGEST_LIMIT, Operation

logger = logging.getLogger("bloonio_chat.mirror")

_T = TypeVar("_T")
_Thing = TypeVar("_Thing", types.Conversation, types.Message, types.Ticket)

# The routes, by the names of the client's methods.
CONVERSATION: Final = "fetch_conversation"
MESSAGES: Final = "list_messages"
TICKET: Final = "fetch_ticket"

# A list is never longer: a total beyond can only be an error.
_LARGEST_TOTAL: Final = 2**53
# So much of a stranger's id is logged.
_SHOWN: Final = 64


class Caller(Protocol):
    """What makes calls: a tenant's client, or something that paces it."""

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out an operation and return its result; raises ``ChatRelayError``."""
        ...


@dataclass(frozen=True)
class Page(Generic[_T]):
    """One page of a list: its ``items`` as far as they can be read, and the ids of all, in their order.

    ``unreadable`` are the ids of those that are not what the protocol says they are; an id is empty where there is
    none. ``total`` is how long the whole list is, where the relay says so.
    """

    items: list[_T]
    ids: list[str]
    unreadable: list[str]
    total: int | None


class Messages(NamedTuple):
    """What the relay lists of a conversation's messages.

    ``is_truncated``: there may be more than it lists. So many are ``unreadable``, and not in ``listed``.
    """

    listed: list[types.Message]
    is_truncated: bool
    unreadable: int


NO_MESSAGES: Final = Messages([], is_truncated=False, unreadable=0)


def fetch_conversation(caller: Caller, conversation_id: str) -> types.Conversation:
    """Return a conversation. Raises ``ChatRelayError``, also where the relay answers with another one."""
    return _asked_for(caller.call(operations.fetch_conversation(conversation_id)), conversation_id, CONVERSATION)


def fetch_ticket(caller: Caller, ticket_id: str) -> types.Ticket:
    """Return a ticket. Raises ``ChatRelayError``, also where the relay answers with another one."""
    return _asked_for(caller.call(operations.fetch_ticket(ticket_id)), ticket_id, TICKET)


def fetch_messages(caller: Caller, conversation_id: str) -> Messages | None:
    """Return a conversation's messages, as many as the relay lists; ``None`` where it answers 404.

    Raises ``ChatRelayError`` for anything else.
    """
    try:
        page = caller.call(paged(operations.list_messages(conversation_id, limit=LARGEST_LIMIT)))
    except ChatRelayNotFoundError:
        return None
    listed = [message for message in page.items if message.conversation_id == conversation_id]
    if len(listed) < len(page.items):
        logger.warning("%s: left out messages of other conversations than was asked for.", MESSAGES)
    # The relay does not page messages.
    return Messages(listed, len(page.ids) >= LARGEST_LIMIT, len(page.ids) - len(listed))


def paged(operation: Operation[list[_T]]) -> Operation[Page[_T]]:
    """Return the same call to a list, whose answer is read object by object where it can't be read as a whole."""
    return Operation(
        operation.name,
        operation.method,
        operation.path,
        partial(_read_page, operation),
        query=operation.query,
        repeatable=operation.repeatable,
    )


def _read_page(operation: Operation[list[Any]], data: Any) -> Page[Any]:
    total = data.get("total") if isinstance(data, dict) else None
    is_number = isinstance(total, int) and not isinstance(total, bool) and 0 <= total <= _LARGEST_TOTAL
    read = list(_read_each(operation, data))
    unreadable = [relay_id for relay_id, thing in read if thing is None]
    if unreadable:
        shown = ", ".join(ascii(relay_id[:_SHOWN]) for relay_id in unreadable)
        logger.warning("%s: left out what is not as the protocol says: %s.", operation.name, shown)
    return Page(
        [thing for _, thing in read if thing is not None],
        [relay_id for relay_id, _ in read],
        unreadable,
        total if is_number else None,
    )


def _read_each(operation: Operation[list[Any]], data: Any) -> Iterator[tuple[str, Any]]:
    """Yield the ids and the objects, ``None`` for one that can't be read. Raises ``ValidationError`` for no list."""
    try:
        for thing in operation.parse(data):
            yield thing.id, thing if thing.id else None
    except ValidationError:
        listed = data.get("items") if isinstance(data, dict) else data
        if not isinstance(listed, list):
            raise
        for one in listed:
            yield _read_one(operation, one)


def _read_one(operation: Operation[list[Any]], one: Any) -> tuple[str, Any]:
    try:
        [thing] = operation.parse([one])
    except ValidationError:
        relay_id = one.get("id") if isinstance(one, dict) else None
        return relay_id if isinstance(relay_id, str) else "", None
    return thing.id, thing if thing.id else None


def _asked_for(thing: _Thing, relay_id: str, route: str) -> _Thing:
    if thing.id != relay_id:
        raise ChatRelayAnswerError(
            f"{route}: the relay answered with another object than was asked for.", operation=route
        )
    return thing


def bundle(
    tenant: str,
    conversation: types.Conversation,
    messages: Messages | None,
    *,
    began_at: datetime,
    mark: Mark | None,
    source: str = FROM_FETCH,
) -> list[Fetched]:
    """Return a conversation and its messages, to be merged together, in this order.

    Where some of these can't be read, it does not count as one with its messages. ``began_at`` is when the
    conversation's fetch began, before that of the messages; ``mark`` the row's mark from before that.
    """
    whole = Fetched(
        tenant,
        conversation,
        began_at,
        source,
        mark,
        has_messages=messages is not None and not messages.unreadable,
        messages_truncated=messages is not None and messages.is_truncated,
    )
    return [whole, *(Fetched(tenant, each, began_at, source) for each in (messages.listed if messages else ()))]
