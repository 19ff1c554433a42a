"""Where the relay keeps everything; no HTTP here.

What changes it holds ``State.lock``, and publishes the callbacks that follow before it lets go: so their order is that
of the changes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from bloonio_chat.sandbox.clock import Clock
from bloonio_chat.sandbox.objects import (
    Conversation,
    Document,
    Escalation,
    Message,
    Operator,
    Tenant,
    Ticket,
    iso,
)
from bloonio_chat.sandbox.refusals import Refusal

_T = TypeVar("_T", Conversation, Ticket, Document)

# (tenant, event type, conversation's id, body)
Publish = Callable[[Tenant, str, "str | None", "dict[str, Any]"], None]


class State:
    """The tables, each by id (``escalations`` by their conversation's), in the order of their making.

    ``ids`` makes the ids, so that a seed makes the same ones again.
    """

    def __init__(self, clock: Clock, ids: random.Random) -> None:
        self.clock = clock
        # The clock's own: with two locks, someone who waits for a change while he looks at the state, and someone who
        # changes the state while he tells of it, would wait for each other for ever.
        self.lock = clock.changed
        self._ids = ids
        # Where callbacks go; set by the stage.
        self.publish_to: Publish | None = None
        self.tenants: dict[str, Tenant] = {}
        self.conversations: dict[str, Conversation] = {}
        self.messages: dict[str, Message] = {}
        self.escalations: dict[str, Escalation] = {}
        self.tickets: dict[str, Ticket] = {}
        self.operators: dict[str, Operator] = {}
        self.documents: dict[str, Document] = {}

    # ---- making ------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        """Return an id for a conversation, message, ticket, escalation or document: 24 hexadecimal digits."""
        return f"{self._ids.getrandbits(96):024x}"

    def new_uuid(self) -> str:
        """Return an id for a tenant or an operator: a UUID, version 7 by its form (protocol §1)."""
        value = (0x0190 << 112) | (self._ids.getrandbits(128) & ((1 << 112) - 1))
        value = (value & ~(0xF << 76) & ~(0x3 << 62)) | (7 << 76) | (2 << 62)
        return str(uuid.UUID(int=value))

    def publish(self, tenant_id: str, event_type: str, conversation_id: str | None, body: dict[str, Any]) -> None:
        """Hand a callback's body over for posting. Called with the lock held."""
        if self.publish_to is not None:
            self.publish_to(self.tenants[tenant_id], event_type, conversation_id, body)

    def publish_envelope(self, event_type: str, conversation: Conversation, **fields: Any) -> None:
        """Publish an event about a conversation in the envelope (protocol §4.1), with what applies of its fields."""
        body = {
            "event_type": event_type,
            "tenant_id": conversation.tenant_id,
            "occurred_at": iso(self.clock.moment()),
            "conversation_id": conversation.id,
            "visitor_user_id": conversation.visitor_user_id,
            **{name: value for name, value in fields.items() if value is not None},
            "extra": {"channel": conversation.channel, "locale": conversation.locale},
        }
        self.publish(conversation.tenant_id, event_type, conversation.id, body)

    # ---- looking up --------------------------------------------------------------------------------------------

    def conversation(self, conversation_id: str, tenant_id: str | None = None) -> Conversation:
        """Return the conversation; refuse with 404 if there is none, or not of that tenant."""
        return self._own("conversation", self.conversations.get(conversation_id), tenant_id)

    def ticket(self, ticket_id: str, tenant_id: str | None = None) -> Ticket:
        """Return the ticket; refuse like :meth:`conversation`."""
        return self._own("ticket", self.tickets.get(ticket_id), tenant_id)

    def messages_of(self, conversation_id: str) -> list[Message]:
        """Return a conversation's messages, oldest first."""
        with self.lock:
            return [message for message in self.messages.values() if message.conversation_id == conversation_id]

    def documents_of(self, tenant_id: str) -> list[Document]:
        """Return what a tenant has ingested, oldest first."""
        with self.lock:
            return [document for document in self.documents.values() if document.tenant_id == tenant_id]

    def operator(self, tenant_id: str, email_or_id: str) -> Operator:
        """Return a tenant's operator; refuse with 404 if there is none."""
        wanted = email_or_id.casefold()
        with self.lock:
            for operator in self.operators.values():
                if operator.tenant_id == tenant_id and wanted in (operator.operator_id, operator.email.casefold()):
                    return operator
        raise Refusal(404, "Operator not found")

    @staticmethod
    def _own(kind: str, found: _T | None, tenant_id: str | None) -> _T:
        # Another tenant's object is answered like one that never was.
        if found is None or (tenant_id is not None and found.tenant_id != tenant_id):
            raise Refusal(404, f"{kind.capitalize()} not found")
        return found
