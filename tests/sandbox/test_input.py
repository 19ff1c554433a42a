"""What the thirteen operations refuse (protocol §3): 422 with FastAPI's list, 404, 409."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.wire import Wire

NEW = "/create/conversation"
MESSAGE = {"content": "Hello"}
DOCUMENT = {"title": "Returns", "body": "Within 30 days."}
OPERATOR = {"email": "ann@shop.example", "display_name": "Ann"}
CONTACT = {"customer_email": "jo@example.com", "customer_name": "Jo", "subject": "Hi", "message": "Where is it?"}


@pytest.mark.parametrize(
    ("path", "good", "field", "value"),
    [
        (NEW, {"visitor_user_id": "a"}, "visitor_user_id", None),
        (NEW, {"visitor_user_id": "a"}, "visitor_user_id", ""),
        (NEW, {"visitor_user_id": "a"}, "visitor_user_id", 7),
        (NEW, {"visitor_user_id": "a"}, "visitor_user_id", "a" * 256),
        (NEW, {"visitor_user_id": "a"}, "channel", "fax"),
        (NEW, {"visitor_user_id": "a"}, "channel", "TEXT"),
        (NEW, {"visitor_user_id": "a"}, "metadata", ["a"]),
        (NEW, {"visitor_user_id": "a"}, "locale", ""),
        ("/ingest/knowledge", DOCUMENT, "title", ""),
        ("/ingest/knowledge", DOCUMENT, "title", "t" * 501),
        ("/ingest/knowledge", DOCUMENT, "body", ""),
        ("/ingest/knowledge", DOCUMENT, "tags", "shoes"),
        ("/mint/visitor-token", {"visitor_user_id": "a"}, "ttl_seconds", 59),
        ("/mint/visitor-token", {"visitor_user_id": "a"}, "ttl_seconds", 86_401),
        ("/mint/visitor-token", {"visitor_user_id": "a"}, "ttl_seconds", "3600"),
        ("/mint/visitor-token", {"visitor_user_id": "a"}, "visitor_email_hash", "jo@example.com"),
        ("/mint/visitor-token", {"visitor_user_id": "a"}, "visitor_user_id", None),
        ("/provision/operator", OPERATOR, "email", "ann"),
        ("/provision/operator", OPERATOR, "display_name", None),
        ("/provision/operator", OPERATOR, "routing_keys", "store-7"),
        ("/fetch/operator-token", {"email": "ann@shop.example"}, "email", None),
        *(("/create/contact-ticket", CONTACT, name, None) for name in CONTACT),
    ],
)
def test_a_field_that_is_wrong_is_422_and_named(wire: Wire, path: str, good: Any, field: str, value: Any) -> None:
    if path == "/fetch/operator-token":
        wire.call("POST", "/provision/operator", OPERATOR)
    assert wire.call("POST", path, good).status in (200, 201)
    fields = {name: each for name, each in {**good, field: value}.items() if each is not None}
    answer = wire.call("POST", path, fields)
    assert (answer.status, answer.wrong) == (422, [["body", field]])
    assert set(answer.json["detail"][0]) == {"type", "loc", "msg"}


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({}, ["body", "content"]),
        ({"content": ""}, ["body", "content"]),
        ({"content": "x" * 8001}, ["body", "content"]),
        ({**MESSAGE, "role": "operator"}, ["body", "role"]),
        ({**MESSAGE, "role": "VISITOR"}, ["body", "role"]),
        ({**MESSAGE, "attachments": {}}, ["body", "attachments"]),
        (
            {**MESSAGE, "attachments": [{"mime": "image/png", "size": 1, "url": "u"}]},
            ["body", "attachments", 0, "type"],
        ),
        (
            {**MESSAGE, "attachments": [{"type": "image", "mime": "image/png", "size": -1, "url": "u"}]},
            ["body", "attachments", 0, "size"],
        ),
    ],
)
def test_a_message_that_is_wrong_is_422(wire: Wire, fields: Any, where: list[Any]) -> None:
    query = {"conversation_id": wire.open()["id"]}
    answer = wire.call("POST", "/add/message", fields, query=query)
    assert (answer.status, answer.wrong) == (422, [where])
    assert wire.relay.messages == []


def test_a_message_has_up_to_8000_characters(wire: Wire) -> None:
    assert wire.say(wire.open()["id"], "é" * 8000).status == 201


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/fetch/conversation", {}, "conversation_id"),
        ("/fetch/messages", {}, "conversation_id"),
        ("/fetch/ticket", {}, "ticket_id"),
        ("/fetch/ticket", {"ticket_id": ""}, "ticket_id"),
        *(
            (path, {"conversation_id": "c", name: value}, name)
            for path in ("/fetch/conversations", "/fetch/tickets")
            for name, value in (("limit", 0), ("limit", 101), ("limit", "many"), ("offset", -1))
        ),
        ("/fetch/messages", {"conversation_id": "c", "limit": 0}, "limit"),
        ("/fetch/messages", {"conversation_id": "c", "limit": 101}, "limit"),
        ("/fetch/tickets", {"status": "OPEN"}, "status"),
        ("/fetch/tickets", {"status": "lost"}, "status"),
    ],
)
def test_a_query_that_is_wrong_is_422(wire: Wire, path: str, query: dict[str, Any], name: str) -> None:
    answer = wire.call("GET", path, query=query)
    assert (answer.status, answer.wrong) == (422, [["query", name]])


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1", b'{"a": NaN}', b"\xff{}", b"[" * 5000, b'"\\ud800"', b'{"visitor_user_id": "\\ud800"}']
)
def test_a_body_that_is_not_json_is_422(wire: Wire, body: bytes) -> None:
    answer = wire.call("POST", NEW, body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.wrong) == (422, [["body"]])


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"'])
def test_a_body_that_is_no_object_is_422(wire: Wire, body: bytes) -> None:
    assert wire.call("POST", NEW, body=body).status == 422


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_must_be_declared_as_json(wire: Wire, content_type: str | None) -> None:
    answer = wire.call("POST", NEW, {"visitor_user_id": "a"}, headers={"Content-Type": content_type})
    assert (answer.status, answer.wrong) == (422, [["header", "content-type"]])


@pytest.mark.parametrize(
    ("method", "path", "query", "fields"),
    [
        ("GET", "/fetch/conversation", {"conversation_id": "nobody"}, None),
        ("GET", "/fetch/messages", {"conversation_id": "nobody"}, None),
        ("GET", "/fetch/ticket", {"ticket_id": "nobody"}, None),
        ("POST", "/add/message", {"conversation_id": "nobody"}, MESSAGE),
        ("POST", "/fetch/operator-token", {}, {"email": "nobody@shop.example"}),
    ],
)
def test_what_is_not_there_is_404(wire: Wire, method: str, path: str, query: Any, fields: Any) -> None:
    answer = wire.call(method, path, fields, query=query)
    assert (answer.status, answer.json["data"]) == (404, None)
    assert answer.json["message"].endswith(" not found")


def test_writing_to_a_closed_conversation_is_409(wire: Wire) -> None:
    conversation_id = wire.open()["id"]
    wire.relay.claim(conversation_id)
    wire.relay.resolve(conversation_id)
    assert wire.say(conversation_id, "Hello?").status == 409
