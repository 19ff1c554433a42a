"""Asking the relay for full objects, with what they bring along, in the form that ``projection.merge`` takes.

Nothing is written here, and no transaction is open. The time at which a fetch began is read before it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import FROM_FETCH, Mark
from bloonio_chat.sdk import operations, types
from bloonio_chat.sdk.errors import ChatRelayNotFoundError
from bloonio_chat.sdk.operations import LARGEST_LIMIT, Operation

_T = TypeVar("_T")

# The routes, by the names of the client's methods.
CONVERSATION: Final = "fetch_conversation"
MESSAGES: Final = "list_messages"
TICKET: Final = "fetch_ticket"


class Caller(Protocol):
    """What makes calls: a tenant's client, or something that paces it."""

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out an operation and return its result; raises ``ChatRelayError``."""
        ...


class Messages(NamedTuple):
    """What the relay lists of a conversation's messages; ``is_truncated``: there may be more than it lists."""

    listed: list[types.Message]
    is_truncated: bool


def fetch_messages(caller: Caller, conversation_id: str) -> Messages | None:
    """Return a conversation's messages, as many as the relay lists; ``None`` where it answers 404.

    Raises ``ChatRelayError`` for anything else.
    """
    try:
        listed = caller.call(operations.list_messages(conversation_id, limit=LARGEST_LIMIT))
    except ChatRelayNotFoundError:
        return None
    # The relay does not page messages.
    return Messages(listed, len(listed) >= LARGEST_LIMIT)


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

    ``began_at`` is when the conversation's fetch began, before that of the messages; ``mark`` the row's mark from
    before that.
    """
    whole = Fetched(
        tenant,
        conversation,
        began_at,
        source,
        mark,
        has_messages=messages is not None,
        messages_truncated=messages is not None and messages.is_truncated,
    )
    return [whole, *(Fetched(tenant, each, began_at, source) for each in (messages.listed if messages else ()))]
