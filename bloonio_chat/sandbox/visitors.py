"""What visitors do: they open conversations, write, and are escalated to the humans."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.bot import reply
from bloonio_chat.sandbox.objects import Conversation, Document, Escalation, Message, Ticket
from bloonio_chat.sandbox.refusals import Refusal
from bloonio_chat.sandbox.state import State

_SUBJECT_LENGTH = 120


class Visitors:
    """The visitors' side of the relay, and the bot that answers them."""

    def __init__(self, state: State) -> None:
        self._state = state

    def open(
        self, tenant_id: str, visitor_user_id: str, *, routing_key: str | None = None, **fields: Any
    ) -> Conversation:
        """Open a conversation; ``fields`` are those of ``POST /create/conversation``."""
        state = self._state
        with state.lock:
            now = state.clock.moment()
            metadata = fields.pop("metadata", None) or {}
            conversation = Conversation(
                id=state.new_id(),
                tenant_id=tenant_id,
                visitor_user_id=visitor_user_id,
                locale=fields.pop("locale", "fr"),
                channel=fields.pop("channel", "text"),
                metadata=metadata,
                created_at=now,
                updated_at=now,
                visitor_session_id=f"vs_{state.new_id()}",
                routing_key=routing_key or metadata.get(choices.ROUTING_KEY_IN_METADATA),
                **fields,
            )
            state.conversations[conversation.id] = conversation
            state.publish_envelope("conversation_started", conversation)
            return conversation

    def write(
        self,
        conversation: Conversation,
        content: str,
        *,
        role: str = "visitor",
        attachments: Sequence[dict[str, Any]] = (),
    ) -> Message:
        """Add a message; a visitor's is followed by what it causes. Refuses with 409 in a closed conversation."""
        with self._state.lock:
            if conversation.status == "closed":
                raise Refusal(409, "The conversation is closed")
            message = self._add(conversation, role, content, attachments=list(attachments))
            if role == "visitor":
                self._state.publish_envelope("message_received", conversation, message_id=message.id)
                self._react(conversation, message)
            return message

    def escalate(self, conversation: Conversation, reason: str, *, subject: str, description: str) -> Escalation:
        """Put a conversation into the operators' queue, with a ticket. Refuses with 409 where it is there already."""
        state = self._state
        with state.lock:
            if conversation.status == "closed" or conversation.id in state.escalations:
                raise Refusal(409, "The conversation is closed, or with the operators already")
            now = state.clock.moment()
            priority = choices.PRIORITIES.get(reason, choices.OTHER_PRIORITY)
            ticket = Ticket(
                id=state.new_id(),
                tenant_id=conversation.tenant_id,
                ticket_number=choices.TICKET_NUMBER.format(len(state.tickets) + 1),
                user_id=conversation.visitor_user_id,
                subject=subject[:_SUBJECT_LENGTH],
                description=description,
                priority=priority,
                created_at=now,
                updated_at=now,
                sla_due_at=now + timedelta(hours=choices.SLA_HOURS[priority]),
                tags=[reason],
                conversation_id=conversation.id,
                escalation_id=state.new_id(),
            )
            escalation = Escalation(
                id=str(ticket.escalation_id),
                conversation_id=conversation.id,
                tenant_id=conversation.tenant_id,
                reason=reason,
                ticket_id=ticket.id,
                created_at=now,
            )
            state.tickets[ticket.id] = ticket
            state.escalations[conversation.id] = escalation
            conversation.updated_at = now
            known = {"escalation_id": escalation.id, "escalation_reason": reason}
            state.publish_envelope("escalation_triggered", conversation, **known)
            state.publish_envelope(
                "ticket_created", conversation, ticket_id=ticket.id, ticket_number=ticket.ticket_number, **known
            )
            return escalation

    def contact(self, tenant_id: str, *, customer_email: str, customer_name: str, **fields: Any) -> Conversation:
        """Take a contact form: a conversation with its one message, escalated as ``contact_form``.

        ``fields`` are those of ``POST /create/contact-ticket``.
        """
        with self._state.lock:
            about = {name: fields[name] for name in ("company", "source") if fields.get(name) is not None}
            conversation = self.open(
                tenant_id,
                customer_email,
                visitor_display_name=customer_name,
                visitor_email=customer_email,
                locale=fields.get("locale") or "fr",
                metadata={**(fields.get("metadata") or {}), **about},
                routing_key=fields.get("routing_key"),
            )
            message = self._add(conversation, "visitor", fields["message"])
            self._state.publish_envelope("message_received", conversation, message_id=message.id)
            self.escalate(conversation, "contact_form", subject=fields["subject"], description=fields["message"])
            return conversation

    def ingest(self, tenant_id: str, **fields: Any) -> Document:
        """Add a document to what the bot knows; ``fields`` are those of ``POST /ingest/knowledge``."""
        state = self._state
        with state.lock:
            now = state.clock.moment()
            document = Document(
                id=state.new_id(), tenant_id=tenant_id, created_at=now, updated_at=now, published_at=now, **fields
            )
            state.documents[document.id] = document
            return document

    # ---- what a message causes ---------------------------------------------------------------------------------

    def _react(self, conversation: Conversation, message: Message) -> None:
        state = self._state
        escalation = state.escalations.get(conversation.id)
        if escalation is not None:
            ticket = state.tickets[escalation.ticket_id]
            if ticket.status == choices.TICKET_AFTER_ANSWER:
                ticket.status, ticket.updated_at = choices.TICKET_AFTER_VISITOR, message.created_at
            return
        if state.tenants[conversation.tenant_id].mode == "human":
            self.escalate(conversation, "direct", subject=message.content, description=message.content)
            return
        said = reply(message.content, state.documents_of(conversation.tenant_id), locale=conversation.locale)
        self._add(conversation, "bot", said.content, citations=said.citations, confidence=said.confidence)
        if said.escalate:
            self.escalate(conversation, said.escalate, subject=message.content, description=message.content)

    def _add(self, conversation: Conversation, role: str, content: str, **fields: Any) -> Message:
        state = self._state
        now = state.clock.moment()
        message = Message(
            id=state.new_id(),
            conversation_id=conversation.id,
            tenant_id=conversation.tenant_id,
            role=role,
            content=content,
            created_at=now,
            **fields,
        )
        state.messages[message.id] = message
        conversation.last_message_at = conversation.updated_at = now
        return message

    def add_answer(self, conversation: Conversation, content: str, *, operator_id: str) -> Message:
        """Add an operator's message. Called by the desk, with the lock held."""
        return self._add(conversation, "agent", content, operator_id=operator_id)
