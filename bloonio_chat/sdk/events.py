"""A callback's body and path become a :class:`WebhookEvent`, whichever of the two shapes it has (protocol §4.1)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any, Final, Protocol

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from bloonio_chat.sdk.decoding import clean, is_clean, parse
from bloonio_chat.sdk.enums import AgentStatus, EscalationReason, WebhookEventType
from bloonio_chat.sdk.errors import (
    ChatRelayArgumentError,
    ChatRelayInputError,
    ChatRelayNotFoundError,
    EventError,
)
from bloonio_chat.sdk.operations import LARGEST_LIMIT
from bloonio_chat.sdk.settings import canonical_tenant_id
from bloonio_chat.sdk.types import Conversation, Message, RelayObject, RelayTime, Ticket, in_utc

LONGEST_ID: Final = 255

# Asked for where a conversation has more messages than a list usually holds.
_LAST_RESORT_LIMIT: Final = 10_000

# What a path under the callbacks' prefix must look like to be an event's (protocol §4.3).
EVENT_PATH: Final = r"[a-z]+(?:-[a-z]+)*"

# As a number, which bytes are searched for ten times as fast as for b"\\".
_BACKSLASH: Final = 0x5C

_RelayId = Annotated[str, Field(max_length=LONGEST_ID)]
# Checked by pydantic's core: this field is on every callback's way. Years at either end could lie outside what
# datetime, and any database, can hold once they are turned into UTC.
_EventTime = Annotated[
    AwareDatetime,
    Field(ge=datetime(2, 1, 1, tzinfo=timezone.utc), lt=datetime(9999, 1, 1, tzinfo=timezone.utc)),
    AfterValidator(in_utc),
]
_read_time = TypeAdapter(RelayTime).validate_python

# The agent takeover body says neither what happened nor when; its path and these fields do.
_AGENT_STATUS: Final = {
    "agent-assigned": AgentStatus.ASSIGNED,
    "agent-released": AgentStatus.WAITING,
    "agent-resolved": AgentStatus.RESOLVED,
}
_AGENT_TIME: Final = {
    "agent-assigned": "claimed_at",
    "agent-released": "released_at",
    "agent-resolved": "resolved_at",
}


class FetchesObjects(Protocol):
    """The part of :class:`~bloonio_chat.sdk.client.ChatRelayClient` that an event needs to ask for the full object."""

    def fetch_conversation(self, conversation_id: str, /) -> Conversation:
        """See :func:`bloonio_chat.sdk.operations.fetch_conversation`."""
        ...

    def fetch_ticket(self, ticket_id: str, /) -> Ticket:
        """See :func:`bloonio_chat.sdk.operations.fetch_ticket`."""
        ...

    def list_messages(self, conversation_id: str, /, *, limit: int = ...) -> list[Message]:
        """See :func:`bloonio_chat.sdk.operations.list_messages`."""
        ...


class WebhookEvent(RelayObject):
    """What a callback says: a summary, of which the full object is to be fetched.

    ``event_type``, ``tenant_id`` and ``occurred_at`` are always there, the others where they apply. Fields that this
    SDK does not know are in ``model_extra``. ``agent_user_id`` is the operator in both body shapes.
    """

    event_type: WebhookEventType
    tenant_id: _RelayId
    occurred_at: _EventTime
    conversation_id: _RelayId | None = None
    message_id: _RelayId | None = None
    ticket_id: _RelayId | None = None
    ticket_number: _RelayId | None = None
    escalation_id: _RelayId | None = None
    escalation_reason: EscalationReason | None = None
    visitor_user_id: _RelayId | None = None
    agent_user_id: _RelayId | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    # Of the agent takeover body alone.
    status: AgentStatus | None = None
    operator_id: _RelayId | None = None
    operator_display_name: str | None = None
    visitor_session_id: _RelayId | None = None
    claim_count: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    claimed_at: RelayTime | None = None
    released_at: RelayTime | None = None
    resolved_at: RelayTime | None = None

    # What is not the relay's is kept in __dict__: pydantic's private attributes would make parsing half as slow
    # again.

    @property
    def was_cleaned(self) -> bool:
        """Whether NUL, half surrogate pairs or numbers that are not finite were taken out of what the relay sent."""
        return bool(self.__dict__.get("_was_cleaned"))

    def bind(self, client: Callable[[], FetchesObjects]) -> None:
        """Tell the event how to get the client of its tenant, for the ``fetch_…`` methods.

        Done before it is delivered.
        """
        self.__dict__["_client"] = client

    def fetch_conversation(self) -> Conversation:
        """Ask the relay for the conversation.

        Raises ``ChatRelayArgumentError`` if the event names none, ``ChatRelayNotFoundError`` if the relay has none,
        else as the client's ``fetch_conversation``. Protocol §3.
        """
        return self._require_client().fetch_conversation(self._require("conversation_id"))

    def fetch_ticket(self) -> Ticket:
        """Ask the relay for the ticket. Raises like :meth:`fetch_conversation`."""
        return self._require_client().fetch_ticket(self._require("ticket_id"))

    def fetch_message(self) -> Message:
        """Ask the relay for the message: no route fetches one, so it is looked for among its conversation's.

        Raises like :meth:`fetch_conversation`; ``ChatRelayNotFoundError`` also where the conversation has more
        messages than the relay lists.
        """
        message_id, conversation_id = self._require("message_id"), self._require("conversation_id")
        client = self._require_client()
        messages = client.list_messages(conversation_id, limit=LARGEST_LIMIT)
        if len(messages) >= LARGEST_LIMIT and all(message.id != message_id for message in messages):
            # A relay that never lists as many refuses, and then the message can't be had.
            with contextlib.suppress(ChatRelayInputError):
                messages = client.list_messages(conversation_id, limit=_LAST_RESORT_LIMIT)
        for message in messages:
            if message.id == message_id:
                return message
        raise ChatRelayNotFoundError(
            f"The message of this event is not among the {len(messages)} that the relay lists of its conversation.",
            operation="list_messages",
        )

    def _require(self, name: str) -> str:
        value = getattr(self, name)
        if not value:
            raise ChatRelayArgumentError(f"This {self.event_type} event has no {name}, so there is nothing to fetch.")
        return str(value)

    def _require_client(self) -> FetchesObjects:
        client: Callable[[], FetchesObjects] | None = self.__dict__.get("_client")
        if client is None:
            raise ChatRelayArgumentError(
                "This event was not delivered by an app: call event.bind(lambda: client) first."
            )
        return client()


_validate_json = WebhookEvent.__pydantic_validator__.validate_json


def parse_event(body: bytes, *, path: str, tenant_id: str, timestamp_ms: int) -> WebhookEvent:
    """Return the event that a verified body holds (protocol §4.1 and §4.3).

    ``path`` is the last part of the callback's URL, ``tenant_id`` the tenant that signed, ``timestamp_ms`` the signed
    timestamp. Raises :class:`~bloonio_chat.sdk.errors.EventError`, whose message names fields, never values.
    """
    if _BACKSLASH not in body or b"\\u" not in body:
        # Most bodies: straight from bytes to event. Whatever is odd takes the way below, which can mend it or say why.
        try:
            event: WebhookEvent = _validate_json(body)
        except ValidationError:
            pass
        else:
            if is_clean(event.extra) and is_clean(event.model_extra):
                return _checked(event, path, tenant_id)
    try:
        tree, was_cleaned = parse(body)
    except (ValueError, RecursionError):
        raise EventError(
            "not_json", "The body is not JSON in UTF-8, is nested too deep, or holds too long a number."
        ) from None
    if not isinstance(tree, dict):
        raise EventError("not_an_object", "The body is JSON, but not an object.")
    if not is_clean(tree):
        tree, was_cleaned = _with_finite_numbers(tree), True
    if path.startswith("agent-") and "event_type" not in tree:
        tree = _from_agent_takeover(tree, path, timestamp_ms)
    event = _validated(_with_defaults(tree))
    event.__dict__["_was_cleaned"] = was_cleaned
    return _checked(event, path, tenant_id)


def _with_finite_numbers(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the body cleaned, except for its known fields: a number that is not finite is wrong there, not missing."""
    return {
        name: value if isinstance(value, float) and name in WebhookEvent.model_fields else clean(value)
        for name, value in tree.items()
    }


