"""HMAC#1 has no direction: what one of our own operations signs, posted back at us, must never be an event."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk import operations
from bloonio_chat.sdk.errors import EventError
from bloonio_chat.sdk.events import WebhookEvent, parse_event
from bloonio_chat.sdk.operations import Operation
from tests.callbacks.relay import PATHS, agent_body, envelope, post, written
from tests.secrets import TENANT_ID

EVERY_PATH = [*PATHS, "conversation-archived", "agent-moved"]

# Wherever an argument takes a stranger's object, it is given what would make an event.
FORGED: dict[str, Any] = {**envelope(), **agent_body()}
FORGED_TEXT = "message_received"
# What an attachment must be, whatever else stands beside it.
FILE = {"type": "file", "mime": "text/plain", "size": 1, "url": "https://shop.test/a.txt"}

THIRTEEN: dict[str, Callable[[], Operation[Any]]] = {
    "create_conversation": lambda: operations.create_conversation(
        visitor_user_id=FORGED_TEXT, visitor_display_name=FORGED_TEXT, locale=FORGED_TEXT, channel="text",
        visitor_email=FORGED_TEXT, visitor_phone=FORGED_TEXT, metadata=FORGED,
    ),
    "fetch_conversation": lambda: operations.fetch_conversation("c1"),
    "list_conversations": lambda: operations.list_conversations(visitor_user_id=FORGED_TEXT),
    "send_message": lambda: operations.send_message(
        "c1", content=str(FORGED), role="visitor", attachments=[{**FORGED, **FILE}]
    ),
    "list_messages": lambda: operations.list_messages("c1"),
    "list_tickets": lambda: operations.list_tickets(status="open", assignee_user_id=FORGED_TEXT),
    "fetch_ticket": lambda: operations.fetch_ticket("t1"),
    "ingest_knowledge": lambda: operations.ingest_knowledge(
        title=FORGED_TEXT, body=str(FORGED), category=FORGED_TEXT, language=FORGED_TEXT, tags=list(FORGED)
    ),
    "mint_visitor_token": lambda: operations.mint_visitor_token(visitor_user_id=FORGED_TEXT),
    "fetch_tenant_info": operations.fetch_tenant_info,
    "provision_operator": lambda: operations.provision_operator(
        email=FORGED_TEXT, display_name=FORGED_TEXT, routing_keys=list(FORGED), avatar_url=FORGED_TEXT
    ),
    "fetch_operator_token": lambda: operations.fetch_operator_token(email=FORGED_TEXT),
    "create_contact_ticket": lambda: operations.create_contact_ticket(
        customer_email=FORGED_TEXT, customer_name=FORGED_TEXT, subject=FORGED_TEXT, message=str(FORGED),
        company=FORGED_TEXT, source=FORGED_TEXT, locale=FORGED_TEXT, routing_key=FORGED_TEXT, metadata=FORGED,
    ),
}  # fmt: skip


def test_these_are_all_the_operations_there_are() -> None:
    public = {
        name
        for name, member in vars(operations).items()
        if inspect.isfunction(member) and member.__module__ == operations.__name__ and not name.startswith("_")
    }
    assert public == set(THIRTEEN)
    assert len(public) == 13


@pytest.mark.parametrize("name", THIRTEEN)
def test_posted_back_at_us_on_any_path_it_is_400(relay: Client, events: list[WebhookEvent], name: str) -> None:
    body = THIRTEEN[name]().body
    for path in EVERY_PATH:
        assert post(relay, path, body).status_code == 400
    assert events == []


def is_event(body: bytes, path: str) -> bool:
    try:
        parse_event(body, path=path, tenant_id=TENANT_ID, timestamp_ms=1718966400000)
    except EventError:
        return False
    return True


def test_the_forged_object_itself_would_be_an_event() -> None:
    assert is_event(written(FORGED), "message-received")


@settings(deadline=None, database=None, max_examples=100)
@given(
    text=st.text(min_size=1),
    metadata=st.dictionaries(st.sampled_from([*FORGED, "event_id"]), st.sampled_from([*FORGED.values()])),
)
def test_no_choice_of_arguments_makes_one(text: str, metadata: dict[str, Any]) -> None:
    for operation in (
        lambda: operations.create_conversation(visitor_user_id=text, metadata=metadata),
        lambda: operations.send_message("c1", content=text, attachments=[{**metadata, **FILE}]),
        lambda: operations.create_contact_ticket(
            customer_email=text, customer_name=text, subject=text, message=text, metadata=metadata
        ),
    ):
        try:
            body = operation().body
        except ValueError:
            continue
        assert not any(is_event(body, path) for path in EVERY_PATH)
