"""What the thirteen operations take (protocol §3), and FastAPI's words for what is wrong with it.

Written apart from the SDK's own checks, so that the sandbox can't repeat their mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.refusals import Refusal

_Text = Annotated[str, Field(min_length=1)]
_Id = Annotated[str, Field(min_length=1, max_length=choices.LONGEST_NAME)]
_Email = Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
_Limit = Annotated[int, Field(ge=1, le=choices.LARGEST_LIMIT)]
_Offset = Annotated[int, Field(ge=0)]


class Input(BaseModel):
    """A body or a query."""

    model_config = ConfigDict(extra=choices.UNKNOWN_FIELDS, hide_input_in_errors=True)


# ---- queries ---------------------------------------------------------------------------------------------------


class Nothing(Input):
    """No query at all."""


class ConversationQuery(Input):
    """Names a conversation."""

    conversation_id: _Id


class MessagesQuery(ConversationQuery):
    """``GET /fetch/messages``."""

    limit: _Limit = 100


class ConversationsQuery(Input):
    """``GET /fetch/conversations``."""

    limit: _Limit = 20
    offset: _Offset = 0
    visitor_user_id: _Id | None = None


class TicketQuery(Input):
    """Names a ticket."""

    ticket_id: _Id


class TicketsQuery(Input):
    """``GET /fetch/tickets``."""

    limit: _Limit = 20
    offset: _Offset = 0
    status: (
        Literal["open", "triaged", "assigned", "in_progress", "waiting_on_user", "resolved", "closed", "reopened"]
        | None
    ) = None
    assignee_user_id: _Id | None = None


# ---- bodies ----------------------------------------------------------------------------------------------------


class NewConversation(Input):
    """``POST /create/conversation``."""

    visitor_user_id: _Id
    visitor_display_name: str | None = None
    locale: _Text = "fr"
    channel: Literal["text", "voice", "video"] = "text"
    visitor_email: str | None = None
    visitor_phone: str | None = None
    metadata: dict[str, Any] | None = None


class NewAttachment(Input):
    """A file on a message."""

    model_config = ConfigDict(extra="allow")

    type: Literal["image", "audio", "video", "file"]
    mime: _Text
    size: Annotated[int, Field(ge=0)]
    url: _Text


class NewMessage(Input):
    """``POST /add/message``."""

    role: Literal["visitor", "agent", "bot", "system"] = "visitor"
    content: Annotated[str, Field(min_length=1, max_length=8000)]
    attachments: list[NewAttachment] | None = None


class NewDocument(Input):
    """``POST /ingest/knowledge``."""

    title: Annotated[str, Field(min_length=1, max_length=500)]
    body: _Text
    category: _Text = "general"
    language: _Text = "fr"
    tags: list[str] | None = None


class VisitorTokenOrder(Input):
    """``POST /mint/visitor-token``."""

    visitor_user_id: _Id
    visitor_email_hash: Annotated[str, Field(pattern=r"^sha256:[0-9a-fA-F]+$")] | None = None
    ttl_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600


class NewOperator(Input):
    """``POST /provision/operator``."""

    email: _Email
    display_name: _Text
    routing_keys: list[_Text] | None = None
    avatar_url: str | None = None


class OperatorTokenOrder(Input):
    """``POST /fetch/operator-token``."""

    email: _Email


class ContactForm(Input):
    """``POST /create/contact-ticket``."""

    customer_email: _Email
    customer_name: _Text
    subject: _Text
    message: _Text
    company: str | None = None
    source: str | None = None
    locale: _Text | None = None
    routing_key: str | None = None
    metadata: dict[str, Any] | None = None


# ---- reading ---------------------------------------------------------------------------------------------------

_Input = TypeVar("_Input", bound=Input)


def read_query(kind: type[_Input], values: Mapping[str, str]) -> _Input:
    """Return a checked query, whose numbers are texts; refuse with 422 and FastAPI's list of what is wrong."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise _refusal("query", error) from None


def read_body(kind: type[_Input], content_type: str | None, body: bytes) -> _Input:
    """Return a checked JSON body; refuse like :func:`read_query`. Types are not converted: ``"3"`` is no number."""
    if content_type is None or content_type.partition(";")[0].strip().lower() != "application/json":
        problem = {"type": "content_type", "loc": ["header", "content-type"], "msg": "Should be application/json"}
        raise _refused([problem])
    try:
        tree = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise _refused([{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]) from None
    return check(kind, tree)


def check(kind: type[_Input], tree: Any) -> _Input:
    """Return what a body says, checked; refuse like :func:`read_query`."""
    if not _is_finite(tree):
        # Such as 1e999, which is JSON, and could not be written down as JSON again.
        raise _refused([{"type": "finite_number", "loc": ["body"], "msg": "Input should be a finite number"}])
    try:
        return kind.model_validate(tree, strict=True)
    except ValidationError as error:
        raise _refusal("body", error) from None


def _is_finite(tree: Any) -> bool:
    if isinstance(tree, dict):
        return all(map(_is_finite, tree.values()))
    if isinstance(tree, list):
        return all(map(_is_finite, tree))
    return not isinstance(tree, float) or math.isfinite(tree)


def _refusal(place: str, error: ValidationError) -> Refusal:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return _refused([{"type": p["type"], "loc": [place, *p["loc"]], "msg": p["msg"]} for p in problems])


def _refused(problems: list[dict[str, Any]]) -> Refusal:
    return Refusal(choices.INPUT_REFUSED, "; ".join(str(p["msg"]) for p in problems), detail=problems)
