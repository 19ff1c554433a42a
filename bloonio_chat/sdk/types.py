"""The relay's objects (protocol §3.2).

Unknown fields are kept (``conversation.model_extra``), unknown enum values survive as themselves, times are in UTC, and
tokens are ``SecretStr``: they show as stars until ``get_secret_value()`` is called.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from bloonio_chat.sdk.enums import (
    AttachmentType,
    ConversationChannel,
    ConversationStatus,
    KnowledgeDocumentStatus,
    MessageRole,
    TicketPriority,
    TicketStatus,
)

_T = TypeVar("_T")


def in_utc(value: datetime) -> datetime:
    """Return an aware time with Python's own UTC.

    Not with the time zone that pydantic gives it: one that is alive when the process ends can crash it then, as it does
    with some versions of Python and pydantic (pydantic's issue 12867).
    """
    return value.astimezone(timezone.utc)


def _aware(value: datetime) -> datetime:
    if not 1 < value.year < 9999:
        # Its UTC could lie outside what datetime, and any database, can hold.
        raise ValueError("year out of range")
    # The relay promises an offset; should one be missing, UTC is the only guess that loses nothing.
    return in_utc(value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc))


def _finite(value: float | None) -> float | None:
    # Written as a text, "NaN", it has passed the JSON parser, and no database takes it.
    return value if value is None or math.isfinite(value) else None


RelayTime = Annotated[datetime, AfterValidator(_aware)]
_Items = Annotated[list[_T], BeforeValidator(lambda value: [] if value is None else value)]
_Number = Annotated[float | None, AfterValidator(_finite)]
_Mapping = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]


class RelayObject(BaseModel):
    """What all answers have in common: they can't be changed, and keep the fields this SDK does not know."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class Attachment(RelayObject):
    """A file on a message; ``size`` in bytes. The URL is a stranger's text."""

    type: AttachmentType
    mime: str
    size: int
    url: str


class Citation(RelayObject):
    """The piece of knowledge that a bot's answer rests on."""

    chunk_id: str
    document_id: str
    document_version: int | str
    score: _Number = None


class Conversation(RelayObject):
    """A visitor's conversation with the bot and the operators."""

    id: str
    tenant_id: str
    visitor_user_id: str
    visitor_display_name: str | None = None
    locale: str
    channel: ConversationChannel
    status: ConversationStatus
    metadata: _Mapping = Field(default_factory=dict)
    created_at: RelayTime
    updated_at: RelayTime
    last_message_at: RelayTime | None = None
    closed_at: RelayTime | None = None


class Message(RelayObject):
    """One message; ``confidence`` is the bot's, from 0 to 1."""

    id: str
    conversation_id: str
    tenant_id: str
    role: MessageRole
    content: str
    attachments: _Items[Attachment] = Field(default_factory=list)
    citations: _Items[Citation] = Field(default_factory=list)
    confidence: _Number = None
    created_at: RelayTime


class Ticket(RelayObject):
    """What an escalation leaves for the humans; ``ticket_number`` is the one for people."""

    id: str
    tenant_id: str
    ticket_number: str
    user_id: str
    subject: str
    description: str
    priority: TicketPriority
    status: TicketStatus
    assignee_user_id: str | None = None
    sla_due_at: RelayTime | None = None
    tags: _Items[str] = Field(default_factory=list)
    conversation_id: str | None = None
    escalation_id: str | None = None
    created_at: RelayTime
    updated_at: RelayTime
    resolved_at: RelayTime | None = None
    closed_at: RelayTime | None = None


class KnowledgeDocument(RelayObject):
    """A text that the bot answers from."""

    id: str
    tenant_id: str
    title: str
    body: str
    category: str
    language: str
    tags: _Items[str] = Field(default_factory=list)
    status: KnowledgeDocumentStatus
    version: int | str
    created_at: RelayTime
    updated_at: RelayTime
    published_at: RelayTime | None = None
    archived_at: RelayTime | None = None


class VisitorToken(RelayObject):
    """A token for the in-app SDK's WebSocket."""

    token: SecretStr
    expires_at: RelayTime


class Operator(RelayObject):
    """A human who answers; ``routing_keys`` empty or ``None``: sees every conversation of the tenant."""

    operator_id: str
    created: bool
    email: str | None = None
    display_name: str | None = None
    routing_keys: list[str] | None = None
    avatar_url: str | None = None


class OperatorToken(RelayObject):
    """A token with which an operator works in the relay's console, for this tenant alone."""

    operator_id: str
    display_name: str | None = None
    operator_token: SecretStr
    expires_at: RelayTime
    tenant_id: str
    routing_keys: list[str] | None = None


class ContactTicket(RelayObject):
    """What came of a contact form."""

    conversation_id: str
    status: str
    tenant_id: str


class TenantInfo(RelayObject):
    """What the relay knows of this tenant, and what its plan allows."""

    tenant_id: str
    tenant_name: str
    status: str
    plan_tier: str
    allowed_origins: _Items[str] = Field(default_factory=list)
    voice_enabled: bool
    video_enabled: bool
    file_upload_enabled: bool
    multi_channel_enabled: bool
    monthly_msg_quota: int | None = None
    storage_gb_quota: _Number = None
    agent_seats: int | None = None