def _from_agent_takeover(tree: dict[str, Any], path: str, timestamp_ms: int) -> dict[str, Any]:
    """Return the documented body of the ``agent_*`` events with what the envelope would have said."""
    for name in ("conversation_id", "status"):
        if not isinstance(tree.get(name), str) or not tree[name]:
            raise EventError("field_missing", f"A body without event_type must have {name}, a text that is not empty.")
    expected = _AGENT_STATUS.get(path)
    # On a path that is not one of the three, a status of theirs belongs to another event too.
    if AgentStatus(tree["status"]).is_known and tree["status"] != expected:
        raise EventError("status_mismatch", f"The status belongs to another event than {path}.")
    occurred_at = tree.get(_AGENT_TIME.get(path, ""))
    if occurred_at is None:
        occurred_at = datetime.fromtimestamp(timestamp_ms / 1000, timezone.utc)
    return {
        **tree,
        "event_type": path.replace("-", "_"),
        "occurred_at": occurred_at,
        "agent_user_id": tree.get("operator_id"),
    }


def _with_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope with an aware ``occurred_at`` and without an ``extra`` that is null."""
    tree = {name: value for name, value in tree.items() if name != "extra" or value is not None}
    # Where this fails, the model says what is wrong.
    with contextlib.suppress(KeyError, ValidationError):
        tree["occurred_at"] = _read_time(tree["occurred_at"])
    return tree


def _validated(tree: dict[str, Any]) -> WebhookEvent:
    try:
        return WebhookEvent.model_validate(tree)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    names = ", ".join(dict.fromkeys(str(problem["loc"][0]) for problem in problems))
    kinds = {problem["type"] for problem in problems}
    # Raised out here: the error that was caught quotes the body.
    if kinds == {"missing"}:
        raise EventError("field_missing", f"The body lacks {names}.")
    if kinds == {"string_too_long"}:
        raise EventError("id_too_long", f"Over {LONGEST_ID} characters: {names}.")
    raise EventError("field_invalid", f"Not of the protocol's type: {names}.")


def _checked(event: WebhookEvent, path: str, tenant_id: str) -> WebhookEvent:
    if event.event_type != path.replace("-", "_"):
        raise EventError("event_type_mismatch", "The body's event_type is another than the path's.")
    if event.tenant_id != tenant_id and canonical_tenant_id(event.tenant_id) != tenant_id:
        raise EventError("tenant_mismatch", "The body's tenant_id is another than the one that signed.")
    if len(path) > LONGEST_ID:
        raise EventError("id_too_long", f"The event's name is over {LONGEST_ID} characters.")
    extra = event.model_extra
    if extra:
        for name in ("event_id", "id"):
            value = extra.get(name)
            if isinstance(value, str) and len(value) > LONGEST_ID:
                raise EventError("id_too_long", f"Over {LONGEST_ID} characters: {name}.")
    return event


def idempotency_key(event: WebhookEvent, *, tenant_id: str, body: bytes) -> str:
    """Return what tells two deliveries of one event apart from two events: 64 hexadecimal digits (protocol §4.3)."""
    what = f"{tenant_id}\n{event.event_type.value}\n".encode()
    extra = event.model_extra or {}
    for name in ("event_id", "id"):
        own_id = extra.get(name)
        if isinstance(own_id, str) and own_id:
            return hashlib.sha256(what + b"id\n" + own_id.encode()).hexdigest()
    return hashlib.sha256(what + b"body\n" + body).hexdigest()
