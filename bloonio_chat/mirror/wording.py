"""The relay's values in words for people. One that is not known here is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.sdk.enums import (
    AgentStatus,
    AttachmentType,
    ConversationChannel,
    ConversationStatus,
    EscalationReason,
    MessageRole,
    TicketPriority,
    TicketStatus,
)

Words = Mapping[str, Any]

CONVERSATION_STATUSES: Final[Words] = {
    ConversationStatus.ACTIVE.value: pgettext_lazy("conversation", "active"),
    ConversationStatus.CLOSED.value: pgettext_lazy("conversation", "closed"),
}
CHANNELS: Final[Words] = {
    ConversationChannel.TEXT.value: _("text"),
    ConversationChannel.VOICE.value: _("voice"),
    ConversationChannel.VIDEO.value: _("video"),
}
AGENT_STATUSES: Final[Words] = {
    AgentStatus.WAITING.value: pgettext_lazy("conversation", "waiting"),
    AgentStatus.ASSIGNED.value: pgettext_lazy("conversation", "taken"),
    AgentStatus.RESOLVED.value: pgettext_lazy("conversation", "resolved"),
}
TICKET_STATUSES: Final[Words] = {
    TicketStatus.OPEN.value: pgettext_lazy("ticket", "open"),
    TicketStatus.TRIAGED.value: pgettext_lazy("ticket", "triaged"),
    TicketStatus.ASSIGNED.value: pgettext_lazy("ticket", "assigned"),
    TicketStatus.IN_PROGRESS.value: pgettext_lazy("ticket", "in progress"),
    TicketStatus.WAITING_ON_USER.value: pgettext_lazy("ticket", "waiting for the visitor"),
    TicketStatus.RESOLVED.value: pgettext_lazy("ticket", "resolved"),
    TicketStatus.CLOSED.value: pgettext_lazy("ticket", "closed"),
    TicketStatus.REOPENED.value: pgettext_lazy("ticket", "reopened"),
}
PRIORITIES: Final[Words] = {
    TicketPriority.P1.value: _("P1, urgent"),
    TicketPriority.P2.value: _("P2, high"),
    TicketPriority.P3.value: _("P3, normal"),
    TicketPriority.P4.value: _("P4, low"),
}
ROLES: Final[Words] = {
    MessageRole.VISITOR.value: _("Visitor"),
    MessageRole.AGENT.value: _("Operator"),
    MessageRole.BOT.value: _("Bot"),
    MessageRole.SYSTEM.value: _("System"),
}
ATTACHMENTS: Final[Words] = {
    AttachmentType.IMAGE.value: _("Image"),
    AttachmentType.AUDIO.value: _("Audio"),
    AttachmentType.VIDEO.value: _("Video"),
    AttachmentType.FILE.value: _("File"),
}
ESCALATION_REASONS: Final[Words] = {
    EscalationReason.LOW_CONFIDENCE.value: _("the bot was not sure"),
    EscalationReason.RESTRICTED_TOPIC.value: _("a topic the bot leaves to people"),
    EscalationReason.USER_REQUEST.value: _("the visitor asked for a person"),
    EscalationReason.USER_REQUESTED.value: _("the visitor asked for a person"),
    EscalationReason.DIRECT.value: _("straight to the operators"),
    EscalationReason.CONTACT_FORM.value: _("a contact form"),
}


def in_words(words: Words, value: Any) -> str:
    """Return a value in words; as it is, in one line, where it is not known, and nothing for nothing."""
    known = words.get(value) if isinstance(value, str) else None
    return one_line(value or "", 40) if known is None else str(known)
