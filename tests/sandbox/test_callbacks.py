"""The nine callbacks (protocol §4): what they say, how they are signed, and that they come until a 2xx."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk.events import parse_event
from tests.sandbox.wire import Receiver, Wire, sign
from tests.secrets import MARK

CASE = [
    *("conversation-started", "message-received", "escalation-triggered", "ticket-created", "agent-assigned"),
    *("ticket-assigned", "agent-released", "agent-assigned", "ticket-assigned", "agent-resolved", "ticket-resolved"),
]


def _play_a_case(relay: SandboxRelay) -> str:
    conversation = relay.open_conversation("a", locale="en")
    relay.say(conversation.id, "human please")
    relay.claim(conversation.id)
    relay.release(conversation.id)
    relay.claim(conversation.id)
    relay.resolve(conversation.id)
    relay.wait()
    return conversation.id


@pytest.mark.parametrize("agent_body", ["takeover", "envelope"])
def test_a_case_calls_back_with_all_nine_in_order(
    make_relay: Callable[..., SandboxRelay], receiver: Receiver, agent_body: str
) -> None:
    relay = make_relay(callback_base_url=receiver.url, agent_body=agent_body)
    _play_a_case(relay)
    assert receiver.events() == CASE
    assert len(set(CASE)) == 9
    assert {posted.path.removesuffix(posted.event) for posted in receiver.posted} == {"/api/v1/chat-callbacks/"}
    for posted in receiver.posted:
        timestamp_ms = int(posted.headers["X-Bloonio-Timestamp"])
        event = parse_event(posted.body, path=posted.event, tenant_id=relay.tenant_id, timestamp_ms=timestamp_ms)
        assert event.event_type == posted.event.replace("-", "_")
        assert event.model_extra == {}


def test_callbacks_are_signed_with_hmac_1(relay: SandboxRelay, receiver: Receiver) -> None:
    before = relay.clock.now_ms()
    relay.open_conversation("Zoë ☃")
    relay.wait()
    [posted] = receiver.posted
    timestamp = posted.headers["X-Bloonio-Timestamp"]
    assert posted.headers["X-Bloonio-Signature"] == sign(relay.tenant_secret, timestamp, posted.body)
    assert posted.headers["X-Bloonio-Tenant-Id"] == relay.tenant_id
    assert posted.headers["Content-Type"] == "application/json"
    assert before <= int(timestamp) <= relay.clock.now_ms()


def test_the_envelope_has_what_applies(relay: SandboxRelay, receiver: Receiver) -> None:
    conversation_id = _play_a_case(relay)
    bodies = {posted.event: posted.json for posted in receiver.posted}
    escalation, [ticket] = relay.escalations[conversation_id], relay.tickets.values()
    common = {"event_type", "tenant_id", "occurred_at", "conversation_id", "visitor_user_id", "extra"}
    known = {"escalation_id": escalation.id, "escalation_reason": "user_request"}
    numbered = {**known, "ticket_id": ticket.id, "ticket_number": ticket.ticket_number}
    expected: dict[str, dict[str, Any]] = {
        "conversation-started": {},
        "message-received": {"message_id": relay.messages[0].id},
        "escalation-triggered": known,
        "ticket-created": numbered,
        "ticket-assigned": {**numbered, "agent_user_id": ticket.assignee_user_id},
        "ticket-resolved": {**numbered, "agent_user_id": ticket.assignee_user_id},
    }
    for event, fields in expected.items():
        body = bodies[event]
        assert {name: body[name] for name in body if name not in common} == fields
        assert datetime.fromisoformat(body["occurred_at"].replace("Z", "+00:00")).tzinfo is not None
        assert (body["conversation_id"], body["visitor_user_id"]) == (conversation_id, "a")


def test_the_takeover_body_is_the_documented_one(relay: SandboxRelay, receiver: Receiver) -> None:
    conversation_id = _play_a_case(relay)
    bodies = [posted.json for posted in receiver.posted if posted.event.startswith("agent-")]
    assert [body["status"] for body in bodies] == ["ASSIGNED", "WAITING", "ASSIGNED", "RESOLVED"]
    assert [body["claim_count"] for body in bodies] == [1, 1, 2, 2]
    fields = {
        *("conversation_id", "tenant_id", "status", "operator_id", "visitor_session_id", "escalation_reason"),
        *("claim_count", "claimed_at", "released_at", "resolved_at"),
    }
    assert set(bodies[0]) == fields | {"operator_display_name"}
    assert all(set(body) == fields for body in (bodies[1], bodies[3]))
    assert all(body["visitor_session_id"].startswith("vs_") for body in bodies)
    released = [bool(body["released_at"]) for body in bodies]
    resolved = [bool(body["resolved_at"]) for body in bodies]
    assert (released, resolved) == ([False, True, False, False], [False, False, False, True])
    assert {body["conversation_id"] for body in bodies} == {conversation_id}


def test_only_visitors_messages_call_back(wire: Wire, receiver: Receiver) -> None:
    conversation_id = wire.open()["id"]
    for role in ("agent", "bot", "system"):
        assert wire.say(conversation_id, "Hello", role=role).status == 201
    wire.relay.wait()
    assert receiver.events() == ["conversation-started"]


def test_a_contact_form_calls_back(wire: Wire, receiver: Receiver) -> None:
    fields = {"customer_email": "jo@example.com", "customer_name": "Jo", "subject": "Hi", "message": "Where?"}
    wire.call("POST", "/create/contact-ticket", fields)
    wire.relay.wait()
    assert receiver.events() == CASE[:4]
    assert receiver.posted[2].json["escalation_reason"] == "contact_form"


def test_no_url_no_callbacks(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay()
    relay.open_conversation("a")
    relay.wait()
    assert relay.callbacks == []


def test_each_tenant_gets_its_own(relay: SandboxRelay, receiver: Receiver) -> None:
    other = relay.add_tenant(tenant_secret=f"sk_sandbox_other_{MARK}", callback_base_url=f"{receiver.url}/")
    relay.open_conversation("a", tenant=other)
    relay.wait()
    [posted] = receiver.posted
    assert posted.json["tenant_id"] == posted.headers["X-Bloonio-Tenant-Id"] == other.tenant_id
    assert posted.headers["X-Bloonio-Signature"] == sign(
        other.secret, posted.headers["X-Bloonio-Timestamp"], posted.body
    )


# ---- emitted ---------------------------------------------------------------------------------------------------


def test_any_event_can_be_emitted(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.emit("visitor_typing", conversation_id="c", extra={"for": "3 s"}, occurred_at="2026-01-01T00:00:00+01:00")
    relay.wait()
    [posted] = receiver.posted
    assert posted.event == "visitor-typing"
    assert posted.json == {
        "event_type": "visitor_typing",
        "tenant_id": relay.tenant_id,
        "conversation_id": "c",
        "extra": {"for": "3 s"},
        "occurred_at": "2026-01-01T00:00:00+01:00",
    }


def test_what_is_emitted_keeps_its_place_in_the_conversation(relay: SandboxRelay, receiver: Receiver) -> None:
    receiver.held["slow-one"] = threading.Event()
    conversation = relay.open_conversation("slow-one")
    receiver.wait_for(1)
    relay.emit("message_received", conversation_id=conversation.id)
    relay.emit("message_received", conversation_id="another")
    receiver.wait_for(2)
    assert receiver.posted[1].json["conversation_id"] == "another"
    receiver.held["slow-one"].set()
    relay.wait()
    assert receiver.posted[2].json["conversation_id"] == conversation.id


@pytest.mark.parametrize(("shape", "has_type"), [(None, False), ("takeover", False), ("envelope", True)])
def test_an_agent_event_is_emitted_in_either_shape(
    relay: SandboxRelay, receiver: Receiver, shape: Any, has_type: bool
) -> None:
    conversation = relay.open_conversation("a")
    relay.claim(conversation.id)
    relay.wait()
    relay.emit("agent_assigned", conversation_id=conversation.id, shape=shape, escalation_reason="user_requested")
    relay.wait()
    body = receiver.posted[-1].json
    assert ("event_type" in body) is has_type
    assert body["escalation_reason"] == "user_requested"


def test_any_bytes_can_be_emitted(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.emit_bytes("message_received", b"\xff not JSON")
    relay.wait()
    [posted] = receiver.posted
    assert (posted.event, posted.body) == ("message-received", b"\xff not JSON")


@pytest.mark.parametrize("event_type", ["", "Agent", "message-received", "../x", "a_"])
def test_what_can_be_no_event_is_not_emitted(relay: SandboxRelay, event_type: str) -> None:
    with pytest.raises(ValueError, match="no event's type"):
        relay.emit(event_type)
