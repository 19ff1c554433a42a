"""From body and path to event (protocol §4.1): both shapes, every field, and what is no event."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from bloonio_chat.sdk.enums import AgentStatus, EscalationReason, WebhookEventType
from bloonio_chat.sdk.errors import EventError
from bloonio_chat.sdk.events import EVENT_PATH, WebhookEvent, parse_event
from tests.callbacks.relay import AGENT_STATUS_BY_PATH, PATHS, agent_body, envelope, with_raw, written
from tests.secrets import OTHER_TENANT_ID, TENANT_ID

SIGNED_MS = 1718966400123
SIGNED_AT = datetime(2024, 6, 21, 10, 40, 0, 123000, tzinfo=timezone.utc)

ENVELOPE_IDS = [
    "conversation_id", "message_id", "ticket_id", "ticket_number", "escalation_id", "visitor_user_id", "agent_user_id",
]  # fmt: skip
AGENT_TIMES = [("agent-assigned", "claimed_at"), ("agent-released", "released_at"), ("agent-resolved", "resolved_at")]


def parse(body: bytes | dict[str, Any], path: str = "message-received") -> WebhookEvent:
    raw = body if isinstance(body, bytes) else written(body)
    return parse_event(raw, path=path, tenant_id=TENANT_ID, timestamp_ms=SIGNED_MS)


def code_of(body: bytes | dict[str, Any], path: str = "message-received") -> str:
    with pytest.raises(EventError) as refused:
        parse(body, path)
    return refused.value.code


# ---- the envelope ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_all_nine_paths_take_the_envelope(path: str) -> None:
    event = parse(envelope(path, agent_user_id="op1"), path)
    assert event.event_type is WebhookEventType(path.replace("-", "_"))
    assert event.event_type.is_known
    assert event.event_type.path == path
    assert (event.tenant_id, event.conversation_id, event.agent_user_id) == (TENANT_ID, "c1", "op1")
    assert event.occurred_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert event.extra == {}
    assert not event.was_cleaned


@pytest.mark.parametrize("name", ENVELOPE_IDS)
def test_every_id_is_an_opaque_text_of_255_characters(name: str) -> None:
    longest = "🙂" * 255
    assert getattr(parse(envelope(**{name: longest})), name) == longest
    assert code_of(envelope(**{name: longest + "x"})) == "id_too_long"
    assert code_of(envelope(**{name: 17})) == "field_invalid"
    assert getattr(parse(with_raw(name, "null")), name) is None


@pytest.mark.parametrize("reason", [*(reason.value for reason in EscalationReason), "alien_abduction"])
def test_every_escalation_reason_survives_as_itself(reason: str) -> None:
    event = parse(envelope("escalation-triggered", escalation_reason=reason), "escalation-triggered")
    assert event.escalation_reason == reason
    assert event.escalation_reason is not None
    assert event.escalation_reason.is_known is (reason != "alien_abduction")


def test_extra_and_unknown_fields_are_kept() -> None:
    event = parse(envelope(extra={"a": [1, {"b": None}]}, colour="green"))
    assert event.extra == {"a": [1, {"b": None}]}
    assert event.model_extra == {"colour": "green"}


@pytest.mark.parametrize("name", ["was_cleaned", "_was_cleaned", "_client", "bind", "model_fields", "__dict__"])
def test_no_field_of_a_stranger_replaces_what_the_event_is(name: str) -> None:
    event = parse(envelope(**{name: "mine"}))
    assert event.was_cleaned is False
    assert callable(event.bind)
    assert event.model_extra == {name: "mine"}


def test_an_extra_of_null_is_an_empty_one_and_any_other_kind_is_wrong() -> None:
    assert parse(with_raw("extra", "null")).extra == {}
    for raw in ("[]", '"x"', "1", "NaN"):
        assert code_of(with_raw("extra", raw)) == "field_invalid"


@pytest.mark.parametrize("name", ["event_type", "tenant_id", "occurred_at"])
@pytest.mark.parametrize("path", PATHS)
def test_the_envelope_must_say_what_whose_and_when(path: str, name: str) -> None:
    # Without event_type the three agent paths read the other shape, which wants a status.
    assert code_of(envelope(path, **{name: None}), path) == "field_missing"


@pytest.mark.parametrize("name", ["event_type", "tenant_id", "occurred_at"])
@pytest.mark.parametrize("raw", ["null", "{}", "[]", "true", "NaN", "-Infinity", "1e999"])
def test_what_whose_and_when_must_be_of_their_type(name: str, raw: str) -> None:
    assert code_of(with_raw(name, raw)) == "field_invalid"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05.678901+00:00", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)),
        ("2026-01-02T05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        # The protocol promises an offset; without one, UTC is the guess that loses nothing.
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
    ],
)
def test_occurred_at_is_always_in_utc(text: str, moment: datetime) -> None:
    event = parse(envelope(occurred_at=text))
    assert event.occurred_at == moment
    # Python's own: a time zone of pydantic's that is alive at the process's end can crash it.
    assert event.occurred_at.tzinfo is timezone.utc


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
                                  "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z"])  # fmt: skip
def test_occurred_at_must_be_a_moment_that_utc_can_hold(text: str) -> None:
    assert code_of(envelope(occurred_at=text)) == "field_invalid"
    assert code_of(agent_body(claimed_at=text), "agent-assigned") == "field_invalid"


# ---- the agent takeover body -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", AGENT_STATUS_BY_PATH)
def test_every_field_of_the_agent_takeover_body(path: str) -> None:
    moments = {name: f"2026-01-0{day}T00:00:00Z" for day, (_, name) in enumerate(AGENT_TIMES, start=1)}
    event = parse(
        agent_body(
            path,
            operator_display_name="Zoë",
            visitor_session_id="vs_1",
            escalation_reason="user_request",
            claim_count=2,
            **moments,
        ),
        path,
    )
    assert event.event_type == path.replace("-", "_")
    assert event.event_type.is_known
    assert event.status is AgentStatus(AGENT_STATUS_BY_PATH[path])
    assert (event.operator_id, event.agent_user_id, event.operator_display_name) == ("op1", "op1", "Zoë")
    assert (event.visitor_session_id, event.claim_count) == ("vs_1", 2)
    assert event.escalation_reason is EscalationReason.USER_REQUEST
    assert event.occurred_at == getattr(event, dict(AGENT_TIMES)[path])
    assert [event.claimed_at, event.released_at, event.resolved_at] == [
        datetime(2026, 1, day, tzinfo=timezone.utc) for day in (1, 2, 3)
    ]


@pytest.mark.parametrize(("path", "name"), AGENT_TIMES)
def test_occurred_at_is_the_time_of_the_event_else_the_signed_timestamp(path: str, name: str) -> None:
    others = {other: "2020-01-01T00:00:00Z" for _, other in AGENT_TIMES if other != name}
    assert parse(agent_body(path, **others), path).occurred_at == SIGNED_AT
    assert parse(agent_body(path, **others, **{name: "2026-05-05T05:05:05+05:00"}), path).occurred_at == datetime(
        2026, 5, 5, 5, 5, 5, tzinfo=timezone(timedelta(hours=5))
    )
    assert parse(written(agent_body(path))[:-1] + f', "{name}": null}}'.encode(), path).occurred_at == SIGNED_AT


@pytest.mark.parametrize("path", AGENT_STATUS_BY_PATH)
@pytest.mark.parametrize("status", ["ASSIGNED", "WAITING", "RESOLVED", "assigned", "PAUSED"])
def test_a_status_of_another_path_is_refused_and_an_unknown_one_kept(path: str, status: str) -> None:
    body = agent_body(path, status=status)
    if status in AGENT_STATUS_BY_PATH.values() and status != AGENT_STATUS_BY_PATH[path]:
        assert code_of(body, path) == "status_mismatch"
    else:
        assert parse(body, path).status == status


@pytest.mark.parametrize("status", AGENT_STATUS_BY_PATH.values())
def test_a_known_status_is_refused_on_an_agent_path_that_it_does_not_belong_to(status: str) -> None:
    assert code_of(agent_body(status=status), "agent-moved") == "status_mismatch"
    assert parse(agent_body(status="MOVED"), "agent-moved").event_type == "agent_moved"


@pytest.mark.parametrize("name", ["conversation_id", "status", "tenant_id"])
def test_the_agent_takeover_body_must_say_whose_and_which(name: str) -> None:
    assert code_of(agent_body(**{name: None}), "agent-assigned") == "field_missing"


@pytest.mark.parametrize("name", ["conversation_id", "status"])
@pytest.mark.parametrize("raw", ["null", '""', "1", "{}", "NaN"])
def test_the_agent_takeover_body_must_say_them_in_text(name: str, raw: str) -> None:
    assert code_of(written(agent_body())[:-1] + f', "{name}": {raw}}}'.encode(), "agent-assigned") == "field_missing"


@pytest.mark.parametrize("name", ["claim_count", "operator_id", "claimed_at", "operator_display_name", "released_at"])
@pytest.mark.parametrize("raw", ["NaN", "1e999", "-Infinity", "[]"])
def test_a_known_field_that_is_no_number_or_text_is_refused_not_forgotten(name: str, raw: str) -> None:
    assert code_of(written(agent_body())[:-1] + f', "{name}": {raw}}}'.encode(), "agent-assigned") == "field_invalid"


@pytest.mark.parametrize("path", [path for path in PATHS if path not in AGENT_STATUS_BY_PATH])
def test_the_agent_takeover_body_is_for_the_agent_paths_alone(path: str) -> None:
    assert code_of(agent_body(path), path) == "field_missing"


@pytest.mark.parametrize("name", ["operator_id", "visitor_session_id"])
def test_the_agent_bodys_ids_have_the_same_limit(name: str) -> None:
    assert getattr(parse(agent_body(**{name: "x" * 255}), "agent-assigned"), name) == "x" * 255
    assert code_of(agent_body(**{name: "x" * 256}), "agent-assigned") == "id_too_long"


# ---- path, tenant, identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("other", PATHS)
def test_the_envelope_must_name_the_event_of_its_path(path: str, other: str) -> None:
    if other == path:
        assert parse(envelope(path), path).event_type.path == path
    else:
        assert code_of(envelope(other), path) == "event_type_mismatch"


def test_an_event_of_the_future_is_an_event() -> None:
    event = parse(envelope("conversation-archived"), "conversation-archived")
    assert event.event_type == "conversation_archived"
    assert not event.event_type.is_known
    moved = parse(agent_body(status="MOVED"), "agent-moved")
    assert (moved.event_type, moved.occurred_at) == ("agent_moved", SIGNED_AT)


@pytest.mark.parametrize("path", ["", "-", "a-", "-a", "a--b", "A", "a1", "a_b", "a.b", "a/b", "a\n", "é", "a b"])
def test_a_path_that_names_no_event(path: str) -> None:
    assert re.fullmatch(EVENT_PATH, path) is None


def test_the_body_names_the_tenant_that_signed_compared_as_a_uuid() -> None:
    assert parse(envelope(tenant_id=TENANT_ID.upper())).tenant_id.lower() == TENANT_ID
    for other in (OTHER_TENANT_ID, "", f" {TENANT_ID}", TENANT_ID.replace("-", ""), f"{{{TENANT_ID}}}"):
        assert code_of(envelope(tenant_id=other)) == "tenant_mismatch"
        assert code_of(agent_body(tenant_id=other), "agent-assigned") == "tenant_mismatch"


def test_of_a_key_that_stands_twice_the_last_wins() -> None:
    assert parse(with_raw("conversation_id", '"last"')).conversation_id == "last"
    assert code_of(with_raw("tenant_id", f'"{OTHER_TENANT_ID}"')) == "tenant_mismatch"
    assert code_of(with_raw("event_type", '"ticket_created"')) == "event_type_mismatch"
    twice = b'{"status": "WAITING",' + written(agent_body())[1:]
    assert parse(twice, "agent-assigned").status == "ASSIGNED"


@pytest.mark.parametrize("name", ["event_id", "id"])
def test_the_events_own_id_has_the_same_limit(name: str) -> None:
    assert parse(envelope(**{name: "x" * 255})).model_extra == {name: "x" * 255}
    assert code_of(envelope(**{name: "x" * 256})) == "id_too_long"
    assert code_of(with_raw(name, '"\\u0041' + "x" * 255 + '"')) == "id_too_long"
