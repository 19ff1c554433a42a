"""A database that can't take an event now: 503 and a loud log, never a 500, never a false 200; later it works again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory

from bloonio_chat.inbox import acceptance
from bloonio_chat.inbox.models import InboxEvent
from tests import databases
from tests.callbacks.relay import PREFIX, envelope, signed, written
from tests.inbox.workers import elsewhere

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

TABLE = "bloonio_chat_inbox_inboxevent"
CANARY = "canary-visitor"
BODY = written(envelope(event_id="e1", visitor_user_id=CANARY, extra={"text": CANARY}))


def post_as_a_server_does(body: bytes = BODY) -> tuple[str, dict[str, str]]:
    """Post through the whole of Django, which opens and closes connections around a request; return the answer."""
    request = RequestFactory().post(PREFIX + "message-received", body, "application/json", headers=signed(body))
    answers: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        answers.append((status, dict(headers)))

    response = WSGIHandler()(request.environ, start_response)
    b"".join(response)
    response.close()  # as a server does
    return answers[0]


def assert_refused(caplog: pytest.LogCaptureFixture, *, row: bool = False) -> None:
    """Assert that a callback gets 503 now, with a log that is loud and tells nothing of the event."""
    caplog.clear()
    status, headers = post_as_a_server_does()
    assert status == "503 Service Unavailable"
    assert headers["Retry-After"] == "5"
    loud = [record for record in caplog.records if record.name == "bloonio_chat.inbox"]
    assert loud
    assert all(record.levelno >= logging.ERROR for record in loud)
    told = " ".join(f"{record.getMessage()} {record.exc_text} {record.exc_info}" for record in caplog.records)
    assert CANARY not in told
    assert CANARY.encode().hex() not in told
    assert written(envelope())[:10].hex() not in told


def assert_taken() -> None:
    assert post_as_a_server_does()[0] == "200 OK"
    assert elsewhere(lambda: bytes(InboxEvent.objects.get(visitor_user_id=CANARY).body)) == BODY


def execute(database: str, *statements: str) -> None:
    with connections[database].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def settings_of(database: str, **changes: Any) -> Iterator[None]:
    """Have this thread's connection opened with other settings."""
    connection = connections[database]
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(changes)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextmanager
def nobody_there(database: str) -> Iterator[None]:
    changes = {"NAME": "/nowhere/at/all.sqlite3"} if database == "sqlite" else {"PORT": "1"}
    with settings_of(database, **changes):
        yield


@contextmanager
def wrong_password(database: str) -> Iterator[None]:
    changes = {"USER": "nobody_at_all", "PASSWORD": "no_log_may_show_this"}
    with settings_of(database, **changes):
        yield


@contextmanager
def read_only(database: str) -> Iterator[None]:
    options = dict(connections[database].settings_dict["OPTIONS"])
    on_connect = {
        "sqlite": {**options, "init_command": "PRAGMA query_only=ON;"},
        "postgresql": {**options, "options": "-c default_transaction_read_only=on"},
        "mariadb": {**options, "init_command": "SET SESSION TRANSACTION READ ONLY"},
    }
    with settings_of(database, OPTIONS=on_connect[database]):
        yield


@contextmanager
def locked(database: str) -> Iterator[None]:
    """The table is locked by somebody else, for longer than the project's own time limit."""
    options = dict(connections[database].settings_dict["OPTIONS"])
    short = {
        "sqlite": {**options, "timeout": 0.05},
        "postgresql": {**options, "options": "-c lock_timeout=50ms"},
        "mariadb": {**options, "init_command": "SET SESSION lock_wait_timeout=1, innodb_lock_wait_timeout=1"},
    }
    other = connections[database].copy()
    lock, unlock = {
        "sqlite": ("BEGIN IMMEDIATE", "ROLLBACK"),
        "postgresql": (f"BEGIN; LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE", "ROLLBACK"),
        "mariadb": (f"LOCK TABLES {TABLE} READ", "UNLOCK TABLES"),
    }[database]
    with closing(other), other.cursor() as cursor, settings_of(database, OPTIONS=short[database]):
        cursor.execute(lock)
        yield
        cursor.execute(unlock)


@contextmanager
def altered(database: str, change: str, undo: str) -> Iterator[None]:
    execute(database, f"ALTER TABLE {change}")
    try:
        yield
    finally:
        execute(database, f"ALTER TABLE {undo}")


