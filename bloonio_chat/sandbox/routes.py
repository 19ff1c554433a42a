"""The thirteen operations (protocol §3): a checked query and body in, what the envelope holds out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from bloonio_chat.sandbox import choices, inputs
from bloonio_chat.sandbox.desk import Desk
from bloonio_chat.sandbox.objects import Tenant, iso, wire
from bloonio_chat.sandbox.state import State
from bloonio_chat.sandbox.tokens import make_token
from bloonio_chat.sandbox.visitors import Visitors


@dataclass(frozen=True)
class Relay:
    """What the operations work on. ``token_key`` signs the tokens."""

    state: State
    visitors: Visitors
    desk: Desk
    token_key: bytes


@dataclass(frozen=True)
class Result:
    """What an operation answers, for the envelope."""

    data: Any
    status: int = 200
    message: str = "OK"


Work = Callable[[Relay, Tenant, Any, Any], Result]


@dataclass(frozen=True)
class Route:
    """One operation: its name is the client's method."""

    name: str
    method: str
    query: type[inputs.Input]
    body: type[inputs.Input] | None
    work: Work


# ---- conversations and messages --------------------------------------------------------------------------------


def _create_conversation(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.NewConversation) -> Result:
    conversation = relay.visitors.open(
        tenant.tenant_id, **body.model_dump(include=set(inputs.NewConversation.model_fields))
    )
    return Result(wire(conversation), 201, "Conversation created")


def _fetch_conversation(relay: Relay, tenant: Tenant, query: inputs.ConversationQuery, _: None) -> Result:
    return Result(wire(relay.state.conversation(query.conversation_id, tenant.tenant_id)))


def _list_conversations(relay: Relay, tenant: Tenant, query: inputs.ConversationsQuery, _: None) -> Result:
    return _page(
        [
            conversation
            for conversation in relay.state.conversations.values()
            if conversation.tenant_id == tenant.tenant_id
            and query.visitor_user_id in (None, conversation.visitor_user_id)
        ],
        query,
    )


def _send_message(relay: Relay, tenant: Tenant, query: inputs.ConversationQuery, body: inputs.NewMessage) -> Result:
    message = relay.visitors.write(
        relay.state.conversation(query.conversation_id, tenant.tenant_id),
        body.content,
        role=body.role,
        attachments=[each.model_dump() for each in body.attachments or ()],
    )
    return Result(wire(message), 201, "Message added")


def _list_messages(relay: Relay, tenant: Tenant, query: inputs.MessagesQuery, _: None) -> Result:
    conversation = relay.state.conversation(query.conversation_id, tenant.tenant_id)
    return Result([wire(message) for message in relay.state.messages_of(conversation.id)[: query.limit]])


# ---- tickets ---------------------------------------------------------------------------------------------------


def _list_tickets(relay: Relay, tenant: Tenant, query: inputs.TicketsQuery, _: None) -> Result:
    return _page(
        [
            ticket
            for ticket in relay.state.tickets.values()
            if ticket.tenant_id == tenant.tenant_id
            and query.status in (None, ticket.status)
            and query.assignee_user_id in (None, ticket.assignee_user_id)
        ],
        query,
    )


def _fetch_ticket(relay: Relay, tenant: Tenant, query: inputs.TicketQuery, _: None) -> Result:
    return Result(wire(relay.state.ticket(query.ticket_id, tenant.tenant_id)))


def _create_contact_ticket(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.ContactForm) -> Result:
    conversation = relay.visitors.contact(tenant.tenant_id, **body.model_dump())
    answer = {"conversation_id": conversation.id, "status": choices.CONTACT_TICKET_STATUS}
    return Result({**answer, "tenant_id": tenant.tenant_id}, 201, "Contact ticket created")


# ---- knowledge, tokens, tenant ---------------------------------------------------------------------------------


def _ingest_knowledge(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.NewDocument) -> Result:
    document = relay.visitors.ingest(tenant.tenant_id, **{**body.model_dump(), "tags": body.tags or []})
    return Result(wire(document), 201, "Knowledge ingested")


