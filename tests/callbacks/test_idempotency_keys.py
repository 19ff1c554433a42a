"""What tells two deliveries of one event apart from two events (protocol §4.3)."""

from __future__ import annotations

from typing import Any

from bloonio_chat.sdk.events import idempotency_key, parse_event
from tests.callbacks.relay import envelope, written
from tests.secrets import OTHER_TENANT_ID, TENANT_ID


def key_of(body: dict[str, Any], path: str = "message-received", tenant_id: str = TENANT_ID) -> str:
    raw = written(body)
    return idempotency_key(
        parse_event(raw, path=path, tenant_id=TENANT_ID, timestamp_ms=1718966400000), tenant_id=tenant_id, body=raw
    )


def test_the_idempotency_key_is_made_of_the_events_own_id_or_else_of_its_body() -> None:
    assert key_of(envelope(event_id="e1")) == key_of(envelope(event_id="e1", message_id="m2"))
    assert key_of(envelope(event_id="e1", id="x")) == key_of(envelope(event_id="e1", id="y"))
    assert key_of(envelope(id="e1")) == key_of(envelope(id="e1", event_id=""))
    assert key_of(envelope(id="e1")) != key_of(envelope(id="e2"))
    assert key_of(envelope(message_id="m1")) == key_of(envelope(message_id="m1"))
    assert key_of(envelope(message_id="m1")) != key_of(envelope(message_id="m2"))
    no_texts: list[Any] = ["", 17, [], {}]
    for no_text in no_texts:
        assert key_of(envelope(event_id=no_text, message_id="m1")) != key_of(
            envelope(event_id=no_text, message_id="m2")
        )


def test_the_idempotency_key_tells_tenants_and_event_types_apart() -> None:
    assert key_of(envelope(event_id="e1")) != key_of(envelope(event_id="e1"), tenant_id=OTHER_TENANT_ID)
    assert key_of(envelope(event_id="e1")) != key_of(envelope("ticket-created", event_id="e1"), "ticket-created")


def test_the_idempotency_key_of_a_body_is_of_its_very_bytes() -> None:
    event = parse_event(written(envelope()), path="message-received", tenant_id=TENANT_ID, timestamp_ms=0)
    keys = {idempotency_key(event, tenant_id=TENANT_ID, body=body) for body in (b"{}", b"{} ", b"")}
    assert len(keys) == 3
    assert all(len(key) == 64 for key in keys)
