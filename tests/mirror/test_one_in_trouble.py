"""One object in trouble: at the relay, on its way, or in the database. The tenant's others come all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, DataError, OperationalError, connections
from django.test.utils import CaptureQueriesContext

from bloonio_chat import mirror
from bloonio_chat.mirror import hydration, marks, piecewise, projection
from bloonio_chat.mirror.hydration import drain, hydrate
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.refreshing import refresh_conversation
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk import types
from bloonio_chat.sdk.errors import ChatRelayServerError
from tests.mirror.at_relay import TENANT, Time, escalated, refusing, tell

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


@pytest.mark.parametrize("what", ["conversation", "messages"])
@pytest.mark.parametrize("quiet_minutes", [3, 12])
def test_a_conversation_at_which_the_relay_always_fails_is_not_the_first_after_each_pause(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch, what: str, quiet_minutes: int
) -> None:
    bad = relay.open_conversation("v0", locale="en")
    tell(relay, "conversation-started", bad)
    name = f"fetch_{what}"
    fetch_really: Callable[..., Any] = getattr(hydration, name)

    def fetch(caller: Any, conversation_id: str) -> Any:
        if conversation_id == bad.id:
            raise ChatRelayServerError("500", operation=name, status_code=500)
        return fetch_really(caller, conversation_id)

    monkeypatch.setattr(hydration, name, fetch)

    def each_minute(minutes: int) -> int:
        fetched = 0
        for _ in range(minutes):
            fetched += hydrate(50, clock=its_time, random=lambda: 0.5)
            its_time.now += 60
        return fetched

    # So long nothing else is marked, and each failure follows another.
    assert each_minute(quiet_minutes) == 0
    for number in range(5):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number + 1}", locale="en"))
    assert each_minute(60) == 5
    assert Conversation.objects.get(marked_at__isnull=False).relay_id == bad.id


@pytest.mark.usefixtures("many_calls")
@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("column", ["score", "confidence"])
def test_a_number_that_is_none_keeps_no_conversation_out(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch, column: str, written: str
) -> None:
    conversation = relay.open_conversation("v1", locale="en")
    relay.say(conversation.id, "Where is my parcel?")
    tell(relay, "conversation-started", conversation)
    fetch_really: Callable[..., Any] = getattr(hydration, "fetch_messages")  # noqa: B009  # it is no name of its own

    def fetch(caller: Any, conversation_id: str) -> Any:
        found = fetch_really(caller, conversation_id)
        assert found is not None
        body = found.listed[-1].model_dump(mode="json")
        citation = {"chunk_id": "c", "document_id": "d", "document_version": 1, "score": written}
        odd = {"citations": [citation]} if column == "score" else {"confidence": written}
        message = types.Message.model_validate_json(json.dumps({**body, "id": "odd", **odd}))
        return found._replace(listed=[*found.listed, message])

    monkeypatch.setattr(hydration, "fetch_messages", fetch)
    drained = drain(TENANT, limit=9, clock=its_time)
    assert (drained.fetched, drained.failed) == (1, 0)
    row = Message.objects.get(relay_id="odd")
    assert ([each["score"] for each in row.citations] if column == "score" else [row.confidence]) == [None]


@pytest.mark.usefixtures("many_calls")
def test_a_message_that_the_database_does_not_take_hides_no_other(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = relay.open_conversation("v1", locale="en")
    bad, *others = [relay.say(conversation.id, f"message {number}") for number in range(3)]
    tell(relay, "conversation-started", conversation)
    refusing(monkeypatch, lambda fetched: fetched.object.id == bad.id, DataError("secret words"))
    drained = drain(TENANT, limit=9, clock=its_time)
    assert (drained.fetched, drained.failed, drained.error) == (0, 1, None)
    row = Conversation.objects.get()
    assert (row.locale, row.messages_as_of, row.fetch_tries) == ("en", None, 1)
    assert row.marked_at is not None
    kept = set(Message.objects.values_list("relay_id", flat=True))
    assert {each.id for each in others} <= kept
    assert bad.id not in kept
    assert f"message '{bad.id}' could not be written (DataError)" in caplog.text
    assert "secret" not in caplog.text

    # It is all tried again, and then all is there.
    monkeypatch.setattr(piecewise, "merge", projection.merge)
    its_time.now += marks.PAUSES_SECONDS[0] + 1
    assert hydrate(9, clock=its_time) == 1
    row.refresh_from_db()
    assert (row.marked_at, row.fetch_tries) == (None, 0)
    assert Message.objects.filter(relay_id=bad.id).exists()


READ_ONLY = {
    "sqlite": "PRAGMA query_only=1",
    "postgresql": "SET default_transaction_read_only = on",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


def go_away(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise OperationalError("connection refused")

    connection.close()
    monkeypatch.setattr(connection, "connect", gone)


def become_read_only(connection: Any, _: pytest.MonkeyPatch) -> None:
    """As a server does that another one has taken over from."""
    with connection.cursor() as cursor:
        cursor.execute(READ_ONLY[connection.alias])


@pytest.mark.parametrize("happen", [go_away, become_read_only])
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_database_that_takes_no_write_is_not_asked_for_each_object(
    relay: SandboxRelay,
    its_time: Time,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
    caplog: pytest.LogCaptureFixture,
    happen: Any,
) -> None:
    conversation = relay.open_conversation("v1", locale="en")
    for number in range(3):
        relay.say(conversation.id, f"message {number}")
    tell(relay, "conversation-started", conversation)
    tried = []

    def merge_too_late(batch: list[Any]) -> None:
        tried.append(len(batch))
        happen(connections[database], monkeypatch)
        projection.merge(batch)

    monkeypatch.setattr(piecewise, "merge", merge_too_late)
    with pytest.raises(DatabaseError):
        drain(TENANT, limit=9, clock=its_time)
    monkeypatch.undo()
    connections[database].close()
    assert len(tried) == 1
    assert "could not be written" not in caplog.text


@pytest.mark.parametrize(("kind", "named"), [("message", "messages"), ("ticket", "ticket ")])
def test_who_asks_for_it_is_told_what_the_database_did_not_take(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, kind: str, named: str
) -> None:
    conversation = relay.open_conversation("v1", locale="en")
    ticket = escalated(relay, conversation)
    message = relay.say(conversation.id, "Is anybody there?")
    tell(relay, "ticket-created", ticket)
    tell(relay, "conversation-started", conversation)
    bad = message.id if kind == "message" else ticket.id
    refusing(monkeypatch, lambda fetched: fetched.object.id == bad, DataError("too much"))
    [missing] = refresh_conversation(Conversation.objects.get()).missing
    assert missing.startswith(named)
    row = Conversation.objects.get()
    assert row.locale == "en"
    # What was refused is still to be fetched.
    assert row.marked_at is not None
    assert (Ticket.objects.get().fetched_at is None) == (kind == "ticket")


# PostgreSQL's columns know time zones.
@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)
def test_what_can_not_be_taken_is_not_looked_for_for_ever(database: str, settings: Any) -> None:
    """A time that this zone skips, left by another zone in the settings, is not found again as it was read."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Paris"
    with mirror.writable():
        Conversation.objects.create(tenant=TENANT, relay_id="c1")
    with connections[database].cursor() as cursor:
        cursor.execute(
            "UPDATE bloonio_chat_mirror_conversation"
            " SET marked_at = '2026-03-29 02:30:00', waiting_since = '2026-03-29 02:30:00'"
        )
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        assert len(asked) < 20, "it goes on for ever"
        return False

    assert drain(TENANT, limit=50, stop=stop).fetched == 0


# Transactional, since MariaDB's ANALYZE commits.
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_marks_of_a_tenant_that_is_gone_are_in_nobodys_way(database: str) -> None:
    now = aware_now()
    with mirror.writable():
        Conversation.objects.bulk_create(
            Conversation(tenant="gone", relay_id=f"g{number}", marked_at=now, waiting_since=now)
            for number in range(3000)
        )
        Conversation.objects.create(tenant=TENANT, relay_id="c1", marked_at=now, waiting_since=now)
    connection = connections[database]
    table = Conversation._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {table}" if database == "mariadb" else f"ANALYZE {table}")
    with CaptureQueriesContext(connection) as captured:
        [found] = marks.find_marked(TENANT, now_ms=int(now.timestamp() * 1000), limit=20, tickets=False)
    assert found.relay_id == "c1"
    with connection.cursor() as cursor:
        cursor.execute(("EXPLAIN QUERY PLAN " if database == "sqlite" else "EXPLAIN ") + captured[0]["sql"])
        plan = str(cursor.fetchall())
    assert "bloonio_mirror_cv_waiting" in plan, plan
