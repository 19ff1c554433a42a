"""A conversation or a ticket is fetched right now, because somebody who looks at it asks for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from django.utils.translation import gettext as _

from bloonio_chat.clients import get_chat_client
from bloonio_chat.conf import get_config
from bloonio_chat.mirror import rates
from bloonio_chat.mirror.fetching import bundle, fetch_conversation, fetch_messages, fetch_ticket
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.piecewise import merge_each
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.sdk import types
from bloonio_chat.sdk.errors import ChatRelayNotFoundError
from bloonio_chat.sdk.operations import Operation

_T = TypeVar("_T")

# Somebody waits for the page; hydration does the rest.
MOST_TICKETS: Final = 5


@dataclass(frozen=True)
class _Unpaced:
    """A tenant's calls for somebody who waits: they are of the share, and wait for none of it."""

    tenant: str

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out an operation and return its result; raises ``ChatRelayError``."""
        client = get_chat_client(self.tenant)
        rates.note_call(self.tenant, now_ms=int(time.time() * 1000))
        return client.call(operation)


class Refreshed(NamedTuple):
    """What could not be had whole of what the relay was asked for, in words."""

    missing: list[str]


def refresh_conversation(conversation: Conversation) -> Refreshed:
    """Fetch a conversation, its messages and its newest tickets, and merge what the relay has of them.

    Raises ``ChatRelayError`` where the relay does not answer, or has no such conversation, and ``DatabaseError`` where
    the database does not take that; then the conversation is as it was.
    """
    caller = _Unpaced(conversation.tenant)
    mark, began_at = conversation.mark, aware_now()
    missing: list[str] = []
    fetched = fetch_conversation(caller, conversation.relay_id)
    messages = None
    if get_config().app.mirror_messages:
        messages = fetch_messages(caller, conversation.relay_id)
        if messages is None or messages.unreadable:
            missing.append(_("messages"))
    batch = bundle(conversation.tenant, fetched, messages, began_at=began_at, mark=mark)
    for ticket in conversation.tickets.order_by("-created_at", "-pk")[:MOST_TICKETS]:
        try:
            batch.append(_fetched(ticket))
        except ChatRelayNotFoundError:
            missing.append(_named(ticket.ticket_number or ticket.relay_id))
    for refused in merge_each(batch):
        if refused.fetched.object is fetched:
            raise refused.error
        if isinstance(refused.fetched.object, types.Ticket):
            missing.append(_named(refused.fetched.object.ticket_number or refused.fetched.object.id))
        elif _("messages") not in missing:
            missing.append(_("messages"))
    return Refreshed(missing)


def refresh_ticket(ticket: Ticket) -> Refreshed:
    """Fetch a ticket, and merge it.

    Raises ``ChatRelayError`` where the relay does not answer, or has none such, and ``DatabaseError`` where the
    database does not take it.
    """
    for refused in merge_each([_fetched(ticket)]):
        raise refused.error
    return Refreshed([])


def _named(ticket: str) -> str:
    return _("ticket %(ticket)s") % {"ticket": one_line(ticket, 40)}


def _fetched(ticket: Ticket) -> Fetched:
    mark, began_at = ticket.mark, aware_now()
    found = fetch_ticket(_Unpaced(ticket.tenant), ticket.relay_id)
    return Fetched(ticket.tenant, found, began_at, mark=mark)
