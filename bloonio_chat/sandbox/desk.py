"""What operators do: they take conversations from the queue, answer, give them back or resolve them."""

from __future__ import annotations

from typing import Any

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.objects import Conversation, Escalation, Message, Operator, Ticket, iso
from bloonio_chat.sandbox.refusals import Refusal
from bloonio_chat.sandbox.state import State
from bloonio_chat.sandbox.visitors import Visitors


class Desk:
    """The operators' side of the relay."""

    def __init__(self, state: State, visitors: Visitors) -> None:
        self._state = state
        self._visitors = visitors

    def provision(
        self,
        tenant_id: str,
        *,
        email: str,
        display_name: str,
        routing_keys: list[str] | None = None,
        avatar_url: str | None = None,
        refresh_keys: bool = True,
    ) -> tuple[Operator, bool]:
        """Make an operator, or refresh the routing keys of the one with this email; return it and whether it is new."""
        state = self._state
        with state.lock:
            try:
                operator = state.operator(tenant_id, email)
            except Refusal:
                operator = Operator(state.new_uuid(), tenant_id, email, display_name, routing_keys, avatar_url)
                state.operators[operator.operator_id] = operator
                return operator, True
            if refresh_keys:
                operator.routing_keys = routing_keys
            return operator, False

    def queue(self, operator: Operator) -> list[Escalation]:
        """Return what waits in this operator's queues, oldest first."""
        state = self._state
        with state.lock:
            return [
                escalation
                for escalation in state.escalations.values()
                if escalation.status == "WAITING" and operator.sees(state.conversations[escalation.conversation_id])
            ]

    def claim(self, conversation: Conversation, operator: Operator) -> Escalation:
        """Give a conversation to an operator.

        Refuses with 403 one that is not in the operator's queues, with 409 one that is taken or closed.
        """
        state = self._state
        with state.lock:
            if not operator.sees(conversation):
                raise Refusal(403, "The conversation is in none of this operator's queues")
            if conversation.id not in state.escalations:
                self._take_unasked(conversation)
            escalation, ticket = self._in_queue(conversation, "WAITING")
            now = state.clock.moment()
            escalation.status, escalation.operator_id = "ASSIGNED", operator.operator_id
            escalation.claim_count += 1
            escalation.claimed_at = conversation.updated_at = ticket.updated_at = now
            escalation.released_at = None
            ticket.status, ticket.assignee_user_id = "assigned", operator.operator_id
            self._publish_agent("agent_assigned", conversation, escalation, operator)
            self._publish_ticket("ticket_assigned", conversation, escalation, ticket, operator)
            return escalation

    def release(self, conversation: Conversation) -> Escalation:
        """Give a conversation back to the queue. Refuses with 409 one that nobody has taken."""
        state = self._state
        with state.lock:
            escalation, ticket = self._in_queue(conversation, "ASSIGNED")
            operator = state.operators[str(escalation.operator_id)]
            escalation.status, escalation.operator_id = "WAITING", None
            escalation.released_at = conversation.updated_at = ticket.updated_at = state.clock.moment()
            ticket.status, ticket.assignee_user_id = choices.TICKET_AFTER_RELEASE, None
            self._publish_agent("agent_released", conversation, escalation, operator)
            return escalation

    def resolve(self, conversation: Conversation) -> Escalation:
        """Mark a conversation resolved, which closes it. Refuses with 409 one that nobody has taken."""
        state = self._state
        with state.lock:
            escalation, ticket = self._in_queue(conversation, "ASSIGNED")
            operator = state.operators[str(escalation.operator_id)]
            now = state.clock.moment()
            escalation.status, escalation.resolved_at = "RESOLVED", now
            ticket.status, ticket.resolved_at, ticket.updated_at = "resolved", now, now
            conversation.status, conversation.closed_at, conversation.updated_at = "closed", now, now
            self._publish_agent("agent_resolved", conversation, escalation, operator)
            self._publish_ticket("ticket_resolved", conversation, escalation, ticket, operator)
            return escalation

    def answer(self, conversation: Conversation, operator: Operator, content: str) -> Message:
        """Write to the visitor as an operator, who takes the conversation first where it waits.

        Refuses with 409 where another operator has it, or it is closed.
        """
        state = self._state
        with state.lock:
            escalation = state.escalations.get(conversation.id)
            if escalation is None or escalation.status == "WAITING":
                escalation = self.claim(conversation, operator)
            if escalation.status != "ASSIGNED" or escalation.operator_id != operator.operator_id:
                raise Refusal(409, "The conversation is closed, or with another operator")
            message = self._visitors.add_answer(conversation, content, operator_id=operator.operator_id)
            ticket = state.tickets[escalation.ticket_id]
            ticket.status, ticket.updated_at = choices.TICKET_AFTER_ANSWER, message.created_at
            return message

    # ---- parts -------------------------------------------------------------------------------------------------

    def _take_unasked(self, conversation: Conversation) -> None:
        messages = self._state.messages_of(conversation.id)
        text = messages[0].content if messages else "Taken by an operator"
        self._visitors.escalate(conversation, choices.REASON_WHEN_TAKEN, subject=text, description=text)

    def _in_queue(self, conversation: Conversation, status: str) -> tuple[Escalation, Ticket]:
        escalation = self._state.escalations.get(conversation.id)
        if escalation is None or escalation.status != status:
            held = "not with the operators" if escalation is None else escalation.status
            raise Refusal(409, f"The conversation is {held}, not {status}")
        return escalation, self._state.tickets[escalation.ticket_id]

    def _publish_ticket(
        self, event_type: str, conversation: Conversation, escalation: Escalation, ticket: Ticket, operator: Operator
    ) -> None:
        self._state.publish_envelope(
            event_type,
            conversation,
            ticket_id=ticket.id,
            ticket_number=ticket.ticket_number,
            escalation_id=escalation.id,
            escalation_reason=escalation.reason,
            agent_user_id=operator.operator_id,
        )

    def _publish_agent(
        self, event_type: str, conversation: Conversation, escalation: Escalation, operator: Operator
    ) -> None:
        state = self._state
        if state.tenants[conversation.tenant_id].agent_body == "envelope":
            state.publish_envelope(
                event_type,
                conversation,
                escalation_id=escalation.id,
                escalation_reason=escalation.reason,
                agent_user_id=operator.operator_id,
            )
        else:
            body = takeover(conversation, escalation, operator, named=event_type == "agent_assigned")
            state.publish(conversation.tenant_id, event_type, conversation.id, body)


def takeover(conversation: Conversation, escalation: Escalation, operator: Operator, *, named: bool) -> dict[str, Any]:
    """Return the documented body of an ``agent_*`` callback (protocol §4.1); ``named``: with the operator's name."""
    return {
        "conversation_id": conversation.id,
        "tenant_id": conversation.tenant_id,
        "status": escalation.status,
        "operator_id": operator.operator_id,
        **({"operator_display_name": operator.display_name} if named else {}),
        "visitor_session_id": conversation.visitor_session_id,
        "escalation_reason": escalation.reason,
        "claim_count": escalation.claim_count,
        **{
            name: None if moment is None else iso(moment)
            for name, moment in (
                ("claimed_at", escalation.claimed_at),
                ("released_at", escalation.released_at),
                ("resolved_at", escalation.resolved_at),
            )
        },
    }
