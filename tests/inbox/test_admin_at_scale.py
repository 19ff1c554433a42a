"""The admin's list, the health view and pruning over 100,000 events: how many rows the database reads for a query."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bloonio_chat.admin_paging import LAST_PAGE
from bloonio_chat.inbox.admin_list import PAGE_LENGTH
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.retention import prune
from tests import plans
from tests.inbox.rows import Quiet, add_many, made

pytestmark = [
    # Transactional, since MariaDB's ANALYZE commits.
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.inbox.urls"),
]

LIST = "/admin/bloonio_chat_inbox/inboxevent/"
BASE, COPIES = 1000, 100
TYPES = ("message_received", "message_received", "agent_assigned", "ticket_created")
MOST_READ = PAGE_LENGTH * LAST_PAGE + 500
# By what is asked: how many queries the inbox's tables get.
PAGES = {
    "": 1,
    "?p=50": 1,
    "?p=4000": 1,
    "?state=dead": 1,
    "?state=delivered&p=50": 1,
    "?type=agent_assigned": 1,
    "?type=ticket_resolved": 1,
    "?state=failed&type=ticket_created": 1,
    "?o=7": 1,
    "?q=c777": 4,
    "?q=user-r50-77": 4,
    "?q={newest}": 5,
    "?q=nobody": 3,
}


def fill(database: str) -> None:
    """Write a thousand rows, and have the database copy them."""
    add_many(
        made(
            key=f"r00{number:061}",
            state="dead" if number % 100 == 0 else "failed" if number % 500 == 1 else "delivered",
            event_type=TYPES[number % 4],
            days_ago=8,
            conversation_id=f"c{number}",
            visitor_user_id=f"user-r00-{number // 5}" if number % 4 != 2 else "",
        )
        for number in range(BASE)
    )
    connection, table = connections[database], InboxEvent._meta.db_table
    last = InboxEvent.objects.latest("pk").pk
    columns = [field.column for field in InboxEvent._meta.concrete_fields if not field.primary_key]
    names = ", ".join(connection.ops.quote_name(column) for column in columns if column)
    with connection.cursor() as cursor:
        for copy in range(1, COPIES):
            copied = names
            for column in ("key", "visitor_user_id"):
                name = connection.ops.quote_name(column)
                copied = copied.replace(name, f"REPLACE({name}, 'r00', 'r{copy:02}')")
            # Nothing but names of columns is put together here.
            cursor.execute(f"INSERT INTO {table} ({names}) SELECT {copied} FROM {table} WHERE id <= %s", [last])  # noqa: S608  # as above
        cursor.execute(f"ANALYZE TABLE {table}" if database == "mariadb" else "ANALYZE")


def rows_read(database: str, sql: str) -> int:
    """Return how many rows of the table of events a query reads; on SQLite, which does not tell, none or all."""
    with connections[database].cursor() as cursor:
        if database == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = " ".join(str(row[-1]) for row in cursor.fetchall())
            # Without a condition, it is the table's own order that is followed to the limit.
            is_bad = "SCAN bloonio" in plan and ("WHERE" in sql or "TEMP B-TREE" in plan)
            return BASE * COPIES if is_bad else 0
        return plans.rows_read(database, cursor, sql)[InboxEvent._meta.db_table]


def asked(captured: CaptureQueriesContext) -> list[str]:
    return [entry["sql"] for entry in captured.captured_queries if "inboxevent" in entry["sql"]]


def test_queries_cost_the_same_however_many_events_there_are(settings: Any, database: str) -> None:
    fill(database)
    assert InboxEvent.objects.count() == BASE * COPIES
    with CaptureQueriesContext(connections[database]) as captured:
        assert not list(InboxEvent.objects.filter(attempts=7).values("pk"))
    assert rows_read(database, captured[0]["sql"]) == BASE * COPIES, "what reads all is not seen"
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    newest = InboxEvent.objects.latest("pk").pk
    for pattern, count in PAGES.items():
        query = pattern.format(newest=newest)
        with CaptureQueriesContext(connections[database]) as captured:
            assert client.get(LIST + query).status_code == 200
        assert len(asked(captured)) == count, (query, asked(captured))
        for sql in asked(captured):
            assert "COUNT(" not in sql.upper(), query
            assert "body" not in sql.partition("WHERE")[0], query
            assert rows_read(database, sql) <= MOST_READ, (query, sql)
    with CaptureQueriesContext(connections[database]) as captured:
        client.get("/health/")
    assert len(asked(captured)) == 8
    for sql in asked(captured):
        assert rows_read(database, sql) <= MOST_READ, sql
    settings.BLOONIO_CHAT_INBOX_RETENTION_DAYS = 7
    with CaptureQueriesContext(connections[database]) as captured:
        assert prune(True, Quiet())["erased_bodies"] == BASE * COPIES - 200
    # One of each state's is enough: the last is the deepest.
    deepest = {sql.partition(" AND ")[0]: sql for sql in asked(captured)}
    assert len(deepest) == 3
    for sql in deepest.values():
        assert rows_read(database, sql) <= MOST_READ, sql
