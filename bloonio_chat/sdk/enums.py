"""The relay's enums (protocol §3.2). A value that the relay adds later survives as itself."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeVar

_Self = TypeVar("_Self", bound="OpenEnum")


class OpenEnum(str, Enum):
    """A string enum that takes unknown values too: ``TicketStatus("on_hold") == "on_hold"``, but not ``is_known``."""

    @classmethod
    def _missing_(cls: type[_Self], value: object) -> _Self | None:
        if not isinstance(value, str):
            return None
        # Not kept among the members: what strangers send must not grow a table of this process.
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this SDK knows the value."""
        return self._value_ in type(self)._value2member_map_

    def __str__(self) -> str:
        return str(self._value_)

    def __format__(self, format_spec: str) -> str:
        return format(str(self._value_), format_spec)

    # Unknown values are made anew each time, so identity, which Enum's copy relies on, is of no use.
    def __reduce_ex__(self, protocol: Any) -> tuple[type[OpenEnum], tuple[str]]:
        return type(self), (str(self._value_),)


class MessageRole(OpenEnum):
    """Who wrote a message."""

    VISITOR = "visitor"
    AGENT = "agent"
    BOT = "bot"
    SYSTEM = "system"


class ConversationStatus(OpenEnum):
    """Whether a conversation goes on."""

    ACTIVE = "active"
    CLOSED = "closed"


class ConversationChannel(OpenEnum):
    """How visitor and operator talk."""

    TEXT = "text"
    VOICE = "voice"
    VIDEO = "video"


class TicketStatus(OpenEnum):
    """Where a ticket stands."""

    OPEN = "open"
    TRIAGED = "triaged"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    WAITING_ON_USER = "waiting_on_user"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REOPENED = "reopened"


class TicketPriority(OpenEnum):
    """A ticket's priority; ``p1`` is the most urgent."""

    P1 = "p1"
    P2 = "p2"
    P3 = "p3"
    P4 = "p4"


class KnowledgeDocumentStatus(OpenEnum):
    """Where a document stands between draft and archive."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class AttachmentType(OpenEnum):
    """What kind of file hangs on a message."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    FILE = "file"


class EscalationReason(OpenEnum):
    """Why the bot handed a conversation to the humans."""

    LOW_CONFIDENCE = "low_confidence"
    RESTRICTED_TOPIC = "restricted_topic"
    USER_REQUEST = "user_request"
    DIRECT = "direct"
    USER_REQUESTED = "user_requested"
    CONTACT_FORM = "contact_form"


class AgentStatus(OpenEnum):
    """What the operators' queue holds of a conversation, in ``agent_*`` callbacks."""

    ASSIGNED = "ASSIGNED"
    WAITING = "WAITING"
    RESOLVED = "RESOLVED"


class WebhookEventType(OpenEnum):
    """The nine events of protocol §4."""

    CONVERSATION_STARTED = "conversation_started"
    MESSAGE_RECEIVED = "message_received"
    TICKET_CREATED = "ticket_created"
    TICKET_ASSIGNED = "ticket_assigned"
    TICKET_RESOLVED = "ticket_resolved"
    ESCALATION_TRIGGERED = "escalation_triggered"
    AGENT_ASSIGNED = "agent_assigned"
    AGENT_RELEASED = "agent_released"
    AGENT_RESOLVED = "agent_resolved"

    @property
    def path(self) -> str:
        """The last part of the callback's URL, as ``message-received``."""
        return str(self._value_).replace("_", "-")
