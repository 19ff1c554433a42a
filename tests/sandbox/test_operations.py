"""The thirteen operations (protocol §3): what they do and answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime
from typing import Any

from tests.sandbox.wire import Wire

NEW = "/create/conversation"
MESSAGE = {"content": "Hello"}
DOCUMENT = {"title": "Returns", "body": "Within 30 days."}
OPERATOR = {"email": "ann@shop.example", "display_name": "Ann"}
CONTACT = {"customer_email": "jo@example.com", "customer_name": "Jo", "subject": "Hi", "message": "Where is it?"}


def test_a_new_conversation_has_the_defaults(wire: Wire) -> None:
    answer = wire.call("POST", NEW, {"visitor_user_id": "a", "unknown": 1})
    conversation = answer.data
    assert (answer.status, answer.json["status_code"], answer.json["success"]) == (201, 201, True)
    assert re.fullmatch(r"[0-9a-f]{24}", conversation["id"])
    assert datetime.fromisoformat(conversation["created_at"].replace("Z", "+00:00")).tzinfo is not None
    created = conversation.pop("created_at")
    assert conversation == {
        "id": conversation["id"],
        "tenant_id": wire.relay.tenant_id,
        "visitor_user_id": "a",
        "visitor_display_name": None,
        "locale": "fr",
        "channel": "text",
        "status": "active",
        "metadata": {},
        "updated_at": created,
        "last_message_at": None,
        "closed_at": None,
    }


def test_what_was_sent_comes_back(wire: Wire) -> None:
    fields: dict[str, Any] = {
        "visitor_display_name": "Jo",
        "locale": "en",
        "channel": "video",
        "metadata": {"order": [1, None]},
    }
    conversation = wire.open(**fields, visitor_email="jo@example.com", visitor_phone="1")
    assert {name: conversation[name] for name in fields} == fields
    assert not {"visitor_email", "visitor_phone"} & set(conversation)


def test_conversations_are_listed_newest_first_in_pages(wire: Wire) -> None:
    ids = [wire.open(f"user-{number % 2}")["id"] for number in range(5)]
    ids.reverse()
    page = wire.call("GET", "/fetch/conversations", query={"limit": 2, "offset": 1}).data
    assert [each["id"] for each in page["items"]] == ids[1:3]
    assert page["total"] == 5
    mine = wire.call("GET", "/fetch/conversations", query={"visitor_user_id": "user-1"}).data
    assert [each["id"] for each in mine["items"]] == [ids[1], ids[3]]
    assert wire.call("GET", "/fetch/conversations", query={"offset": 5}).data["items"] == []


def test_messages_are_listed_oldest_first_up_to_the_limit(wire: Wire) -> None:
    conversation_id = wire.open()["id"]
    for number in range(4):
        wire.say(conversation_id, f"{number}", role="system")
    query = {"conversation_id": conversation_id, "limit": 3, "offset": 2}
    assert [each["content"] for each in wire.call("GET", "/fetch/messages", query=query).data] == ["0", "1", "2"]


def test_a_message_keeps_its_attachments(wire: Wire) -> None:
    attachment = {"type": "image", "mime": "image/png", "size": 3, "url": "https://cdn.example/a.png"}
    message = wire.say(wire.open()["id"], "See", role="agent", attachments=[attachment]).data
    assert (message["role"], message["attachments"], message["citations"]) == ("agent", [attachment], [])
    assert message["confidence"] is None


def test_an_id_that_is_percent_encoded_names_one_object(wire: Wire) -> None:
    answer = wire.call("GET", "/fetch/conversation", query={"conversation_id": "a&limit=0#b"})
    assert answer.status == 404


def test_knowledge_comes_back_published(wire: Wire) -> None:
    document = wire.call("POST", "/ingest/knowledge", {**DOCUMENT, "tags": ["shoes"]}).data
    expected = {**DOCUMENT, "category": "general", "language": "fr", "tags": ["shoes"], "status": "published"}
    assert {name: document[name] for name in expected} == expected
    assert document["published_at"] == document["created_at"]


def test_a_visitor_token_is_a_jwt_that_expires_when_it_says(wire: Wire) -> None:
    order = {"visitor_user_id": "a", "visitor_email_hash": "sha256:00ff", "ttl_seconds": 60}
    data = wire.call("POST", "/mint/visitor-token", order).data
    claims = _claims(data["token"])
    assert (claims["sub"], claims["tenant_id"]) == ("a", wire.relay.tenant_id)
    assert claims["exp"] - claims["iat"] == 60
    assert datetime.fromisoformat(data["expires_at"].replace("Z", "+00:00")).timestamp() == claims["exp"]


def test_the_tenant_s_secret_does_not_sign_tokens(wire: Wire) -> None:
    token = wire.call("POST", "/mint/visitor-token", {"visitor_user_id": "a"}).data["token"]
    signed, _, signature = token.rpartition(".")
    forged = hmac.new(wire.relay.tenant_secret.encode(), signed.encode(), hashlib.sha256).digest()
    assert _decoded(signature) != forged


def test_tenant_info_has_all_its_fields(wire: Wire) -> None:
    assert set(wire.call("GET", "/fetch/tenant-info").data) == {
        *("tenant_id", "tenant_name", "status", "plan_tier", "allowed_origins", "voice_enabled", "video_enabled"),
        *("file_upload_enabled", "multi_channel_enabled", "monthly_msg_quota", "storage_gb_quota", "agent_seats"),
    }


def test_an_operator_is_provisioned_once_and_its_keys_refreshed(wire: Wire) -> None:
    first = wire.call("POST", "/provision/operator", {**OPERATOR, "routing_keys": ["store-7"]})
    again = wire.call("POST", "/provision/operator", {**OPERATOR, "email": "ANN@shop.example", "routing_keys": ["s-8"]})
    assert (first.status, first.data["created"]) == (201, True)
    assert (again.status, again.data["created"]) == (200, False)
    assert again.data["operator_id"] == first.data["operator_id"]
    assert again.data["routing_keys"] == ["s-8"]
    assert wire.call("POST", "/provision/operator", OPERATOR).data["routing_keys"] == ["s-8"]
    assert wire.call("POST", "/provision/operator", {**OPERATOR, "routing_keys": None}).data["routing_keys"] is None
    assert len(wire.relay.operators) == 1


def test_an_operator_s_token_is_for_this_tenant(wire: Wire) -> None:
    wire.call("POST", "/provision/operator", {**OPERATOR, "routing_keys": ["store-7"]})
    answer = wire.call("POST", "/fetch/operator-token", {"email": OPERATOR["email"]})
    assert (answer.status, answer.data["display_name"], answer.data["routing_keys"]) == (200, "Ann", ["store-7"])
    claims = _claims(answer.data["operator_token"])
    assert (claims["sub"], claims["tenant_id"]) == (answer.data["operator_id"], wire.relay.tenant_id)


def test_a_contact_ticket_is_a_conversation_in_the_queue(wire: Wire) -> None:
    answer = wire.call("POST", "/create/contact-ticket", {**CONTACT, "routing_key": "store-7", "company": "Acme"})
    conversation_id = answer.data["conversation_id"]
    assert (answer.status, answer.data) == (
        201,
        {"conversation_id": conversation_id, "status": "WAITING", "tenant_id": wire.relay.tenant_id},
    )
    [ticket] = wire.call("GET", "/fetch/tickets").data["items"]
    assert (ticket["conversation_id"], ticket["subject"], ticket["description"]) == (
        conversation_id,
        CONTACT["subject"],
        CONTACT["message"],
    )
    assert wire.relay.escalations[conversation_id].reason == "contact_form"
    assert wire.relay.conversations[conversation_id].routing_key == "store-7"
    assert wire.relay.conversations[conversation_id].metadata == {"company": "Acme"}


def test_tickets_are_filtered_by_status_and_assignee(wire: Wire) -> None:
    ann = wire.relay.provision_operator("ann@shop.example", "Ann")
    taken, waiting = wire.open()["id"], wire.open()["id"]
    wire.relay.escalate(waiting)
    wire.relay.claim(taken, ann.email)

    def found(**query: str) -> list[str]:
        return [each["conversation_id"] for each in wire.call("GET", "/fetch/tickets", query=query).data["items"]]

    assert found() == [taken, waiting]
    assert found(status="open") == [waiting]
    assert found(status="assigned", assignee_user_id=ann.operator_id) == [taken]
    assert found(assignee_user_id="nobody") == []


def _claims(token: str) -> Any:
    head, payload, signature = token.split(".")
    assert json.loads(_decoded(head)) == {"alg": "HS256", "typ": "JWT"}
    assert len(_decoded(signature)) == 32
    return json.loads(_decoded(payload))


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