@contextmanager
def without_table(database: str) -> Iterator[None]:
    with altered(database, f"{TABLE} RENAME TO {TABLE}_away", f"{TABLE}_away RENAME TO {TABLE}"):
        yield


@contextmanager
def without_a_column(database: str) -> Iterator[None]:
    """As after an upgrade whose migrations were not run."""
    with altered(database, f"{TABLE} RENAME COLUMN lane TO lane_away", f"{TABLE} RENAME COLUMN lane_away TO lane"):
        yield


@contextmanager
def with_a_rule_of_somebody_else(database: str) -> Iterator[None]:
    """A constraint that no event meets: PostgreSQL's error then quotes the whole row."""
    change = f"{TABLE} ADD CONSTRAINT nothing_goes CHECK (skew_ms < -99999999) NOT VALID"
    with altered(database, change, f"{TABLE} DROP CONSTRAINT nothing_goes"):
        yield


NOWHERE_ELSE = {wrong_password: ("postgresql", "mariadb"), with_a_rule_of_somebody_else: ("postgresql",)}
UNMIGRATED = (without_table, without_a_column)
OUTAGES = [
    pytest.param(name, outage, id=f"{name}-{outage.__name__}")
    for outage in (nobody_there, wrong_password, read_only, locked, *UNMIGRATED, with_a_rule_of_somebody_else)
    for name in NOWHERE_ELSE.get(outage, databases.NAMES)
]


@pytest.mark.parametrize(("database", "outage"), OUTAGES, indirect=["database"])
def test_the_relay_is_asked_to_come_again(database: str, outage: Any, caplog: pytest.LogCaptureFixture) -> None:
    with outage(database):
        assert_refused(caplog)
        assert_refused(caplog)
    assert elsewhere(InboxEvent.objects.count) == 0
    assert_taken()
    # What mends it is said where it does, and nowhere else.
    assert ("Was manage.py migrate run?" in caplog.text) == (outage in UNMIGRATED)
    # A repeat of what is safe can't be noted without the database either, and must not be lost on the way.
    with outage(database):
        assert_refused(caplog)
    assert_taken()


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_connection_that_the_server_ended_costs_one_503_at_most(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connections[database]
    connection.ensure_connection()
    own, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT connection_id()", "KILL {}"),
    }[database]
    with connection.cursor() as cursor:
        cursor.execute(own)
        number = cursor.fetchone()[0]
    elsewhere(lambda: execute(database, end.format(number)))
    # The project keeps its connections, so Django does not look at this one before the request.
    connection.close_at = None
    assert_refused(caplog)
    assert_taken()


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_column_that_is_too_narrow_is_a_503_and_never_half_a_value(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    # As a new process finds it, whose migrations have yet to run.
    acceptance._widths.cache_clear()
    of_width = {
        "postgresql": TABLE + " ALTER COLUMN visitor_user_id TYPE varchar({})",
        "mariadb": TABLE + " MODIFY visitor_user_id varchar({}) COLLATE utf8mb4_nopad_bin NOT NULL",
    }[database]
    with altered(database, of_width.format(5), of_width.format(255)):
        assert_refused(caplog)
        assert_refused(caplog)
        assert elsewhere(InboxEvent.objects.count) == 0
        fits = written(envelope(visitor_user_id="v1234"))
        assert post_as_a_server_does(fits)[0] == "200 OK"
    # The process learns that the table was mended from the next one that does not fit.
    post_as_a_server_does()
    assert_taken()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_body_that_its_column_does_not_hold_is_a_503(database: str) -> None:
    acceptance._widths.cache_clear()
    with altered(database, f"{TABLE} MODIFY body tinyblob NOT NULL", f"{TABLE} MODIFY body longblob NOT NULL"):
        body = written(envelope(extra={"text": "x" * 300}))
        assert post_as_a_server_does(body)[0] == "503 Service Unavailable"
        assert elsewhere(InboxEvent.objects.count) == 0
    assert post_as_a_server_does(body)[0] == "200 OK"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_row_that_is_passed_over_without_a_reason_is_a_503(database: str, caplog: pytest.LogCaptureFixture) -> None:
    execute(database, f"CREATE TRIGGER skip_it BEFORE INSERT ON {TABLE} BEGIN SELECT RAISE(IGNORE); END")
    try:
        assert_refused(caplog)
        assert "without saying why" in caplog.text
    finally:
        execute(database, "DROP TRIGGER skip_it")
    assert_taken()
