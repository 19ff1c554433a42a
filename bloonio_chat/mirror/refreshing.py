"""A conversation or a ticket is fetched right now, because somebody who looks at it asks for it."""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from bloonio_chat.clients import get_chat_client
from bloonio_chat.conf import get_config
from bloonio_chat.mirror.fetching import bundle, fetch_conversation, fetch_messages, fetch_ticket
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.projection import merge
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.sdk.errors import ChatRelayNotFoundError

# Somebody waits for the page; hydration does the rest.
MOST_TICKETS: Final = 5


class Refreshed(NamedTuple):
    """What could not be had whole of what the relay was asked for, in words."""

    missing: list[str]


def refresh_conversation(conversation: Conversation) -> Refreshed:
    """Fetch a conversation, its messages and its newest tickets, and merge what the relay has of them.

    Raises ``ChatRelayError`` where the relay does not answer, or has no such conversation; then nothing is changed.
    """
    client = get_chat_client(conversation.tenant)
    mark, began_at = conversation.mark, aware_now()
    missing: list[str] = []
    fetched = fetch_conversation(client, conversation.relay_id)
    messages = None
    if get_config().app.mirror_messages:
        messages = fetch_messages(client, conversation.relay_id)
        if messages is None or messages.unreadable:
            missing.append(_("messages"))
    batch = bundle(conversation.tenant, fetched, messages, began_at=began_at, mark=mark)
    for ticket in conversation.tickets.order_by("-created_at", "-pk")[:MOST_TICKETS]:
        try:
            batch.append(_fetched(ticket))
        except ChatRelayNotFoundError:
            missing.append(_("ticket %(ticket)s") % {"ticket": one_line(ticket.ticket_number or ticket.relay_id, 40)})
    merge(batch)
    return Refreshed(missing)


def refresh_ticket(ticket: Ticket) -> Refreshed:
    """Fetch a ticket, and merge it. Raises ``ChatRelayError`` where the relay does not answer, or has none such."""
    merge([_fetched(ticket)])
    return Refreshed([])


def _fetched(ticket: Ticket) -> Fetched:
    mark, began_at = ticket.mark, aware_now()
    found = fetch_ticket(get_chat_client(ticket.tenant), ticket.relay_id)
    return Fetched(ticket.tenant, found, began_at, mark=mark)
