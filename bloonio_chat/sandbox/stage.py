"""What a test, or the page, sees of the relay and does in it: as visitor, as operator, as the relay itself."""

from __future__ import annotations

import re
from typing import Any, Literal

from bloonio_chat.sandbox import choices, inputs
from bloonio_chat.sandbox.callbacks import Callback, Outbox
from bloonio_chat.sandbox.desk import Desk, takeover
from bloonio_chat.sandbox.objects import (
    Conversation,
    Document,
    Escalation,
    Message,
    Operator,
    Tenant,
    Ticket,
    encode,
    iso,
)
from bloonio_chat.sandbox.state import State
from bloonio_chat.sandbox.visitors import Visitors

_EVENT_TYPE = re.compile(r"[a-z]+(_[a-z]+)*")
# The three that have the takeover body: the status and the time that belong to each (protocol §4.1).
_AGENT_EVENTS = {
    "agent_assigned": ("ASSIGNED", "claimed_at"),
    "agent_released": ("WAITING", "released_at"),
    "agent_resolved": ("RESOLVED", "resolved_at"),
}


class Stage:
    """The relay without its HTTP. All methods may be called from any thread; what they return is the relay's own.

    What can't be done raises :class:`~bloonio_chat.sandbox.refusals.Refusal`, with the status that a call would get.
    """

    tenant: Tenant

    def __init__(self, state: State, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox
        self._visitors = Visitors(state)
        self._desk = Desk(state, self._visitors)
        state.publish_to = self._post

    # ---- reading -----------------------------------------------------------------------------------------------

    @property
    def tenants(self) -> dict[str, Tenant]:
        """All tenants by id."""
        with self._state.lock:
            return dict(self._state.tenants)

    @property
    def conversations(self) -> dict[str, Conversation]:
        """All conversations by id, oldest first."""
        with self._state.lock:
            return dict(self._state.conversations)

    @property
    def messages(self) -> list[Message]:
        """All messages, oldest first."""
        with self._state.lock:
            return list(self._state.messages.values())

    def messages_of(self, conversation_id: str) -> list[Message]:
        """Return the messages of a conversation, oldest first."""
        return self._state.messages_of(conversation_id)

    @property
    def tickets(self) -> dict[str, Ticket]:
        """All tickets by id, oldest first."""
        with self._state.lock:
            return dict(self._state.tickets)

    @property
    def escalations(self) -> dict[str, Escalation]:
        """What is or was in the operators' queue, by the conversation's id, oldest first."""
        with self._state.lock:
            return dict(self._state.escalations)

    @property
    def operators(self) -> dict[str, Operator]:
        """All operators by id."""
        with self._state.lock:
            return dict(self._state.operators)

    @property
    def documents(self) -> dict[str, Document]:
        """All that was ingested, by id."""
        with self._state.lock:
            return dict(self._state.documents)

    @property
    def callbacks(self) -> list[Callback]:
        """All callbacks with their attempts, oldest first."""
        return self._outbox.callbacks()

    # ---- visitors ----------------------------------------------------------------------------------------------

    def open_conversation(
        self, visitor_user_id: str, *, tenant: Tenant | None = None, routing_key: str | None = None, **fields: Any
    ) -> Conversation:
        """Open a conversation as a visitor; ``fields`` as for ``create_conversation`` (protocol §3)."""
        its_id = (tenant or self.tenant).tenant_id
        checked = inputs.check(inputs.NewConversation, {"visitor_user_id": visitor_user_id, **fields})
        return self._visitors.open(its_id, routing_key=routing_key, **checked.model_dump())

    def say(self, conversation_id: str, content: str) -> Message:
        """Write as the visitor: the bot answers, or escalates."""
        checked = inputs.check(inputs.NewMessage, {"content": content})
        return self._visitors.write(self._state.conversation(conversation_id), checked.content)

    def escalate(self, conversation_id: str, reason: str = choices.REASON_WHEN_ASKED) -> Escalation:
        """Let the bot hand a conversation to the operators for this reason (protocol §3.2)."""
        text = f"Escalated: {reason}"
        return self._visitors.escalate(
            self._state.conversation(conversation_id), reason, subject=text, description=text
        )

    def ingest(self, title: str, body: str, *, tenant: Tenant | None = None, tags: list[str] | None = None) -> Document:
        """Give the bot a text to answer from."""
        its_id = (tenant or self.tenant).tenant_id
        return self._visitors.ingest(its_id, title=title, body=body, category="general", language="en", tags=tags or [])

    # ---- operators ---------------------------------------------------------------------------------------------

    def provision_operator(
        self,
        email: str,
        display_name: str,
        *,
        routing_keys: list[str] | None = None,
        tenant: Tenant | None = None,
    ) -> Operator:
        """Make an operator, or refresh the routing keys of the one with this email."""
        its_id = (tenant or self.tenant).tenant_id
        return self._desk.provision(its_id, email=email, display_name=display_name, routing_keys=routing_keys)[0]

    def queue(self, operator: str | None = None, *, tenant: Tenant | None = None) -> list[Escalation]:
        """Return what waits for an operator, oldest first."""
        return self._desk.queue(self._operator((tenant or self.tenant).tenant_id, operator))

    def claim(self, conversation_id: str, operator: str | None = None) -> Escalation:
        """Take a conversation: ``agent_assigned`` and ``ticket_assigned``.

        ``operator`` is an email or an id; without one, the tenant's first operator that may see it, or a new one that
        sees everything.
        """
        conversation = self._state.conversation(conversation_id)
        return self._desk.claim(conversation, self._operator(conversation.tenant_id, operator, conversation))

    def release(self, conversation_id: str) -> Escalation:
        """Give a conversation back to the queue, as the operator who has it: ``agent_released``."""
        return self._desk.release(self._state.conversation(conversation_id))

    def resolve(self, conversation_id: str) -> Escalation:
        """Resolve and close a conversation, as the operator who has it: ``agent_resolved`` and ``ticket_resolved``."""
        return self._desk.resolve(self._state.conversation(conversation_id))

    def answer(self, conversation_id: str, content: str, operator: str | None = None) -> Message:
        """Write to the visitor as an operator, who takes the conversation first where it waits.

        Without ``operator``: as the one who has it.
        """
        inputs.check(inputs.NewMessage, {"content": content})
        conversation = self._state.conversation(conversation_id)
        with self._state.lock:
            escalation = self._state.escalations.get(conversation_id)
            if operator is None and escalation is not None:
                operator = escalation.operator_id
            answering = self._operator(conversation.tenant_id, operator, conversation)
            return self._desk.answer(conversation, answering, content)

    # ---- callbacks ---------------------------------------------------------------------------------------------

    def emit(
        self,
        event_type: str,
        *,
        tenant: Tenant | None = None,
        shape: Literal["envelope", "takeover"] | None = None,
        **fields: Any,
    ) -> None:
        """Post a callback that nothing caused, of any type, known or not; ``fields`` go into its body (protocol §4.1).

        An ``agent_*`` event of a conversation in the queue has the tenant's ``agent_body``, unless ``shape`` says
        otherwise. Raises ``ValueError`` for what can be no event's type.
        """
        tenant = tenant or self.tenant
        escalation = self.escalations.get(fields.get("conversation_id", ""))
        if shape == "takeover" and (event_type not in _AGENT_EVENTS or escalation is None):
            raise ValueError("The takeover body is for agent_* events of a conversation that is or was in the queue.")
        if event_type in _AGENT_EVENTS and (shape or tenant.agent_body) == "takeover" and escalation is not None:
            conversation = self._state.conversation(escalation.conversation_id)
            operator = self._operator(tenant.tenant_id, escalation.operator_id, conversation)
            body = takeover(conversation, escalation, operator, named=event_type == "agent_assigned")
            # What the event says, whatever the queue holds now: a body that contradicts its path would be refused.
            status, time_field = _AGENT_EVENTS[event_type]
            body.update({"status": status, time_field: body[time_field] or self._now()})
        else:
            body = {"event_type": event_type, "tenant_id": tenant.tenant_id, "occurred_at": self._now(), "extra": {}}
        body.update(fields)
        self.emit_bytes(event_type, encode(body), conversation_id=fields.get("conversation_id"), tenant=tenant)

    def emit_bytes(
        self, event_type: str, body: bytes, *, conversation_id: str | None = None, tenant: Tenant | None = None
    ) -> None:
        """Post any body, well signed, as a callback of that type; ``conversation_id`` chooses its lane."""
        if not _EVENT_TYPE.fullmatch(event_type):
            raise ValueError(f"{event_type!r} can be no event's type: [a-z]+(_[a-z]+)*")
        self._outbox.put(tenant or self.tenant, event_type, conversation_id, body)

    def _post(self, tenant: Tenant, event_type: str, conversation_id: str | None, body: dict[str, Any]) -> None:
        self.emit_bytes(event_type, encode(body), conversation_id=conversation_id, tenant=tenant)

    def _now(self) -> str:
        return iso(self._state.clock.moment())

    def _operator(self, tenant_id: str, named: str | None, conversation: Conversation | None = None) -> Operator:
        if named is not None:
            return self._state.operator(tenant_id, named)
        for operator in self.operators.values():
            if operator.tenant_id == tenant_id and (conversation is None or operator.sees(conversation)):
                return operator
        return self._desk.provision(tenant_id, email="operator@sandbox.invalid", display_name="Sandbox operator")[0]
