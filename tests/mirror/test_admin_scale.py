"""What keeps lists quick at any size: each database uses an index for every search and filter of the admin."""

from __future__ import annotations

import re
from typing import Any

import django
import pytest
from django.contrib.admin import site
from django.db import connections
from django.db.models import Q
from django.test import RequestFactory

from bloonio_chat import mirror
from bloonio_chat.mirror import admin_filters
from bloonio_chat.mirror.admin_filters import AssigneeFilter, ConversationOperatorFilter
from bloonio_chat.mirror.admin_search import begins_with
from bloonio_chat.mirror.models import Conversation, Ticket
from tests.mirror.rows import at, conversations, statements
from tests.mirror.test_retention_at_scale import rows_read

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


def plan_of(queryset: Any, alias: str) -> str:
    """How the database would answer, if the table were too large to be read."""
    if alias == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            # As of a table that was never looked at: autovacuum may have seen it empty, and told the planner so.
            cursor.execute(
                "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = %(table)s::regclass"
                " OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %(table)s::regclass)",
                {"table": queryset.model._meta.db_table},
            )
    return str(queryset.using(alias).explain())


def uses(plan: str, alias: str, *, table: str, column: str) -> bool:
    """Whether a plan goes by an index that it enters at the right place, instead of reading all of it, or the table.

    PostgreSQL says of which column that is the place.
    """
    if alias == "postgresql":
        return "Seq Scan" not in plan and re.search(rf"Index Cond: .*\b{column}\b", plan) is not None
    if alias == "mariadb":
        return re.search(r"\b(ref|range|const|eq_ref)\b", plan) is not None
    return f"SEARCH {table} USING" in plan


@pytest.mark.parametrize(
    ("model", "name"), [(Conversation, "visitor_user_id"), (Ticket, "user_id"), (Ticket, "ticket_number")]
)
def test_a_beginning_is_found_by_an_index(database: str, model: Any, name: str) -> None:
    conversations(300)
    rows = model.objects.filter(begins_with(name, "visitor-0001", connections[database].vendor))
    plan = plan_of(rows.values("pk"), database)
    assert uses(plan, database, table=model._meta.db_table, column=name), plan
    if database == "postgresql":
        # The whole condition, and not a filter on rows that were read for it.
        assert re.search(rf"Index Cond: .*{name}.*~>=~", plan), plan


FILTERS = [
    (Conversation, Q(status="closed")),
    (Conversation, Q(agent_status="WAITING", is_open=True)),
    (Conversation, Q(agent_status="RESOLVED")),
    (Conversation, Q(operator_id="op-7")),
    (Conversation, Q(channel="video")),
    (Conversation, Q(tenant="shop-b")),
    (Ticket, Q(status="open")),
    (Ticket, Q(is_open=True)),
    (Ticket, Q(is_open=True) & ~Q(assignee_user_id="")),
    (Ticket, Q(priority="p1")),
    (Ticket, Q(assignee_user_id="op")),
    (Ticket, Q(tenant="shop-b")),
]
BY_OPEN_ALONE = [Q(is_open=True), Q(is_open=True) & ~Q(assignee_user_id="")]
IDS = [
    (Conversation, Q(tenant__in=["default", "shop-b"], relay_id="c1")),
    (Conversation, Q(visitor_user_id__in=["v1"])),
    (Ticket, Q(tenant__in=["default", "shop-b"], relay_id="c1")),
    (Ticket, Q(ticket_number__in=["LOK-1", "lok-1"])),
    (Ticket, Q(user_id__in=["v1"])),
]


def column_of(condition: Q) -> str:
    """The first of the columns that a condition names."""
    first = condition.children[0]
    assert isinstance(first, tuple)
    return str(first[0]).removesuffix("__in")


@pytest.mark.parametrize(("model", "condition"), FILTERS, ids=str)
def test_a_filtered_list_is_read_from_an_index(database: str, model: Any, condition: Q) -> None:
    if database == "sqlite" and django.VERSION < (6, 0) and condition in BY_OPEN_ALONE:
        pytest.skip("Django 5.2 asks SQLite for WHERE is_open, without = 1, for which SQLite takes no index")
    conversations(300)
    rows = model.objects.filter(condition).order_by("-updated_at", "-pk")[:51]
    plan = plan_of(rows, database)
    assert uses(plan, database, table=model._meta.db_table, column=column_of(condition)), plan


def test_a_list_that_is_read_to_its_end_is_told_apart(database: str) -> None:
    """No index has the column, so that one is read in the order of the list, row after row."""
    conversations(300)
    plan = plan_of(Conversation.objects.filter(locale="xx").order_by("-updated_at", "-pk")[:51], database)
    assert not uses(plan, database, table=Conversation._meta.db_table, column="locale"), plan


@pytest.mark.parametrize(("model", "condition"), IDS, ids=str)
def test_an_id_is_found_by_an_index(database: str, model: Any, condition: Q) -> None:
    conversations(300)
    plan = plan_of(model.objects.filter(condition).values("pk")[:501], database)
    assert uses(plan, database, table=model._meta.db_table, column=column_of(condition)), plan


@pytest.mark.parametrize(
    ("model", "its_filter"), [(Ticket, AssigneeFilter), (Conversation, ConversationOperatorFilter)], ids=str
)
def test_operators_are_looked_for_among_a_few_though_nobody_has_taken_any(
    database: str, model: Any, its_filter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 2000
    monkeypatch.setattr(admin_filters, "NEWEST", 50)
    conversations(many, operator_id="")
    with mirror.writable():
        Ticket.objects.bulk_create(
            Ticket(tenant="default", relay_id=f"t{number}", updated_at=at(number)) for number in range(many)
        )
    connection = connections[database]
    if database == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    with statements(database) as asked:
        choices = its_filter(RequestFactory().get("/"), {}, model, site._registry[model]).lookup_choices
    assert [value for value, _ in choices] == [""]
    (sql,) = asked.texts
    assert its_filter.column not in sql.partition("WHERE")[2]
    if database != "sqlite":
        with connection.cursor() as cursor:
            assert rows_read(database, cursor, sql, None)[model._meta.db_table] == 50, sql
