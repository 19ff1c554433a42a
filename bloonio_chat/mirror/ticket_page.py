"""What the admin's page of one ticket shows beside its columns, and what a conversation's page shows of its tickets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bloonio_chat.mirror.models import Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.sla import Sla, sla_of
from bloonio_chat.mirror.wording import PRIORITIES, TICKET_STATUSES, in_words

MOST_TAGS: Final = 30
LONGEST_TEXT: Final = 20_000


@dataclass(frozen=True)
class TicketCard:
    """A ticket in words, for a card beside the chat and for the head of its own page."""

    row: Ticket
    name: str
    subject: str
    status: str
    priority: str
    priority_look: str
    sla: Sla
    tags: list[str]


def card_of(ticket: Ticket, now: datetime) -> TicketCard:
    """Return a ticket in words, as it stands at that time."""
    tags = ticket.tags if isinstance(ticket.tags, list) else []
    return TicketCard(
        ticket,
        one_line(ticket.ticket_number or ticket.relay_id, 60),
        one_line(ticket.subject, 200),
        in_words(TICKET_STATUSES, ticket.status),
        in_words(PRIORITIES, ticket.priority),
        priority_look(ticket.priority),
        sla_of(ticket, now),
        [one_line(tag, 40) for tag in tags[:MOST_TAGS]],
    )


def priority_look(priority: str) -> str:
    """Return the class that colours a priority; one and the same for all that are not known."""
    return priority if priority in PRIORITIES else "other"


def pretty(value: Any) -> str:
    """Return what the relay sent as JSON, indented, for people; at most 20,000 characters, and nothing for nothing."""
    if not value:
        return ""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "…"
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
