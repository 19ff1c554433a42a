"""What people ask the mirror's tables, on each database."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from bloonio_chat import mirror
from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import Conversation, ForgottenVisitor, Message, Ticket, visitor_digest
from bloonio_chat.mirror.projection import merge, project
from bloonio_chat.mirror.times import aware_now
from tests.mirror.happenings import NOON, TENANT, at, envelope, message, takeover, ticket

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]

ABOUT: dict[str, Any] = {"conversation_id": "c1", "visitor_user_id": "v1"}


@pytest.fixture(autouse=True)
def _writable() -> Any:
    with mirror.writable():
        yield


def make_conversation(relay_id: str, **fields: Any) -> Conversation:
    row: Conversation = Conversation.objects.create(tenant=TENANT, relay_id=relay_id, **fields)
    return row


def make_ticket(relay_id: str, **fields: Any) -> Ticket:
    row: Ticket = Ticket.objects.create(tenant=TENANT, relay_id=relay_id, **fields)
    return row


def ids(rows: Any) -> set[str]:
    return set(rows.values_list("relay_id", flat=True))


# ---- managers --------------------------------------------------------------------------------------------------


def test_a_visitor_is_found_by_the_whole_id() -> None:
    make_conversation("c1", visitor_user_id="v1")
    for other in ("v10", "V1", "v1 ", " v1", ""):
        make_conversation(f"c of {other!r}", visitor_user_id=other)
    Conversation.objects.create(tenant="shop-b", relay_id="c1", visitor_user_id="v1")
    assert ids(Conversation.objects.for_visitor("v1")) == {"c1"}
    assert Conversation.objects.for_visitor("v1", tenant="shop-b").get().tenant == "shop-b"
    make_ticket("t1", user_id="v1")
    make_ticket("t2", user_id="V1")
    assert ids(Ticket.objects.for_visitor("v1")) == {"t1"}
    first = Conversation.objects.get(tenant=TENANT, relay_id="c1")
    Message.objects.create(tenant=TENANT, relay_id="m1", conversation=first)
    assert ids(Message.objects.for_visitor("v1")) == {"m1"}
    assert not Message.objects.for_visitor("V1").exists()


def test_ids_are_compared_character_by_character() -> None:
    for relay_id in ("abc", "ABC", "abc ", "äbc", "abç"):
        make_conversation(relay_id)
    assert Conversation.objects.filter(relay_id="abc").count() == 1
    assert Conversation.objects.count() == 5


def test_what_is_open() -> None:
    for status in ("active", "closed", "parked", ""):
        make_conversation(f"c {status}", status=status)
    make_conversation("forgotten", forgotten_at=NOON)
    assert ids(Conversation.objects.open()) == {"c active", "c parked", "c "}
    for status in ("open", "waiting_on_user", "reopened", "on_hold", "resolved", "closed"):
        make_ticket(f"t {status}", status=status)
    make_ticket("forgotten", status="open", forgotten_at=NOON)
    assert ids(Ticket.objects.open()) == {"t open", "t waiting_on_user", "t reopened", "t on_hold"}


def test_a_row_that_is_closed_later_is_open_no_more() -> None:
    row = make_ticket("t1", status="open")
    row.status = "closed"
    row.save()
    assert not Ticket.objects.open().exists()
    assert Ticket.objects.get().is_open is False


def test_what_is_overdue() -> None:
    past, future = aware_now() - timedelta(minutes=1), aware_now() + timedelta(minutes=1)
    make_ticket("late", status="assigned", sla_due_at=past)
    make_ticket("in time", status="assigned", sla_due_at=future)
    make_ticket("no limit", status="assigned")
    make_ticket("done", status="resolved", sla_due_at=past)
    assert ids(Ticket.objects.overdue()) == {"late"}


def test_what_awaits_an_agent() -> None:
    make_conversation("waits", agent_status="WAITING", status="active")
    make_conversation("taken", agent_status="ASSIGNED", status="active")
    make_conversation("with the bot", status="active")
    make_conversation("closed", agent_status="WAITING", status="closed")
    assert ids(Conversation.objects.awaiting_agent()) == {"waits"}
    make_ticket("waits", status="open")
    make_ticket("taken", status="assigned", assignee_user_id="op1")
    make_ticket("closed", status="closed")
    assert ids(Ticket.objects.awaiting_agent()) == {"waits"}


def test_queries_can_be_joined(database: str) -> None:
    row = make_conversation("c1", visitor_user_id="v1", agent_status="WAITING")
    assert Conversation.objects.for_visitor("v1").awaiting_agent().open().get() == row
    assert Conversation.objects.using(database).open().for_visitor("v1").exists()
    make_ticket("t1", conversation=row, status="open")
    assert row.tickets.open().count() == 1


# ---- columns ---------------------------------------------------------------------------------------------------


def test_new_values_and_long_texts_are_no_error() -> None:
    emojis = "🙂" * 255
    merge(
        [
            Fetched(TENANT, message(emojis, emojis, role="r" * 300, content="x" * 200_000), NOON),
            Fetched(
                TENANT,
                ticket(
                    emojis,
                    status="s" * 300,
                    priority="p" * 300,
                    user_id=emojis,
                    subject="ß" * 100_000,
                    assignee_user_id=emojis,
                    escalation_id=emojis,
                    tags=["🙂"] * 1000,
                    conversation_id=emojis,
                ),
                NOON,
            ),
        ]
    )
    about = {"conversation_id": emojis, "visitor_user_id": emojis, "escalation_id": emojis}
    events = [
        envelope("escalation-triggered", NOON, escalation_reason="r" * 400, **about),
        takeover("agent-assigned", conversation_id=emojis, operator_id=emojis, status="T" * 300, claim_count=2**63 - 1),
    ]
    project([Projectable(TENANT, event) for event in events])
    row = Conversation.objects.get()
    assert (row.relay_id, row.visitor_user_id, row.operator_id, row.claim_count) == (emojis, emojis, emojis, 2**63 - 1)
    assert row.agent_status == "T" * 255
    assert Message.objects.get().content == "x" * 200_000
    assert (Ticket.objects.get().subject, Ticket.objects.get().status) == ("ß" * 100_000, "s" * 255)
    assert Ticket.objects.get().is_open


@pytest.mark.parametrize("year", [2, 1969, 9998])
def test_odd_times_are_no_error(year: int) -> None:
    time = at(0).replace(year=year)
    project([Projectable(TENANT, envelope("conversation-started", time, **ABOUT))])
    assert Conversation.objects.get().created_at == time


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_are_aware_and_right_without_time_zones_too(settings: Any, zone: str) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = zone
    project([Projectable(TENANT, envelope("conversation-started", NOON, **ABOUT))])
    merge([Fetched(TENANT, ticket(sla_due_at=at(60)), aware_now())])
    row = Conversation.objects.get()
    assert row.created_at == NOON
    assert row.created_at.tzinfo is not None
    assert row.synced_at.tzinfo is not None
    assert Conversation.objects.filter(created_at=NOON, updated_at__lt=at(1)).exists()
    assert ids(Ticket.objects.overdue()) == {"t1"}
    project([Projectable(TENANT, envelope("message-received", at(5), message_id="m1", **ABOUT))])
    assert Conversation.objects.get().updated_at == at(5)


def test_a_visitors_digest_is_keyed_and_short(settings: Any) -> None:
    digest = visitor_digest(TENANT, "v1")
    assert re.fullmatch("[0-9a-f]{40}", digest)
    assert len({digest, visitor_digest(TENANT, "v2"), visitor_digest("shop-b", "v1")}) == 3
    settings.SECRET_KEY = "another"
    assert visitor_digest(TENANT, "v1") != digest
    row = ForgottenVisitor.objects.create(tenant=TENANT, digest=digest, forgotten_at=NOON)
    assert str(row) == f"somebody of {TENANT}"


def test_rows_say_who_they_are() -> None:
    assert str(make_conversation("c1")) == "c1"


def test_there_is_an_index_for_each_question(database: str) -> None:
    """As the database has them: by the columns that an index begins with."""
    wanted = {
        Conversation: [
            "tenant relay_id",
            "visitor_user_id",
            "tenant waiting_since",
            "updated_at",
            "created_at",
            "is_open updated_at",
            "status updated_at",
            "agent_status updated_at",
            "operator_id updated_at",
        ],
        Message: ["tenant relay_id", "conversation_id created_at"],
        Ticket: [
            "tenant relay_id",
            "ticket_number",
            "user_id",
            "conversation_id",
            "tenant waiting_since",
            "updated_at",
            "created_at",
            "is_open sla_due_at",
            "is_open updated_at",
            "status updated_at",
            "priority updated_at",
            "assignee_user_id updated_at",
        ],
    }
    connection = connections[database]
    for model, all_columns in wanted.items():
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, model._meta.db_table)
        indexed = {" ".join(each["columns"]) for each in found.values() if each["index"] or each["unique"]}
        assert set(all_columns) <= indexed


# ---- timeline --------------------------------------------------------------------------------------------------


def _live_through() -> Conversation:
    events = [
        envelope("conversation-started", at(0), **ABOUT),
        envelope("message-received", at(1), message_id="m1", **ABOUT),
        envelope("escalation-triggered", at(3), escalation_id="e1", escalation_reason="user_request", **ABOUT),
        envelope("ticket-created", at(3), ticket_id="t1", ticket_number="LOK-1", **ABOUT),
        takeover("agent-assigned", at(4), conversation_id="c1", operator_id="op1", operator_display_name="Ann"),
        envelope("ticket-assigned", at(4), ticket_id="t1", agent_user_id="op1", **ABOUT),
        takeover("agent-released", at(6), conversation_id="c1", operator_id="op1"),
        takeover("agent-resolved", at(8), conversation_id="c1", operator_id="op2"),
        envelope("something-new", at(9), **ABOUT),
    ]
    project([Projectable(TENANT, event) for event in reversed(events)])
    merge(
        [
            Fetched(TENANT, message("m2", role="bot", created_at=at(2), content="Hello"), NOON),
            Fetched(TENANT, message("m3", role="agent", created_at=at(5), content="I am Ann"), NOON),
            Fetched(TENANT, ticket("t1", at(8), status="resolved", resolved_at=at(8), conversation_id="c1"), NOON),
            Fetched(TENANT, ticket("t2", at(7), created_at=at(7), conversation_id="c1"), NOON),
        ]
    )
    row: Conversation = Conversation.objects.get()
    return row


def test_a_timeline_has_all_in_its_order(database: str) -> None:
    row = _live_through()
    with CaptureQueriesContext(connections[database]) as queries:
        entries = row.timeline()
    assert len(queries) == 2
    assert [(entry.kind, (entry.at - NOON).total_seconds()) for entry in entries] == [
        ("conversation_started", 0),
        ("message_received", 1),
        ("message_received", 2),
        ("escalation_triggered", 3),
        ("ticket_created", 3),
        ("agent_assigned", 4),
        ("ticket_assigned", 4),
        ("message_received", 5),
        ("agent_released", 6),
        ("ticket_created", 7),
        ("agent_resolved", 8),
        ("ticket_resolved", 8),
    ]
    assert [entry.message.role for entry in entries if entry.message] == ["visitor", "bot", "agent"]
    assert [entry.ticket.relay_id for entry in entries if entry.ticket] == ["t1", "t1", "t2", "t1"]
    by_kind = {entry.kind: entry for entry in entries}
    assert by_kind["escalation_triggered"].reason == "user_request"
    assert by_kind["agent_released"].operator_display_name == "Ann"
    assert by_kind["ticket_assigned"].operator_display_name == "Ann"
    assert (by_kind["agent_resolved"].operator_id, by_kind["agent_resolved"].operator_display_name) == ("op2", "")


def test_a_timeline_of_much_takes_no_more_queries(database: str) -> None:
    row = _live_through()
    many = [envelope("message-received", at(n), message_id=f"n{n}", **ABOUT) for n in range(100)]
    project([Projectable(TENANT, event) for event in many])
    with CaptureQueriesContext(connections[database]) as queries:
        entries = row.timeline()
        assert all(entry.message is None or entry.message.relay_id for entry in entries)
    assert len(queries) == 2
    assert len(entries) == 112
    times: list[datetime] = [entry.at for entry in entries]
    assert times == sorted(times)


def test_a_stub_has_a_timeline_too() -> None:
    assert make_conversation("c9").timeline() == []
