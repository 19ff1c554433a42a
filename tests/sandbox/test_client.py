"""All thirteen operations through the SDK's own client: both sides were written from the protocol, apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import (
    ChatRelayAuthenticationError,
    ChatRelayConflictError,
    ChatRelayForbiddenError,
    ChatRelayInputError,
    ChatRelayNotFoundError,
    ChatRelayRateLimitError,
)
from bloonio_chat.sdk.operations import Operation
from bloonio_chat.sdk.settings import ChatRelaySettings


@pytest.fixture
def client(relay: SandboxRelay) -> Iterator[ChatRelayClient]:
    settings = ChatRelaySettings(
        base_url=relay.base_url, tenant_id=relay.tenant_id, tenant_secret=relay.tenant_secret, max_attempts=1
    )
    with ChatRelayClient(settings) as client:
        yield client


def test_conversations_and_messages(client: ChatRelayClient) -> None:
    conversation = client.create_conversation(visitor_user_id="a", locale="en", metadata={"order": 1})
    assert client.fetch_conversation(conversation.id) == conversation
    assert client.list_conversations(visitor_user_id="a") == [conversation]
    attachment = {"type": "file", "mime": "text/plain", "size": 1, "url": "https://cdn.example/a"}
    message = client.send_message(conversation.id, content="Hello", attachments=[attachment])
    first, answer = client.list_messages(conversation.id)
    assert first == message
    assert (answer.role, answer.confidence) == ("bot", 1.0)


def test_knowledge_is_cited(client: ChatRelayClient) -> None:
    document = client.ingest_knowledge(title="Returns", body="Unworn shoes come back.", tags=["shoes"])
    conversation = client.create_conversation(visitor_user_id="a")
    client.send_message(conversation.id, content="unworn shoes?")
    [citation] = client.list_messages(conversation.id)[-1].citations
    assert citation.document_id == document.id


def test_tickets_and_operators(client: ChatRelayClient, relay: SandboxRelay) -> None:
    operator = client.provision_operator(email="ann@shop.example", display_name="Ann", routing_keys=["store-7"])
    again = client.provision_operator(email="ann@shop.example", display_name="Ann", routing_keys=[])
    assert (operator.created, again.created, again.operator_id) == (True, False, operator.operator_id)
    token = client.fetch_operator_token(email="ann@shop.example")
    assert (token.operator_id, token.tenant_id) == (operator.operator_id, relay.tenant_id)
    contact = client.create_contact_ticket(
        customer_email="jo@example.com", customer_name="Jo", subject="Hi", message="Where?", metadata={"a": 1}
    )
    relay.claim(contact.conversation_id, "ann@shop.example")
    [ticket] = client.list_tickets(status="assigned", assignee_user_id=operator.operator_id)
    assert client.fetch_ticket(ticket.id) == ticket
    assert (ticket.priority, ticket.conversation_id) == ("p3", contact.conversation_id)


def test_tenant_and_visitor_token(client: ChatRelayClient, relay: SandboxRelay) -> None:
    assert client.fetch_tenant_info().tenant_id == relay.tenant_id
    token = client.mint_visitor_token(visitor_user_id="a", visitor_email_hash=f"sha256:{'0' * 64}", ttl_seconds=60)
    assert token.token.get_secret_value().startswith("ey")


def test_walking_a_long_list(client: ChatRelayClient, relay: SandboxRelay) -> None:
    for number in range(230):
        relay.open_conversation(f"user-{number}")
    assert len({each.id for each in client.iter_conversations()}) == 230


def test_what_goes_wrong_is_the_error_that_it_should_be(client: ChatRelayClient, relay: SandboxRelay) -> None:
    conversation = client.create_conversation(visitor_user_id="a")
    with pytest.raises(ChatRelayNotFoundError):
        client.fetch_ticket("nothing")
    with pytest.raises(ChatRelayInputError, match="limit"):
        # The client itself would refuse such a limit.
        client.call(Operation("list_tickets", "GET", "/fetch/tickets", list, query="limit=0"))
    relay.claim(conversation.id)
    relay.resolve(conversation.id)
    with pytest.raises(ChatRelayConflictError):
        client.send_message(conversation.id, content="Hello?")
    relay.tenant.suspended = True
    with pytest.raises(ChatRelayForbiddenError):
        client.fetch_tenant_info()
    relay.tenant.suspended = False
    relay.tenant.rate_limit_per_min = 1
    with pytest.raises(ChatRelayRateLimitError) as limited:
        client.fetch_tenant_info()
    assert 1 <= (limited.value.retry_after or 0) <= 60
    relay.rotate_secret()
    with pytest.raises(ChatRelayAuthenticationError) as refused:
        client.fetch_tenant_info()
    assert refused.value.clock_skew_seconds is None


def test_a_client_whose_clock_is_off_is_told_so(client: ChatRelayClient, relay: SandboxRelay) -> None:
    relay.clock.advance(3600)
    with pytest.raises(ChatRelayAuthenticationError) as refused:
        client.fetch_tenant_info()
    assert refused.value.clock_skew_seconds == pytest.approx(-3600, abs=60)


def test_a_relay_without_a_route_reads_as_not_found(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay(missing_operations=["mint_visitor_token"])
    settings = ChatRelaySettings(
        base_url=relay.base_url, tenant_id=relay.tenant_id, tenant_secret=relay.tenant_secret, max_attempts=1
    )
    with ChatRelayClient(settings) as client, pytest.raises(ChatRelayNotFoundError):
        client.mint_visitor_token(visitor_user_id="a")
