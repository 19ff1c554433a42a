"""The relay's thirteen routes (protocol §3): one pure function each, from arguments to an :class:`Operation`.

Arguments are checked here, before anything is sent: :class:`~bloonio_chat.sdk.errors.ChatRelayArgumentError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from bloonio_chat.sdk.enums import ConversationChannel, MessageRole, TicketStatus
from bloonio_chat.sdk.errors import ChatRelayArgumentError
from bloonio_chat.sdk.types import (
    Attachment,
    ContactTicket,
    Conversation,
    KnowledgeDocument,
    Message,
    Operator,
    OperatorToken,
    TenantInfo,
    Ticket,
    VisitorToken,
)

API_PATH: Final = "/api/v1/relay"

# The protocol names defaults, no largest limit; 100 is the largest that it shows a relay answering.
LARGEST_LIMIT: Final = 100
LONGEST_MESSAGE: Final = 8000
LONGEST_TITLE: Final = 500
SHORTEST_TOKEN_SECONDS: Final = 60
LONGEST_TOKEN_SECONDS: Final = 86_400

_T = TypeVar("_T")


@dataclass(frozen=True)
class Operation(Generic[_T]):
    """One call to the relay, ready to be signed.

    ``repeatable`` says that doing it twice does no harm: reads, and writes that the protocol calls idempotent.
    ``holds_token`` says that its answer must not be shown anywhere.
    """

    name: str
    method: str
    path: str
    parse: Callable[[Any], _T] = field(repr=False)
    query: str = field(default="", repr=False)
    body: bytes = field(default=b"", repr=False)
    repeatable: bool = False
    holds_token: bool = False


# ---- answers ---------------------------------------------------------------------------------------------------


def _one(kind: type[_T]) -> Callable[[Any], _T]:
    return TypeAdapter(kind).validate_python


def _many(kind: type[_T]) -> Callable[[Any], list[_T]]:
    validate = TypeAdapter(list[kind]).validate_python  # type: ignore[valid-type]  # a type held by a variable

    def parse(data: Any) -> list[_T]:
        # Either an array, or an object with the array in "items" and perhaps a total beside it (protocol §3.1).
        return validate(data["items"] if isinstance(data, dict) and "items" in data else data)

    return parse


_conversation = _one(Conversation)
_conversations = _many(Conversation)
_message = _one(Message)
_messages = _many(Message)
_ticket = _one(Ticket)
_tickets = _many(Ticket)
_document = _one(KnowledgeDocument)
_visitor_token = _one(VisitorToken)
_tenant_info = _one(TenantInfo)
_operator = _one(Operator)
_operator_token = _one(OperatorToken)
_contact_ticket = _one(ContactTicket)


# ---- arguments -------------------------------------------------------------------------------------------------


def _text(name: str, value: object, *, longest: int | None = None) -> str:
    if not isinstance(value, str):
        raise ChatRelayArgumentError(f"{name} must be text, not {type(value).__name__}.")
    if not value:
        raise ChatRelayArgumentError(f"{name} is empty.")
    if longest is not None and len(value) > longest:
        raise ChatRelayArgumentError(f"{name} has {len(value)} characters; the relay takes {longest} at the most.")
    return value


def _number(name: str, value: object, *, smallest: int, largest: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ChatRelayArgumentError(f"{name} must be a whole number, not {type(value).__name__}.")
    if value < smallest or (largest is not None and value > largest):
        bounds = f"at least {smallest}" if largest is None else f"from {smallest} to {largest}"
        raise ChatRelayArgumentError(f"{name} is {value}; the relay takes {bounds}.")
    return value


def _email_hash(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"sha256:[0-9a-fA-F]{64}", value):
        raise ChatRelayArgumentError("visitor_email_hash must be sha256: and 64 hexadecimal digits, never the email.")
    return value


def _choice(name: str, value: object, kind: type[Enum]) -> str:
    values = [str(member.value) for member in kind]
    if not isinstance(value, str) or str(value) not in values:
        raise ChatRelayArgumentError(f"{name} must be one of {', '.join(values)}.")
    return str(value)


def _texts(name: str, values: Iterable[str] | None) -> list[str] | None:
    if values is None:
        return None
    if isinstance(values, (str, bytes)):
        raise ChatRelayArgumentError(f"{name} must be a list of texts, not one text.")
    return [_text(f"an entry of {name}", value) for value in values]


def _object(name: str, value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ChatRelayArgumentError(f"{name} must be a mapping, not {type(value).__name__}.")
    return dict(value)


def _body(**fields: Any) -> bytes:
    try:
        return to_json({name: value for name, value in fields.items() if value is not None}, inf_nan_mode="strings")
    except (PydanticSerializationError, UnicodeEncodeError, ValueError):
        pass
    # Raised out here: the error that was caught quotes the arguments.
    raise ChatRelayArgumentError(f"One of {', '.join(fields)} can't be written as JSON in UTF-8.")


def _query(**fields: str | int | None) -> str:
    try:
        return urlencode({name: value for name, value in fields.items() if value is not None})
    except UnicodeEncodeError:
        pass
    raise ChatRelayArgumentError(f"One of {', '.join(fields)} can't be written in UTF-8.")


# ---- the routes ------------------------------------------------------------------------------------------------


def create_conversation(
    *,
    visitor_user_id: str,
    visitor_display_name: str | None = None,
    locale: str = "fr",
    channel: ConversationChannel | str = ConversationChannel.TEXT,
    visitor_email: str | None = None,
    visitor_phone: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Operation[Conversation]:
    """``POST /create/conversation``."""
    return Operation(
        "create_conversation",
        "POST",
        "/create/conversation",
        _conversation,
        body=_body(
            visitor_user_id=_text("visitor_user_id", visitor_user_id),
            visitor_display_name=visitor_display_name,
            locale=_text("locale", locale),
            channel=_choice("channel", channel, ConversationChannel),
            visitor_email=visitor_email,
            visitor_phone=visitor_phone,
            metadata=_object("metadata", metadata),
        ),
    )


def fetch_conversation(conversation_id: str) -> Operation[Conversation]:
    """``GET /fetch/conversation``."""
    return Operation(
        "fetch_conversation",
        "GET",
        "/fetch/conversation",
        _conversation,
        query=_query(conversation_id=_text("conversation_id", conversation_id)),
        repeatable=True,
    )


def list_conversations(
    *, limit: int = 20, offset: int = 0, visitor_user_id: str | None = None
) -> Operation[list[Conversation]]:
    """``GET /fetch/conversations``."""
    return Operation(
        "list_conversations",
        "GET",
        "/fetch/conversations",
        _conversations,
        query=_query(
            limit=_number("limit", limit, smallest=1),
            offset=_number("offset", offset, smallest=0),
            visitor_user_id=None if visitor_user_id is None else _text("visitor_user_id", visitor_user_id),
        ),
        repeatable=True,
    )


def send_message(
    conversation_id: str,
    *,
    content: str,
    role: MessageRole | str = MessageRole.VISITOR,
    attachments: Iterable[Attachment | Mapping[str, Any]] | None = None,
) -> Operation[Message]:
    """``POST /add/message``."""
    return Operation(
        "send_message",
        "POST",
        "/add/message",
        _message,
        query=_query(conversation_id=_text("conversation_id", conversation_id)),
        body=_body(
            role=_choice("role", role, MessageRole),
            content=_text("content", content, longest=LONGEST_MESSAGE),
            attachments=None if attachments is None else [_attachment(attachment) for attachment in attachments],
        ),
    )


def _attachment(value: Attachment | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, Attachment):
        return value.model_dump(mode="json")
    return _object("an entry of attachments", value) or {}


def list_messages(conversation_id: str, *, limit: int = 100) -> Operation[list[Message]]:
    """``GET /fetch/messages``."""
    return Operation(
        "list_messages",
        "GET",
        "/fetch/messages",
        _messages,
        query=_query(
            conversation_id=_text("conversation_id", conversation_id), limit=_number("limit", limit, smallest=1)
        ),
        repeatable=True,
    )


def list_tickets(
    *,
    limit: int = 20,
    offset: int = 0,
    status: TicketStatus | str | None = None,
    assignee_user_id: str | None = None,
) -> Operation[list[Ticket]]:
    """``GET /fetch/tickets``."""
    return Operation(
        "list_tickets",
        "GET",
        "/fetch/tickets",
        _tickets,
        query=_query(
            limit=_number("limit", limit, smallest=1),
            offset=_number("offset", offset, smallest=0),
            status=None if status is None else _choice("status", status, TicketStatus),
            assignee_user_id=None if assignee_user_id is None else _text("assignee_user_id", assignee_user_id),
        ),
        repeatable=True,
    )


def fetch_ticket(ticket_id: str) -> Operation[Ticket]:
    """``GET /fetch/ticket``."""
    return Operation(
        "fetch_ticket",
        "GET",
        "/fetch/ticket",
        _ticket,
        query=_query(ticket_id=_text("ticket_id", ticket_id)),
        repeatable=True,
    )


def ingest_knowledge(
    *,
    title: str,
    body: str,
    category: str = "general",
    language: str = "fr",
    tags: Iterable[str] | None = None,
) -> Operation[KnowledgeDocument]:
    """``POST /ingest/knowledge``."""
    return Operation(
        "ingest_knowledge",
        "POST",
        "/ingest/knowledge",
        _document,
        body=_body(
            title=_text("title", title, longest=LONGEST_TITLE),
            body=_text("body", body),
            category=_text("category", category),
            language=_text("language", language),
            tags=_texts("tags", tags),
        ),
    )


def mint_visitor_token(
    *, visitor_user_id: str, visitor_email_hash: str | None = None, ttl_seconds: int = 3600
) -> Operation[VisitorToken]:
    """``POST /mint/visitor-token``."""
    return Operation(
        "mint_visitor_token",
        "POST",
        "/mint/visitor-token",
        _visitor_token,
        body=_body(
            visitor_user_id=_text("visitor_user_id", visitor_user_id),
            visitor_email_hash=None if visitor_email_hash is None else _email_hash(visitor_email_hash),
            ttl_seconds=_number(
                "ttl_seconds", ttl_seconds, smallest=SHORTEST_TOKEN_SECONDS, largest=LONGEST_TOKEN_SECONDS
            ),
        ),
        holds_token=True,
    )


def fetch_tenant_info() -> Operation[TenantInfo]:
    """``GET /fetch/tenant-info``."""
    return Operation("fetch_tenant_info", "GET", "/fetch/tenant-info", _tenant_info, repeatable=True)


def provision_operator(
    *,
    email: str,
    display_name: str,
    routing_keys: Iterable[str] | None = None,
    avatar_url: str | None = None,
) -> Operation[Operator]:
    """``POST /provision/operator``: idempotent on the email, so it may be repeated."""
    return Operation(
        "provision_operator",
        "POST",
        "/provision/operator",
        _operator,
        body=_body(
            email=_text("email", email),
            display_name=_text("display_name", display_name),
            routing_keys=_texts("routing_keys", routing_keys),
            avatar_url=avatar_url,
        ),
        repeatable=True,
    )


def fetch_operator_token(*, email: str) -> Operation[OperatorToken]:
    """``POST /fetch/operator-token``."""
    return Operation(
        "fetch_operator_token",
        "POST",
        "/fetch/operator-token",
        _operator_token,
        body=_body(email=_text("email", email)),
        repeatable=True,
        holds_token=True,
    )


def create_contact_ticket(
    *,
    customer_email: str,
    customer_name: str,
    subject: str,
    message: str,
    company: str | None = None,
    source: str | None = None,
    locale: str | None = None,
    routing_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Operation[ContactTicket]:
    """``POST /create/contact-ticket``."""
    return Operation(
        "create_contact_ticket",
        "POST",
        "/create/contact-ticket",
        _contact_ticket,
        body=_body(
            customer_email=_text("customer_email", customer_email),
            customer_name=_text("customer_name", customer_name),
            subject=_text("subject", subject),
            message=_text("message", message),
            company=company,
            source=source,
            locale=locale,
            routing_key=routing_key,
            metadata=_object("metadata", metadata),
        ),
    )
