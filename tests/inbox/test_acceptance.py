"""What is kept of a callback: its bytes, its signature, its ids to the last character, and nothing cut off."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bloonio_chat import signals
from bloonio_chat.inbox import acceptance
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.sdk.events import EVENT_PATH
from bloonio_chat.sdk.signing import verify
from tests.callbacks.relay import PATHS, agent_body, answer, envelope, now_ms, post, signed, with_raw, written
from tests.inbox.events import hear, keep, run
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID, SECRET, TENANT_ID

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]

PATH = "message-received"
ODD_BODIES = {
    "spaces, tabs and line ends": b' \r\n\t{"event_type" :\t"message_received" ,\r\n"tenant_id": "%b",'
    b'"occurred_at":"2026-01-02T03:04:05+02:00"} \n\n' % TENANT_ID.encode(),
    "escapes": with_raw("message_id", r'"\u006d\/\u00e9\ud83d\ude42\"\\"'),
    "NUL and half a pair": with_raw("message_id", r'"a\u0000b\ud800"'),
    "NaN in extra": with_raw("extra", '{"a": NaN, "b": [Infinity, 1e999]}'),
    "a key that stands twice": with_raw("event_type", '"message_received"'),
    "DEL, C1 controls and a BOM within": written(envelope(visitor_user_id="\x7f\x85\u2028\ufeff")),
    "numbers of many digits": with_raw("extra", '{"a": 1.00000000000000000000000001, "b": -0, "c": 1E+2}'),
    "percent signs and quotes": written(envelope(message_id="%s %(x)s %% ' \" \\ ; --")),
    "a moment before the Gregorian calendar": written(envelope(occurred_at="0002-01-01T00:00:00Z")),
    "the last moment that there is": written(envelope(occurred_at="9998-12-31T23:59:59.999999Z")),
}


def only_row() -> InboxEvent:
    row: InboxEvent = InboxEvent.objects.get()
    return row


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_the_body_is_kept_byte_for_byte_and_can_be_verified_again(body: bytes) -> None:
    headers = signed(body)
    assert post(Client(), PATH, body, headers).status_code == 200
    row = only_row()
    assert bytes(row.body) == body
    assert row.signed_tenant_id == TENANT_ID
    assert row.signed_timestamp in headers.values()
    assert row.signature in headers.values()
    assert verify([SECRET.encode()], row.signed_timestamp, row.signature, bytes(row.body)) == 0
    assert post(Client(), PATH, body).status_code == 200
    assert only_row().repeats == 1
    heard = hear("r")
    assert run().delivered == 1
    assert len(heard) == 1


@pytest.mark.parametrize("path", PATHS)
def test_the_columns_say_what_the_event_says(path: str) -> None:
    before = now_ms()
    body = envelope(path, conversation_id="C1", visitor_user_id="v1", occurred_at="2026-01-02T03:04:05.678901+02:00")
    assert post(Client(), path, body).status_code == 200
    after = now_ms()
    row = only_row()
    assert (row.tenant, row.event_type) == ("default", path.replace("-", "_"))
    assert (row.conversation_id, row.visitor_user_id) == ("C1", "v1")
    assert row.occurred_at == datetime(2026, 1, 2, 1, 4, 5, 678901, timezone.utc)
    assert before - 1000 < row.received_at.timestamp() * 1000 < after + 1000
    assert (row.state, row.attempts, row.repeats, row.last_error) == ("received", 0, 0, "")
    assert (row.finished_at, row.erased_at) == (None, None)
    assert row.due_ms is not None
    assert before - 1000 < row.due_ms < after + 1000
    assert row.due_at is not None
    assert abs(row.due_at.timestamp() * 1000 - row.due_ms) < 1


def test_the_agent_takeover_body_is_kept_and_delivered() -> None:
    heard: list[tuple[Any, ...]] = []

    def receive(event: Any, **_: Any) -> None:
        heard.append((event.operator_id, event.occurred_at.isoformat()))

    signals.agent_assigned.connect(receive)
    body = agent_body(claimed_at=None)
    stamp = now_ms()
    assert post(Client(), "agent-assigned", body, signed(written(body), timestamp=stamp)).status_code == 200
    # Without a moment of its own it happened when it was signed, whenever it is delivered.
    assert int(only_row().occurred_at.timestamp() * 1000) == stamp
    assert run().delivered == 1
    assert heard == [("op1", datetime.fromtimestamp(stamp / 1000, timezone.utc).isoformat())]


def test_the_skew_between_the_clocks_is_noted() -> None:
    body, stamp = written(envelope()), now_ms() - 20_000
    assert post(Client(), PATH, body, signed(body, timestamp=stamp)).status_code == 200
    assert 20_000 <= only_row().skew_ms <= now_ms() - stamp


@pytest.mark.parametrize("path", ["conversation-archived", "x", "a" * 255])
def test_an_unknown_event_is_kept_and_goes_to_event_received_alone(path: str) -> None:
    heard: list[str] = []

    def receive(event: Any, signal: Any, **_: Any) -> None:
        heard.append(f"{signal.name} {event.event_type}")

    every_signal = [value for value in vars(signals).values() if isinstance(value, signals.EventSignal)]
    for signal in every_signal:
        signal.connect(receive, dispatch_uid="r")
    assert post(Client(), path, envelope(path)).status_code == 200
    assert only_row().event_type == path.replace("-", "_")
    assert run().delivered == 1
    assert heard == [f"event_received {path.replace('-', '_')}"]


def test_an_event_whose_name_is_too_long_is_refused() -> None:
    path = "a" * 256
    response = post(Client(), path, envelope(path))
    assert (response.status_code, answer(response)["code"]) == (400, "id_too_long")
    assert not InboxEvent.objects.exists()
    assert re.fullmatch(EVENT_PATH, path), "it is refused for its length alone"


@pytest.mark.parametrize("character", ["x", "é", "漢", "🙂"])
def test_ids_of_255_characters_are_kept_whole(character: str) -> None:
    longest = character * 255
    row = keep(conversation_id=longest, visitor_user_id=longest, event_id=longest)
    row.refresh_from_db()
    assert (row.conversation_id, row.visitor_user_id) == (longest, longest)
    for field in ("conversation_id", "visitor_user_id", "event_id", "message_id"):
        assert post(Client(), PATH, envelope(**{field: character * 256})).status_code == 400


def test_ids_that_a_collation_would_take_for_one_are_several() -> None:
    ids = ["abc", "ABC", "abc ", "äbc", "\uff41\uff42\uff43", "a\u200bbc"]
    rows = [keep(conversation_id=one, event_id=one) for one in ids]
    assert len({row.lane for row in rows}) == len(ids)
    assert [InboxEvent.objects.filter(conversation_id=one).count() for one in ids] == [1] * len(ids)


def test_an_event_without_conversation_has_a_lane_of_its_own() -> None:
    rows = [keep(conversation_id=None), keep(conversation_id=None), keep(conversation_id="")]
    assert len({row.lane for row in rows}) == 3
    assert {row.conversation_id for row in rows} == {""}


def test_a_conversation_of_another_tenant_is_another_lane(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    mine = keep()
    body = written(envelope(tenant_id=OTHER_TENANT_ID))
    headers = signed(body, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET)
    assert post(Client(), PATH, body, headers).status_code == 200
    other = InboxEvent.objects.latest("pk")
    assert (mine.tenant, other.tenant) == ("default", "shop-b")
    assert (mine.conversation_id, other.conversation_id) == ("c1", "c1")
    assert mine.lane != other.lane


# ---- the idempotency key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["event_id", "id"])
def test_events_of_one_id_are_one_whatever_else_they_say(name: str) -> None:
    keep(**{name: "e1"})
    assert post(Client(), PATH, envelope(message_id="another", **{name: "e1"})).status_code == 200
    assert only_row().repeats == 1
    # Of another type, or with another id, it is another event.
    assert post(Client(), "ticket-created", envelope("ticket-created", **{name: "e1"})).status_code == 200
    keep(**{name: "E1"})
    assert InboxEvent.objects.count() == 3


def test_events_without_an_id_are_one_only_if_they_are_the_same_to_the_byte() -> None:
    body = envelope(event_id="", id=7)
    for raw in (written(body), written(body), written(body) + b" ", json.dumps(body, indent=1).encode()):
        assert post(Client(), PATH, raw).status_code == 200
    assert list(InboxEvent.objects.order_by("pk").values_list("repeats", flat=True)) == [1, 0, 0]


# ---- nothing is cut off ----------------------------------------------------------------------------------------


def test_an_alias_that_is_too_long_is_a_503_and_no_row(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"s" * 256: {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    body = written(envelope(tenant_id=OTHER_TENANT_ID))
    response = post(Client(), PATH, body, signed(body, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET))
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert not InboxEvent.objects.exists()
    assert "tenant is over 255 characters" in caplog.text


def test_an_alias_of_255_characters_is_kept_whole(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"é" * 255: {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    body = written(envelope(tenant_id=OTHER_TENANT_ID))
    assert post(Client(), PATH, body, signed(body, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET)).status_code == 200
    assert only_row().tenant == "é" * 255


def test_a_body_as_long_as_the_limit_is_kept_whole(settings: Any, database: str) -> None:
    settings.BLOONIO_CHAT_CALLBACK_MAX_BODY_BYTES = 2_000_000
    body = written(envelope(extra={"text": "🙂" * 450_000}))
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert post(Client(), PATH, body).status_code == 200
    assert bytes(only_row().body) == body


# ---- the statement itself --------------------------------------------------------------------------------------


def test_a_first_callback_is_one_statement_and_a_repeat_is_two(database: str, monkeypatch: Any) -> None:
    keep()
    statements: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql.split()[0])
        return execute(sql, *rest)

    # Within a test's transaction Django's own rule costs savepoints, which no callback pays.
    monkeypatch.setattr(acceptance, "why_not_durable", lambda connection: None)
    with connections[database].execute_wrapper(note):
        keep(event_id="e1")
        assert post(Client(), PATH, envelope(event_id="e1")).status_code == 200
    # The SELECT is the test's own.
    assert statements == ["INSERT", "SELECT", "INSERT", "UPDATE"]


def test_a_repeat_loses_without_an_error_on_the_server(database: str) -> None:
    """MariaDB keeps no account of statements that failed, so what it is asked is looked at."""
    keep(event_id="e1")
    with CaptureQueriesContext(connections[database]) as captured:
        assert post(Client(), "message-received", envelope(event_id="e1")).status_code == 200
    [insert] = [query["sql"] for query in captured.captured_queries if query["sql"].startswith("INSERT")]
    wanted = {"mariadb": "INSERT IGNORE", "sqlite": "INSERT OR IGNORE", "postgresql": "ON CONFLICT DO NOTHING"}
    assert wanted[database] in insert
    assert InboxEvent.objects.get().repeats == 1
