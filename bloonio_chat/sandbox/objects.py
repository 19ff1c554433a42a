"""What the relay holds (protocol §3.2). :func:`wire` and :func:`encode` give it the form in which it travels."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Literal

Mode = Literal["bot", "human"]
AgentBody = Literal["takeover", "envelope"]


def iso(moment: datetime) -> str:
    """Return a time as the relay writes it: ISO 8601 in UTC, with ``Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def wire(thing: Any) -> dict[str, Any]:
    """Return one of these objects as the JSON object that the protocol shows."""
    found = ((each.name, getattr(thing, each.name)) for each in fields(thing) if each.metadata.get("wire", True))
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in found}


def encode(body: Any) -> bytes:
    """Return JSON as the relay sends it. Half a surrogate pair, which no UTF-8 can carry, stays as its escape."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def _kept(default: Any = None) -> Any:
    return field(default=default, metadata={"wire": False})


@dataclass
class Tenant:
    """One backend; its attributes may be changed while the relay runs, the secret with ``relay.rotate_secret()``.

    ``rate_limit_per_min`` ``None``: no limit. ``agent_body`` is the form of the three ``agent_*`` callbacks (§4.1).
    """

    tenant_id: str
    secret: str = field(repr=False)
    callback_base_url: str | None = None
    name: str = "Sandbox"
    mode: Mode = "bot"
    agent_body: AgentBody = "takeover"
    rate_limit_per_min: int | None = 60
    suspended: bool = False


@dataclass
class Conversation:
    """A visitor's conversation; ``routing_key``, email and phone are not shown on the wire."""

    id: str
    tenant_id: str
    visitor_user_id: str
    locale: str
    channel: str
    created_at: datetime
    updated_at: datetime
    visitor_display_name: str | None = None
    status: str = "active"
    metadata: dict[str, Any] = field(default_factory=dict)
    last_message_at: datetime | None = None
    closed_at: datetime | None = None
    visitor_email: str | None = _kept()
    visitor_phone: str | None = _kept()
    visitor_session_id: str = _kept("")
    routing_key: str | None = _kept()


@dataclass
class Message:
    """One message of a conversation."""

    id: str
    conversation_id: str
    tenant_id: str
    role: str
    content: str
    created_at: datetime
    attachments: list[dict[str, Any]] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None
    operator_id: str | None = _kept()


@dataclass
class Escalation:
    """A conversation in the operators' queue: ``status`` is ``WAITING``, ``ASSIGNED`` or ``RESOLVED``."""

    id: str
    conversation_id: str
    tenant_id: str
    reason: str
    ticket_id: str
    created_at: datetime
    status: str = "WAITING"
    operator_id: str | None = None
    claim_count: int = 0
    claimed_at: datetime | None = None
    released_at: datetime | None = None
    resolved_at: datetime | None = None


@dataclass
class Ticket:
    """What an escalation leaves for the humans."""

    id: str
    tenant_id: str
    ticket_number: str
    user_id: str
    subject: str
    description: str
    priority: str
    created_at: datetime
    updated_at: datetime
    status: str = "open"
    assignee_user_id: str | None = None
    sla_due_at: datetime | None = None
    tags: list[str] = field(default_factory=list)
    conversation_id: str | None = None
    escalation_id: str | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass
class Operator:
    """A human who answers; ``routing_keys`` ``None`` or empty: sees every conversation of the tenant."""

    operator_id: str
    tenant_id: str
    email: str
    display_name: str
    routing_keys: list[str] | None = None
    avatar_url: str | None = None

    def sees(self, conversation: Conversation) -> bool:
        """Return whether the conversation is in one of this operator's queues."""
        return conversation.tenant_id == self.tenant_id and (
            not self.routing_keys or conversation.routing_key in self.routing_keys
        )


@dataclass
class Document:
    """A text that the bot answers from."""

    id: str
    tenant_id: str
    title: str
    body: str
    category: str
    language: str
    created_at: datetime
    updated_at: datetime
    tags: list[str] = field(default_factory=list)
    status: str = "published"
    version: int = 1
    published_at: datetime | None = None
    archived_at: datetime | None = None
