"""Callbacks are summaries: an event asks the relay for the rest through its tenant's client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client

from bloonio_chat import get_chat_client, signals
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import ChatRelayArgumentError, ChatRelayInputError, ChatRelayNotFoundError
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.sdk.types import Conversation, Message, Ticket
from tests.callbacks.relay import agent_body, envelope, post, signed, written
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID, TENANT_ID

AT = "2026-01-02T03:04:05Z"
CONVERSATION = Conversation.model_validate(
    {"id": "c1", "tenant_id": TENANT_ID, "visitor_user_id": "v1", "locale": "fr", "channel": "text", "status": "active",
     "created_at": AT, "updated_at": AT}
)  # fmt: skip
TICKET = Ticket.model_validate(
    {"id": "t1", "tenant_id": TENANT_ID, "ticket_number": "LOK-1", "user_id": "v1", "subject": "s", "description": "d",
     "priority": "p1", "status": "open", "created_at": AT, "updated_at": AT}
)  # fmt: skip


def message(name: str) -> Message:
    return Message.model_validate(
        {
            "id": name,
            "conversation_id": "c1",
            "tenant_id": TENANT_ID,
            "role": "visitor",
            "content": "?",
            "created_at": AT,
        }
    )


@dataclass
class FakeClient:
    messages: list[Message] = field(default_factory=lambda: [message("m0"), message("m1"), message("m2")])
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    largest_limit: int = 10_000

    def fetch_conversation(self, conversation_id: str, /) -> Conversation:
        self.asked.append(("conversation", conversation_id))
        return CONVERSATION

    def fetch_ticket(self, ticket_id: str, /) -> Ticket:
        self.asked.append(("ticket", ticket_id))
        return TICKET

    def list_messages(self, conversation_id: str, /, *, limit: int = 0) -> list[Message]:
        self.asked.append(("messages", conversation_id, limit))
        if limit > self.largest_limit:
            raise ChatRelayInputError("limit is too large", status_code=422)
        return self.messages[:limit]


def bound(client: FakeClient, **fields: Any) -> WebhookEvent:
    event = WebhookEvent.model_validate(envelope(**fields))
    event.bind(lambda: client)
    return event


def test_each_object_is_asked_for_by_the_events_id() -> None:
    client = FakeClient()
    event = bound(client, message_id="m1", ticket_id="t1")
    assert event.fetch_conversation() is CONVERSATION
    assert event.fetch_ticket() is TICKET
    assert event.fetch_message().id == "m1"
    assert client.asked == [("conversation", "c1"), ("ticket", "t1"), ("messages", "c1", 100)]


def test_a_message_that_the_relay_does_not_list_is_not_found() -> None:
    client = FakeClient()
    with pytest.raises(ChatRelayNotFoundError, match="not among the 3 that the relay lists"):
        bound(client, message_id="m9").fetch_message()
    assert len(client.asked) == 1


def test_a_message_past_the_usual_limit_is_asked_for_with_a_larger_one() -> None:
    client = FakeClient([message(f"x{number}") for number in range(150)])
    assert bound(client, message_id="x149").fetch_message().id == "x149"
    assert client.asked == [("messages", "c1", 100), ("messages", "c1", 10_000)]


def test_a_message_past_all_that_the_relay_lists_is_not_found() -> None:
    client = FakeClient([message(f"x{number}") for number in range(150)], largest_limit=100)
    with pytest.raises(ChatRelayNotFoundError, match="not among the 100 that the relay lists") as refused:
        bound(client, message_id="x149").fetch_message()
    assert refused.value.operation == "list_messages"


@pytest.mark.parametrize(
    ("method", "fields", "missing"),
    [
        ("fetch_conversation", {"conversation_id": None}, "conversation_id"),
        ("fetch_conversation", {"conversation_id": ""}, "conversation_id"),
        ("fetch_ticket", {}, "ticket_id"),
        ("fetch_message", {}, "message_id"),
        ("fetch_message", {"message_id": "m1", "conversation_id": None}, "conversation_id"),
    ],
)
def test_an_event_that_names_none_asks_for_nothing(method: str, fields: dict[str, Any], missing: str) -> None:
    client = FakeClient()
    with pytest.raises(ChatRelayArgumentError, match=f"message_received event has no {missing}"):
        getattr(bound(client, **fields), method)()
    assert client.asked == []


def test_an_event_that_no_app_delivered_has_to_be_bound_first() -> None:
    event = WebhookEvent.model_validate(envelope(ticket_id="t1", message_id="m1"))
    for method in (event.fetch_conversation, event.fetch_ticket, event.fetch_message):
        with pytest.raises(ChatRelayArgumentError, match=r"event\.bind"):
            method()


def test_no_client_is_made_for_receivers_that_fetch_nothing(
    relay: Client, events: list[WebhookEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("bloonio_chat.callbacks.delivery.get_chat_client", made.append)
    assert post(relay, "message-received", envelope()).status_code == 200
    assert len(events) == 1
    assert made == []


@pytest.mark.parametrize("body", [envelope("agent-assigned"), agent_body()])
def test_an_event_that_the_view_delivers_is_bound_to_its_tenants_client(
    relay: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    asked: list[ChatRelayClient] = []
    got: list[Conversation] = []

    def fetch(self: ChatRelayClient, conversation_id: str) -> Conversation:
        asked.append(self)
        return CONVERSATION

    def receive(event: WebhookEvent, **_: Any) -> None:
        got.append(event.fetch_conversation())

    monkeypatch.setattr(ChatRelayClient, "fetch_conversation", fetch)
    signals.agent_assigned.connect(receive)
    raw = written({**body, "tenant_id": OTHER_TENANT_ID})
    headers = signed(raw, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET)
    assert post(relay, "agent-assigned", raw, headers).status_code == 200
    assert got == [CONVERSATION]
    assert asked == [get_chat_client("shop-b")]
