"""The relay's thirteen routes (protocol §3): one pure function each, from arguments to an :class:`Operation`.

Both clients take their methods, and the documentation of those, from here. Arguments are checked before anything is
sent (:class:`~bloonio_chat.sdk.errors.ChatRelayArgumentError`); what else a call can raise stands in
:mod:`~bloonio_chat.sdk.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter

from bloonio_chat.sdk.arguments import (
    check_choice,
    check_email_hash,
    check_number,
    check_object,
    check_text,
    check_texts,
    json_body,
    query_string,
)
from bloonio_chat.sdk.enums import AttachmentType, ConversationChannel, MessageRole, TicketStatus
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


def _optional(name: str, value: object) -> str | None:
    # A form's empty field is text too.
    if value is not None and not isinstance(value, str):
        raise ChatRelayArgumentError(f"{name} must be text, not {type(value).__name__}.")
    return value


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
    """Open a conversation for a visitor; the relay answers with the :class:`~bloonio_chat.sdk.types.Conversation`.

    - ``visitor_user_id``: your own id for the person.
    - ``visitor_display_name``, ``visitor_email``, ``visitor_phone``: what operators see of the person.
    - ``locale``: the language to talk in.
    - ``channel``: ``text``, ``voice`` or ``video``.
    - ``metadata``: anything of yours that JSON can hold.

    Not repeated once the relay may have seen it. Protocol §3, ``POST /create/conversation``.
    """
    return Operation(
        "create_conversation",
        "POST",
        "/create/conversation",
        _conversation,
        body=json_body(
            visitor_user_id=check_text("visitor_user_id", visitor_user_id),
            visitor_display_name=_optional("visitor_display_name", visitor_display_name),
            locale=check_text("locale", locale),
            channel=check_choice("channel", channel, ConversationChannel),
            visitor_email=_optional("visitor_email", visitor_email),
            visitor_phone=_optional("visitor_phone", visitor_phone),
            metadata=check_object("metadata", metadata),
        ),
    )


def fetch_conversation(conversation_id: str) -> Operation[Conversation]:
    """Return one :class:`~bloonio_chat.sdk.types.Conversation`, by its id.

    Raises ``ChatRelayNotFoundError`` if the relay has none of this id. Protocol §3, ``GET /fetch/conversation``.
    """
    return Operation(
        "fetch_conversation",
        "GET",
        "/fetch/conversation",
        _conversation,
        query=query_string(conversation_id=check_text("conversation_id", conversation_id)),
        repeatable=True,
    )


def list_conversations(
    *, limit: int = 20, offset: int = 0, visitor_user_id: str | None = None
) -> Operation[list[Conversation]]:
    """Return one page of conversations, as a list of :class:`~bloonio_chat.sdk.types.Conversation`.

    - ``limit``: how many at the most, from 1; the relay may give fewer.
    - ``offset``: how many to pass over.
    - ``visitor_user_id``: those of one visitor only.

    ``iter_conversations`` walks all pages. Protocol §3, ``GET /fetch/conversations``.
    """
    return Operation(
        "list_conversations",
        "GET",
        "/fetch/conversations",
        _conversations,
        query=query_string(
            limit=check_number("limit", limit, smallest=1),
            offset=check_number("offset", offset, smallest=0),
            visitor_user_id=None if visitor_user_id is None else check_text("visitor_user_id", visitor_user_id),
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
    """Add a message to a conversation; the relay answers with the :class:`~bloonio_chat.sdk.types.Message`.

    - ``content``: 1 to 8000 characters.
    - ``role``: who speaks: ``visitor``, ``agent``, ``bot`` or ``system``.
    - ``attachments``: :class:`~bloonio_chat.sdk.types.Attachment` objects, or mappings with their four fields.

    Not repeated once the relay may have seen it, or the customer would read the text twice: where
    ``error.maybe_processed`` is true, look with ``list_messages``. Protocol §3, ``POST /add/message``.
    """
    return Operation(
        "send_message",
        "POST",
        "/add/message",
        _message,
        query=query_string(conversation_id=check_text("conversation_id", conversation_id)),
        body=json_body(
            role=check_choice("role", role, MessageRole),
            content=check_text("content", content, longest=LONGEST_MESSAGE),
            attachments=_attachments(attachments),
        ),
    )


def _attachments(values: Iterable[Attachment | Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    if values is None:
        return None
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise ChatRelayArgumentError(f"attachments must be a list, not {type(values).__name__}.")
    return [_attachment(value) for value in values]


def _attachment(value: Attachment | Mapping[str, Any]) -> dict[str, Any]:
    fields = value.model_dump() if isinstance(value, Attachment) else check_object("an entry of attachments", value)
    given = fields or {}
    return {
        **given,
        "type": check_choice("an attachment's type", given.get("type"), AttachmentType),
        "mime": check_text("an attachment's mime", given.get("mime")),
        "size": check_number("an attachment's size", given.get("size"), smallest=0),
        "url": check_text("an attachment's url", given.get("url")),
    }


def list_messages(conversation_id: str, *, limit: int = 100) -> Operation[list[Message]]:
    """Return messages of a conversation, as a list of :class:`~bloonio_chat.sdk.types.Message`.

    ``limit`` is how many at the most, from 1. The relay does not page messages: what lies beyond the limit can't be
    had, and an answer as long as the limit may not be all. Protocol §3, ``GET /fetch/messages``.
    """
    return Operation(
        "list_messages",
        "GET",
        "/fetch/messages",
        _messages,
        query=query_string(
            conversation_id=check_text("conversation_id", conversation_id),
            limit=check_number("limit", limit, smallest=1),
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
    """Return one page of tickets, as a list of :class:`~bloonio_chat.sdk.types.Ticket`.

    - ``limit``: how many at the most, from 1; the relay may give fewer.
    - ``offset``: how many to pass over.
    - ``status``: one of :class:`~bloonio_chat.sdk.enums.TicketStatus`.
    - ``assignee_user_id``: those of one operator only.

    ``iter_tickets`` walks all pages. Protocol §3, ``GET /fetch/tickets``.
    """
    return Operation(
        "list_tickets",
        "GET",
        "/fetch/tickets",
        _tickets,
        query=query_string(
            limit=check_number("limit", limit, smallest=1),
            offset=check_number("offset", offset, smallest=0),
            status=None if status is None else check_choice("status", status, TicketStatus),
            assignee_user_id=None if assignee_user_id is None else check_text("assignee_user_id", assignee_user_id),
        ),
        repeatable=True,
    )


def fetch_ticket(ticket_id: str) -> Operation[Ticket]:
    """Return one :class:`~bloonio_chat.sdk.types.Ticket`, by its id (not its number).

    Raises ``ChatRelayNotFoundError`` if the relay has none of this id. Protocol §3, ``GET /fetch/ticket``.
    """
    return Operation(
        "fetch_ticket",
        "GET",
        "/fetch/ticket",
        _ticket,
        query=query_string(ticket_id=check_text("ticket_id", ticket_id)),
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
    """Give the bot a text to answer from; the relay answers with the
    :class:`~bloonio_chat.sdk.types.KnowledgeDocument`.

    - ``title``: 1 to 500 characters.
    - ``body``: the text, not empty.
    - ``category``, ``language``, ``tags``: how it is filed.

    Not repeated once the relay may have seen it. Protocol §3, ``POST /ingest/knowledge``.
    """
    return Operation(
        "ingest_knowledge",
        "POST",
        "/ingest/knowledge",
        _document,
        body=json_body(
            title=check_text("title", title, longest=LONGEST_TITLE),
            body=check_text("body", body),
            category=check_text("category", category),
            language=check_text("language", language),
            tags=check_texts("tags", tags),
        ),
    )


def mint_visitor_token(
    *, visitor_user_id: str, visitor_email_hash: str | None = None, ttl_seconds: int = 3600
) -> Operation[VisitorToken]:
    """Return a :class:`~bloonio_chat.sdk.types.VisitorToken`, with which a visitor's app may connect.

    - ``visitor_user_id``: your own id for the person.
    - ``visitor_email_hash``: ``sha256:`` and 64 hexadecimal digits; never the email itself.
    - ``ttl_seconds``: how long it holds, from 60 to 86400 seconds.

    Protocol §3, ``POST /mint/visitor-token``.
    """
    return Operation(
        "mint_visitor_token",
        "POST",
        "/mint/visitor-token",
        _visitor_token,
        body=json_body(
            visitor_user_id=check_text("visitor_user_id", visitor_user_id),
            visitor_email_hash=None if visitor_email_hash is None else check_email_hash(visitor_email_hash),
            ttl_seconds=check_number(
                "ttl_seconds", ttl_seconds, smallest=SHORTEST_TOKEN_SECONDS, largest=LONGEST_TOKEN_SECONDS
            ),
        ),
        holds_token=True,
    )


def fetch_tenant_info() -> Operation[TenantInfo]:
    """Return the :class:`~bloonio_chat.sdk.types.TenantInfo`: the tenant's plan and what it allows.

    Protocol §3, ``GET /fetch/tenant-info``.
    """
    return Operation("fetch_tenant_info", "GET", "/fetch/tenant-info", _tenant_info, repeatable=True)


def provision_operator(
    *,
    email: str,
    display_name: str,
    routing_keys: Iterable[str] | None = None,
    avatar_url: str | None = None,
) -> Operation[Operator]:
    """Make a human an operator; the relay answers with the :class:`~bloonio_chat.sdk.types.Operator`.

    - ``email``: who it is; a repeat for the same email refreshes ``routing_keys``, and ``created`` is then false.
    - ``display_name``: what visitors see.
    - ``routing_keys``: the queues that the operator sees, a store's id, say; ``[]`` or ``None``: every conversation.
    - ``avatar_url``: a picture.

    Idempotent, so it is repeated like a read. Protocol §3, ``POST /provision/operator``.
    """
    return Operation(
        "provision_operator",
        "POST",
        "/provision/operator",
        _operator,
        body=json_body(
            email=check_text("email", email),
            display_name=check_text("display_name", display_name),
            routing_keys=check_texts("routing_keys", routing_keys),
            avatar_url=_optional("avatar_url", avatar_url),
        ),
        repeatable=True,
    )


def fetch_operator_token(*, email: str) -> Operation[OperatorToken]:
    """Return an :class:`~bloonio_chat.sdk.types.OperatorToken` for the operator with this email.

    Raises ``ChatRelayNotFoundError`` for an operator that was not provisioned. Protocol §3,
    ``POST /fetch/operator-token``.
    """
    return Operation(
        "fetch_operator_token",
        "POST",
        "/fetch/operator-token",
        _operator_token,
        body=json_body(email=check_text("email", email)),
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
    """Open a ticket from a contact form; the relay answers with a :class:`~bloonio_chat.sdk.types.ContactTicket`.

    - ``customer_email``, ``customer_name``, ``company``: who asks.
    - ``subject``, ``message``: what is asked.
    - ``source``: where the form stands; ``locale``: the language to answer in.
    - ``routing_key``: the queue that it goes to.
    - ``metadata``: anything of yours that JSON can hold.

    Not repeated once the relay may have seen it. Protocol §3, ``POST /create/contact-ticket``.
    """
    return Operation(
        "create_contact_ticket",
        "POST",
        "/create/contact-ticket",
        _contact_ticket,
        body=json_body(
            customer_email=check_text("customer_email", customer_email),
            customer_name=check_text("customer_name", customer_name),
            subject=check_text("subject", subject),
            message=check_text("message", message),
            company=_optional("company", company),
            source=_optional("source", source),
            locale=_optional("locale", locale),
            routing_key=_optional("routing_key", routing_key),
            metadata=check_object("metadata", metadata),
        ),
    )
