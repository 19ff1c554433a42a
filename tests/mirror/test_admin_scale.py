"""What keeps lists quick at any size: each database uses an index for every search and filter of the admin."""

from __future__ import annotations

import re
from typing import Any

import django
import pytest
from django.db import connections
from django.db.models import Q

from bloonio_chat.mirror.admin_search import begins_with
from bloonio_chat.mirror.models import Conversation, Ticket
from tests.mirror.rows import conversations

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


def plan_of(queryset: Any, alias: str) -> str:
    """How the database would answer, if the table were too large to be read."""
    if alias == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    return str(queryset.using(alias).explain())


def uses(plan: str, alias: str, *, table: str) -> bool:
    """Whether a plan goes by an index that it enters at the right place, instead of reading all of it, or the table."""
    if alias == "postgresql":
        return "Seq Scan" not in plan and (
            "Index Cond" in plan or re.search(r"Index Scan (Backward )?using", plan) is not None
        )
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
    assert uses(plan, database, table=model._meta.db_table), plan
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


@pytest.mark.parametrize(("model", "condition"), FILTERS, ids=str)
def test_a_filtered_list_is_read_from_an_index(database: str, model: Any, condition: Q) -> None:
    if database == "sqlite" and django.VERSION < (6, 0) and condition in BY_OPEN_ALONE:
        pytest.skip("Django 5.2 asks SQLite for WHERE is_open, without = 1, for which SQLite takes no index")
    conversations(300)
    rows = model.objects.filter(condition).order_by("-updated_at", "-pk")[:51]
    plan = plan_of(rows, database)
    assert uses(plan, database, table=model._meta.db_table), plan


@pytest.mark.parametrize(("model", "condition"), IDS, ids=str)
def test_an_id_is_found_by_an_index(database: str, model: Any, condition: Q) -> None:
    conversations(300)
    plan = plan_of(model.objects.filter(condition).values("pk")[:501], database)
    assert uses(plan, database, table=model._meta.db_table), plan
