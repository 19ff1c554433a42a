"""Hostile bodies, read by the SDK alone: each is an event, cleaned, or an ``EventError``, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk.errors import EventError
from bloonio_chat.sdk.events import WebhookEvent, idempotency_key, parse_event
from tests.callbacks.relay import PATHS, agent_body, envelope, with_raw, written
from tests.secrets import TENANT_ID

fuzz = settings(deadline=None, database=None, max_examples=200)
IDS = [
    "conversation_id", "message_id", "ticket_id", "ticket_number", "escalation_id", "visitor_user_id", "agent_user_id",
]  # fmt: skip


def parse(body: bytes | dict[str, Any], path: str = "message-received") -> WebhookEvent:
    raw = body if isinstance(body, bytes) else written(body)
    return parse_event(raw, path=path, tenant_id=TENANT_ID, timestamp_ms=1718966400123)


def code_of(body: bytes | dict[str, Any], path: str = "message-received") -> str:
    with pytest.raises(EventError) as refused:
        parse(body, path)
    return refused.value.code


@pytest.mark.parametrize(
    ("raw", "kept"),
    [('{"a": NaN}', {"a": None}), ('{"a": [1e999, {"b": -Infinity}]}', {"a": [None, {"b": None}]}),
     (r'{"a\u0000": "\ud800"}', {"a\ufffd": "\ufffd"}), (r'{"a": "\ud83d\ude42"}', {"a": "🙂"})],
)  # fmt: skip
def test_what_no_database_takes_is_cleaned_out_of_extra_and_of_unknown_fields(raw: str, kept: Any) -> None:
    for path, body in (("message-received", envelope()), ("agent-assigned", agent_body())):
        raw_body = written(body)[:-1] + f', "extra": {raw}, "colour": {raw}}}'.encode()
        event = parse(raw_body, path)
        assert event.extra == kept
        assert event.model_extra == {"colour": kept}
        assert event.was_cleaned is (kept != {"a": "🙂"})


@pytest.mark.parametrize(("name", "kept"), [("colour", {"colour": None}), ("extra", None)])
def test_one_dirty_place_is_enough_to_be_cleaned(name: str, kept: dict[str, Any] | None) -> None:
    event = parse(with_raw(name, "1e999" if kept else '{"a": 1e999}'))
    assert (event.model_extra or None, event.extra) == (kept, {} if kept else {"a": None})
    assert event.was_cleaned


def test_texts_of_known_fields_are_cleaned_too() -> None:
    event = parse(with_raw("message_id", r'"m\u00001\ud800"'))
    assert (event.message_id, event.was_cleaned) == ("m\ufffd1\ufffd", True)


@pytest.mark.parametrize("name", [*IDS, "claim_count", "claimed_at", "status", "escalation_reason"])
@pytest.mark.parametrize("raw", ["NaN", "Infinity", "1e999", "-1e999"])
def test_not_a_number_in_a_known_field_is_refused(name: str, raw: str) -> None:
    assert code_of(with_raw(name, raw)) == "field_invalid"


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"null", b"true", b"NaN"])
def test_what_is_not_an_object_is_no_event(raw: bytes) -> None:
    for path in ("message-received", "agent-assigned", "conversation-archived"):
        assert code_of(raw, path) == "not_an_object"


def test_messages_name_fields_never_values() -> None:
    for body in (envelope(message_id="hostile" * 99), envelope(occurred_at="hostile"), envelope(extra="hostile"),
                 envelope(tenant_id="hostile"), envelope(event_type="hostile"), b'"hostile'):  # fmt: skip
        with pytest.raises(EventError) as refused:
            parse(body)
        assert "hostile" not in f"{refused.value!r}{refused.value.__cause__!r}{refused.value.__context__!r}"


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
near_events = st.dictionaries(st.sampled_from([*WebhookEvent.model_fields, "event_id", "id", "x"]), any_json).flatmap(
    lambda changes: st.sampled_from([{**envelope(), **changes}, {**agent_body(), **changes}, changes])
)


@fuzz
@given(body=st.binary(max_size=50) | (any_json | near_events).map(json.dumps).map(str.encode),
       path=st.sampled_from([*PATHS, "agent-moved", "conversation-archived"]))  # fmt: skip
def test_any_bytes_are_an_event_of_this_tenant_and_path_or_an_event_error(body: bytes, path: str) -> None:
    try:
        event = parse(body, path)
    except EventError:
        return
    assert event.event_type.path == path
    assert event.tenant_id.lower() == TENANT_ID
    assert event.occurred_at.utcoffset() is not None
    assert len(idempotency_key(event, tenant_id=TENANT_ID, body=body)) == 64
    event.model_dump_json()
