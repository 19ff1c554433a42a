"""Hostile bodies, signed well and posted: 400 with a code, or 200 with what was cleaned; never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from bloonio_chat.sdk.events import WebhookEvent
from tests.callbacks.relay import PATHS, agent_body, answer, envelope, post, signed, with_raw, written
from tests.secrets import OTHER_TENANT_ID

GOOD = written(envelope(extra={"name": "Zoë 🙂"}))

REFUSED: dict[str, tuple[str, bytes]] = {
    "empty": ("not_json", b""),
    "white space": ("not_json", b" \r\n\t"),
    "cut in half": ("not_json", GOOD[: len(GOOD) // 2]),
    "without its last byte": ("not_json", GOOD[:-1]),
    "with another after it": ("not_json", GOOD + GOOD),
    "in a form": ("not_json", b"event_type=message_received&tenant_id=x"),
    "with single quotes": ("not_json", GOOD.replace(b'"', b"'")),
    "with a trailing comma": ("not_json", GOOD[:-1] + b",}"),
    "with a comment": ("not_json", b"// hello\n" + GOOD),
    "deep array": ("not_json", with_raw("extra", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")),
    "deep object": ("not_json", with_raw("extra", '{"a": ' * 20_000 + "1" + "}" * 20_000)),
    "deep and unfinished": ("not_json", b"[" * 200_000),
    "UTF-16": ("not_json", GOOD.decode().encode("utf-16")),
    "UTF-16 without BOM": ("not_json", GOOD.decode().encode("utf-16-le")),
    "UTF-32": ("not_json", GOOD.decode().encode("utf-32")),
    "latin-1": ("not_json", written(envelope(extra={"name": "Zoë"})).decode().encode("latin-1")),
    "with a BOM": ("not_json", b"\xef\xbb\xbf" + GOOD),
    "with a surrogate in bytes": ("not_json", GOOD.replace("ë".encode(), b"\xed\xa0\x80")),
    "with an overlong encoding": ("not_json", GOOD.replace("ë".encode(), b"\xc0\xaf")),
    "with a raw NUL": ("not_json", GOOD.replace("ë".encode(), b"\0")),
    "with NUL after it": ("not_json", GOOD + b"\0"),
    "gzip": ("not_json", b"\x1f\x8b\x08\x00" + GOOD),
    "5000-digit integer": ("not_json", with_raw("claim_count", "9" * 5000)),
    "5000-digit integer in extra": ("not_json", with_raw("extra", f'{{"a": [-{"9" * 5000}]}}')),
    "5000-digit integer in an unknown field": ("not_json", with_raw("colour", "9" * 5000)),
    "array": ("not_an_object", b"[" + GOOD + b"]"),
    "text": ("not_an_object", json.dumps(GOOD.decode()).encode()),
    "number": ("not_an_object", b"17"),
    "null": ("not_an_object", b"null"),
    "empty object": ("field_missing", b"{}"),
    "without event_type": ("field_missing", written(envelope(event_type=None))),
    "without tenant_id": ("field_missing", written(envelope(tenant_id=None))),
    "without occurred_at": ("field_missing", written(envelope(occurred_at=None))),
    "NaN for an id": ("field_invalid", with_raw("message_id", "NaN")),
    "Infinity for an id": ("field_invalid", with_raw("ticket_id", "Infinity")),
    "1e999 for a number": ("field_invalid", with_raw("claim_count", "1e999")),
    "1e999 for a moment": ("field_invalid", with_raw("occurred_at", "1e999")),
    "NaN for extra": ("field_invalid", with_raw("extra", "NaN")),
    "an object for an id": ("field_invalid", written(envelope(conversation_id={"$ne": ""}))),
    "an array for extra": ("field_invalid", written(envelope(extra=[]))),
    "a moment in the year 1": ("field_invalid", written(envelope(occurred_at="0001-01-01T00:00:00+14:00"))),
    "an id of 256 characters": ("id_too_long", written(envelope(conversation_id="x" * 256))),
    "an event id of 256 characters": ("id_too_long", written(envelope(event_id="🙂" * 256))),
    "another event": ("event_type_mismatch", written(envelope("ticket-created"))),
    "another event, second": ("event_type_mismatch", with_raw("event_type", '"ticket_created"')),
    "another tenant": ("tenant_mismatch", written(envelope(tenant_id=OTHER_TENANT_ID))),
    "another tenant, second": ("tenant_mismatch", with_raw("tenant_id", f'"{OTHER_TENANT_ID}"')),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_event_is_400_with_a_code_and_a_detail(
    relay: Client, events: list[WebhookEvent], rejections: list[dict[str, Any]], case: str
) -> None:
    code, body = REFUSED[case]
    response = post(relay, "message-received", body)
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/json"
    told = answer(response)
    assert told.keys() == {"code", "detail"}
    assert told["code"] == code
    assert told["detail"]
    assert [rejection["reason"] for rejection in rejections] == [code]
    assert events == []


@pytest.mark.parametrize("case", REFUSED)
def test_the_same_bodies_on_every_other_path_are_never_a_500(relay: Client, case: str) -> None:
    for path in [*PATHS, "conversation-archived", "agent-moved"]:
        assert post(relay, path, REFUSED[case][1]).status_code in (200, 400)


@pytest.mark.parametrize("path", ["agent-assigned", "agent-released", "agent-resolved"])
@pytest.mark.parametrize("status", ["ASSIGNED", "WAITING", "RESOLVED"])
def test_an_agent_body_whose_status_belongs_to_another_path_is_400(relay: Client, path: str, status: str) -> None:
    response = post(relay, path, agent_body(path, status=status))
    if status == agent_body(path)["status"]:
        assert response.status_code == 200
    else:
        assert (response.status_code, answer(response)["code"]) == (400, "status_mismatch")


def test_an_unknown_status_is_kept(relay: Client, events: list[WebhookEvent]) -> None:
    assert post(relay, "agent-released", agent_body(status="LOST_IN_SPACE")).status_code == 200
    assert [event.status for event in events] == ["LOST_IN_SPACE"]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [("NaN", None), ("[1, -Infinity]", [1, None]), ('{"a": 1e999}', {"a": None}), (r'"\u0000"', "\ufffd"),
     (r'"\ud800x"', "\ufffdx"), (r'{"\udc00": 1}', {"\ufffd": 1})],
)  # fmt: skip
def test_what_no_database_takes_is_cleaned_out_of_extra(
    relay: Client, events: list[WebhookEvent], raw: str, kept: Any
) -> None:
    assert post(relay, "message-received", with_raw("extra", f'{{"x": {raw}}}')).status_code == 200
    assert [(event.extra, event.was_cleaned) for event in events] == [({"x": kept}, True)]


def test_what_is_merely_odd_is_taken_as_it_is(relay: Client, events: list[WebhookEvent]) -> None:
    for place, raw in enumerate(
        ['"\\ud83d\\ude42"', "1e308", "-0.0", '"\\\\u0000"', "9" * 4000, "[" * 150 + "]" * 150]
    ):
        assert post(relay, "message-received", with_raw("extra", f'{{"x": {raw}, "n": {place}}}')).status_code == 200
    assert [event.was_cleaned for event in events] == [False] * 6
    assert events[0].extra["x"] == "🙂"


def test_of_a_key_that_stands_twice_the_last_wins(relay: Client, events: list[WebhookEvent]) -> None:
    assert post(relay, "message-received", with_raw("conversation_id", '"last"')).status_code == 200
    assert [event.conversation_id for event in events] == ["last"]


def test_every_flipped_byte_of_a_body_is_401(relay: Client, events: list[WebhookEvent]) -> None:
    body = written(envelope())
    headers = signed(body)
    for place in range(len(body)):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert post(relay, "message-received", flipped, headers).status_code == 401
    for changed in (body + b" ", b" " + body, body[:-1], body.replace(b", ", b","), b""):
        assert post(relay, "message-received", changed, headers).status_code == 401
    assert events == []
    assert post(relay, "message-received", body, headers).status_code == 200


def test_an_answer_never_quotes_the_body(relay: Client, caplog: pytest.LogCaptureFixture) -> None:
    for body in (envelope(message_id="hostile" * 50), envelope(occurred_at="hostile"), envelope(tenant_id="hostile"),
                 envelope(event_type="hostile"), agent_body(status="hostile", claim_count="x"), b"hostil"):  # fmt: skip
        for path in ("message-received", "agent-assigned"):
            assert b"hostil" not in post(relay, path, body).content
    assert "hostil" not in caplog.text


def test_a_project_in_production_answers_alike(relay: Client, settings: Any) -> None:
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]
    statuses = {post(relay, "message-received", body).status_code for _, body in REFUSED.values()}
    assert statuses == {400}