def _mint_visitor_token(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.VisitorTokenOrder) -> Result:
    order = {"sub": body.visitor_user_id, "email_hash": body.visitor_email_hash, "scope": "visitor"}
    return Result(_token(relay, tenant, "token", body.ttl_seconds, **order), 201, "Visitor token minted")


def _fetch_tenant_info(relay: Relay, tenant: Tenant, _: inputs.Nothing, __: None) -> Result:
    known = {"tenant_id": tenant.tenant_id, "tenant_name": tenant.name, "status": "active"}
    return Result({**known, **choices.TENANT_INFO})


# ---- operators -------------------------------------------------------------------------------------------------


def _provision_operator(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.NewOperator) -> Result:
    refresh = "routing_keys" in body.model_fields_set
    operator, created = relay.desk.provision(tenant.tenant_id, **body.model_dump(), refresh_keys=refresh)
    data = {**wire(operator), "created": created}
    return Result(data, 201, "Operator created") if created else Result(data, message="Operator existed")


def _fetch_operator_token(relay: Relay, tenant: Tenant, _: inputs.Nothing, body: inputs.OperatorTokenOrder) -> Result:
    operator = relay.state.operator(tenant.tenant_id, body.email)
    keys = operator.routing_keys
    token = _token(
        relay,
        tenant,
        "operator_token",
        choices.OPERATOR_TOKEN_SECONDS,
        sub=operator.operator_id,
        routing_keys=keys,
        scope="operator",
    )
    about = {"operator_id": operator.operator_id, "display_name": operator.display_name, "routing_keys": keys}
    return Result({**about, "tenant_id": tenant.tenant_id, **token})


# ---- parts -----------------------------------------------------------------------------------------------------


def _page(found: list[Any], query: inputs.ConversationsQuery | inputs.TicketsQuery) -> Result:
    found.reverse()
    items = [wire(each) for each in found[query.offset : query.offset + query.limit]]
    return Result({"items": items, "total": len(found), "limit": query.limit, "offset": query.offset})


def _token(relay: Relay, tenant: Tenant, name: str, seconds: int, **claims: Any) -> dict[str, Any]:
    issued = int(relay.state.clock.now())
    key = hashlib.sha256(relay.token_key + tenant.tenant_id.encode()).digest()
    token = make_token(key, **claims, tenant_id=tenant.tenant_id, iat=issued, exp=issued + seconds)
    return {name: token, "expires_at": iso(datetime.fromtimestamp(issued + seconds, timezone.utc))}


ROUTES: Final[dict[str, Route]] = {
    path: Route(work.__name__[1:], method, query, body, work)
    for path, method, query, body, work in (
        ("/create/conversation", "POST", inputs.Nothing, inputs.NewConversation, _create_conversation),
        ("/fetch/conversation", "GET", inputs.ConversationQuery, None, _fetch_conversation),
        ("/fetch/conversations", "GET", inputs.ConversationsQuery, None, _list_conversations),
        ("/add/message", "POST", inputs.ConversationQuery, inputs.NewMessage, _send_message),
        ("/fetch/messages", "GET", inputs.MessagesQuery, None, _list_messages),
        ("/fetch/tickets", "GET", inputs.TicketsQuery, None, _list_tickets),
        ("/fetch/ticket", "GET", inputs.TicketQuery, None, _fetch_ticket),
        ("/ingest/knowledge", "POST", inputs.Nothing, inputs.NewDocument, _ingest_knowledge),
        ("/mint/visitor-token", "POST", inputs.Nothing, inputs.VisitorTokenOrder, _mint_visitor_token),
        ("/fetch/tenant-info", "GET", inputs.Nothing, None, _fetch_tenant_info),
        ("/provision/operator", "POST", inputs.Nothing, inputs.NewOperator, _provision_operator),
        ("/fetch/operator-token", "POST", inputs.Nothing, inputs.OperatorTokenOrder, _fetch_operator_token),
        ("/create/contact-ticket", "POST", inputs.Nothing, inputs.ContactForm, _create_contact_ticket),
    )
}


def run(relay: Relay, route: Route, tenant: Tenant, query: inputs.Input, body: inputs.Input | None) -> Result:
    """Carry out an operation while nothing else changes the state. Raises ``Refusal`` with 404 or 409."""
    with relay.state.lock:
        return route.work(relay, tenant, query, body)
