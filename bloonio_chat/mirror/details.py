"""The table of an object's columns on its page in the admin, in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.utils.translation import gettext as _

from bloonio_chat.mirror.models import FROM_EVENT, FROM_FETCH, FROM_SYNC, Conversation, HydratedModel, Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.wording import AGENT_STATUSES, CHANNELS, CONVERSATION_STATUSES, ESCALATION_REASONS, in_words


class Detail(NamedTuple):
    """A line of the table: what it is called, and a text or a time; ``searched`` is an id that finds other rows."""

    name: str
    text: str = ""
    at: datetime | None = None
    searched: str = ""


def of_conversation(conversation: Conversation) -> list[Detail]:
    """Return what is known of a conversation; what is not known is left out."""
    claims = conversation.claim_count
    return _known(
        [
            Detail(_("Visitor"), one_line(conversation.visitor_display_name)),
            Detail(_("Visitor id"), one_line(conversation.visitor_user_id, 255), searched=conversation.visitor_user_id),
            Detail(_("Status"), in_words(CONVERSATION_STATUSES, conversation.status)),
            Detail(_("Channel"), in_words(CHANNELS, conversation.channel)),
            Detail(_("Language"), one_line(conversation.locale)),
            Detail(_("Queue"), in_words(AGENT_STATUSES, conversation.agent_status)),
            Detail(_("Operator"), one_line(conversation.operator_display_name or conversation.operator_id, 255)),
            Detail(_("Times taken"), "" if claims is None else str(claims)),
            Detail(_("Taken at"), at=conversation.claimed_at),
            Detail(_("Given back at"), at=conversation.released_at),
            Detail(_("Resolved at"), at=conversation.agent_resolved_at),
            Detail(_("Escalated at"), at=conversation.escalated_at),
            Detail(_("Reason"), in_words(ESCALATION_REASONS, conversation.escalation_reason)),
            Detail(_("Last message"), at=conversation.last_message_at),
            Detail(_("Closed at"), at=conversation.closed_at),
            *_of_any(conversation),
        ]
    )


def of_ticket(ticket: Ticket) -> list[Detail]:
    """Return what is known of a ticket beside what its card shows; what is not known is left out."""
    return _known(
        [
            Detail(_("Visitor id"), one_line(ticket.user_id, 255), searched=ticket.user_id),
            Detail(_("Operator"), one_line(ticket.assignee_user_id, 255)),
            Detail(_("Due at"), at=ticket.sla_due_at),
            Detail(_("Resolved at"), at=ticket.resolved_at),
            Detail(_("Closed at"), at=ticket.closed_at),
            Detail(_("Escalation"), one_line(ticket.escalation_id, 255)),
            *_of_any(ticket),
        ]
    )


def _of_any(row: HydratedModel) -> list[Detail]:
    sources = {FROM_EVENT: _("an event"), FROM_FETCH: _("a fetch"), FROM_SYNC: _("a sync")}
    return [
        Detail(_("Begun at"), at=row.created_at),
        Detail(_("Last activity"), at=row.updated_at),
        Detail(_("Relay id"), one_line(row.relay_id, 255)),
        Detail(_("Tenant"), one_line(row.tenant)),
        Detail(_("Fetched at"), "" if row.fetched_at else _("not yet"), row.fetched_at),
        Detail(_("To be fetched since"), at=row.waiting_since),
        Detail(_("Brought up to date"), at=row.synced_at),
        Detail(_("Brought by"), str(sources.get(row.synced_from, row.synced_from))),
    ]


def _known(details: Iterable[Detail]) -> list[Detail]:
    return [detail for detail in details if detail.text or detail.at is not None]
