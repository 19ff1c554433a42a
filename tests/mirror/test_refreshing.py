"""The button "Refresh from the relay": what it fetches, what it says when that fails, and who may press it."""

from __future__ import annotations

import html
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client

from bloonio_chat.mirror import piecewise, rates, refreshing
from bloonio_chat.mirror.models import Conversation, RelayPace, Ticket
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk import operations
from tests.mirror.at_relay import asked, configure, its_time, relay
from tests.mirror.rows import CONVERSATIONS, NOON, TICKETS, conversation, shown, ticket, user

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.mirror.project_urls"),
]
__all__ = ["its_time", "relay"]


def path_of(row: Conversation | Ticket, what: str = "refresh") -> str:
    return f"{CONVERSATIONS if isinstance(row, Conversation) else TICKETS}{row.pk}/{what}/"


def press(client: Client, row: Conversation | Ticket) -> str:
    """Press the button, and return the page that follows."""
    response = client.post(path_of(row), follow=True)
    assert response.redirect_chain == [(path_of(row, "change"), 302)]
    return html.unescape(response.content.decode())


def stubs(relay: SandboxRelay) -> tuple[Conversation, Ticket]:
    """A conversation and a ticket that the relay has, and the mirror knows by their ids alone."""
    theirs = relay.open_conversation("v9", visitor_display_name="Ann Lee")
    relay.escalate(theirs.id)
    relay.say(theirs.id, "Where is my order?")
    (theirs_ticket,) = relay.tickets
    its = conversation(theirs.id, fetched_at=None, visitor_user_id="", marked_at=NOON)
    return its, ticket(theirs_ticket, conversation=its, fetched_at=None, subject="", marked_at=NOON)


def test_a_conversation_is_fetched_with_its_messages_and_tickets(relay: SandboxRelay) -> None:
    its, of_it = stubs(relay)
    text = press(user(), its)
    for part in ("Refreshed from the relay.", "Ann Lee", "Where is my order?"):
        assert part in text
    its.refresh_from_db()
    of_it.refresh_from_db()
    assert its.fetched_at is not None
    assert of_it.fetched_at is not None
    assert (its.marked_at, of_it.marked_at) == (None, None)
    assert asked(relay) == {"fetch_conversation": 1, "list_messages": 1, "fetch_ticket": 1}


def test_its_calls_are_of_the_share_and_wait_for_nothing(relay: SandboxRelay) -> None:
    its, of_it = stubs(relay)
    now_ms = int(aware_now().timestamp() * 1000)
    rates.obey("default", 600, now_ms=now_ms)
    before = RelayPace.objects.get(route="").free_at_ms
    client = user()
    assert "Refreshed from the relay." in press(client, its)
    assert RelayPace.objects.get(route="").free_at_ms == before
    RelayPace.objects.all().delete()
    press(client, its)
    press(client, of_it)
    # Four calls, of five that may be made at once.
    assert rates.look("default", 1, now_ms=int(aware_now().timestamp() * 1000)) == 0
    assert rates.look("default", 2, now_ms=now_ms) > 0


def test_a_ticket_is_fetched(relay: SandboxRelay) -> None:
    _its, of_it = stubs(relay)
    assert "Refreshed from the relay." in press(user(), of_it)
    assert asked(relay) == {"fetch_ticket": 1}


def test_messages_are_not_fetched_where_they_are_not_kept(relay: SandboxRelay, settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    its, _of_it = stubs(relay)
    press(user(), its)
    assert "list_messages" not in asked(relay)


def test_what_the_relay_lacks_is_said_and_the_rest_is_kept(relay: SandboxRelay, settings: Any) -> None:
    with SandboxRelay(missing_operations=["list_messages"], rate_limit_per_min=None) as other:
        configure(settings, other)
        theirs = other.open_conversation("v9", visitor_display_name="Ann Lee")
        its = conversation(theirs.id, fetched_at=None)
        ticket("gone", conversation=its, ticket_number="LOK-404<b>")
        text = press(user(), its)
    assert "does not have, or does not list: messages, ticket LOK-404<b>." in text
    assert "Ann Lee" in text


def test_a_message_that_can_not_be_read_is_said_and_the_others_are_kept(relay: SandboxRelay) -> None:
    its, _of_it = stubs(relay)
    said = relay.say(its.relay_id, "What is it now?")
    relay.messages_of(its.relay_id)[0].role = None  # type: ignore[assignment]  # what no relay should say
    text = press(user(), its)
    assert "does not list: messages." in text
    assert said.content in text


@pytest.mark.parametrize("kind", ["conversation", "ticket"])
def test_an_answer_that_is_another_object_changes_nothing(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = stubs(relay)
    row = rows[0] if kind == "conversation" else rows[1]
    other = relay.escalate(relay.open_conversation("v2").id)
    other_id = {"conversation": other.conversation_id, "ticket": other.ticket_id}[kind]
    operation = getattr(operations, f"fetch_{kind}")
    monkeypatch.setattr(operations, f"fetch_{kind}", lambda relay_id: operation(other_id))
    assert "nothing was changed" in press(user(), row)
    row.refresh_from_db()
    assert row.fetched_at is None
    assert not type(row)._default_manager.filter(relay_id=other_id).exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [("server_error", "503"), ("rate_limit", "429"), ("drop_after", "connection"), ("skew", "clock")],
)
def test_what_goes_wrong_is_said_and_nothing_is_changed(relay: SandboxRelay, fault: str, words: str) -> None:
    its, _of_it = stubs(relay)
    relay.faults.calls.set(fault, probability=1.0, value=3600.0 if fault in ("skew", "rate_limit") else None)
    text = press(user(), its)
    said = text[text.index("nothing was changed") :].partition("</li>")[0]
    assert words in said.lower()
    its.refresh_from_db()
    assert (its.fetched_at, its.marked_at) == (None, NOON)


def test_what_the_relay_has_not_is_said(relay: SandboxRelay) -> None:
    client = user()
    assert "nothing was changed" in press(client, conversation("not-there"))
    assert "nothing was changed" in press(client, ticket("not-there"))


def test_a_relay_that_is_down_or_a_tenant_that_is_gone_is_no_error(settings: Any) -> None:
    settings.BLOONIO_CHAT_MAX_ATTEMPTS = 1
    client = user()
    assert "nothing was changed" in press(client, conversation())
    assert "no tenant 'gone'" in press(client, conversation(tenant="gone"))


def test_an_id_that_no_call_takes_is_no_error() -> None:
    client = user()
    for relay_id in ("\ufffd", " ", "a\nb", "../x"):
        assert "nothing was changed" in press(client, conversation(relay_id))


@pytest.mark.parametrize("kind", ["conversation", "ticket"])
def test_it_has_a_permission_of_its_own(kind: str) -> None:
    row = conversation() if kind == "conversation" else ticket()
    client = user("view_conversation", "view_ticket", "refresh_ticket" if kind == "conversation" else "view_message")
    assert "Refresh from the relay" not in shown(client, path_of(row, "change"))
    assert client.post(path_of(row)).status_code == 403


def test_it_wants_a_post_and_a_token() -> None:
    its = conversation()
    client = user()
    assert client.get(path_of(its)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(path_of(its)).status_code == 403
    assert client.post(f"{CONVERSATIONS}987654321/refresh/").status_code == 404
    assert client.post(f"{CONVERSATIONS}{'9' * 40}/refresh/").status_code == 404


def test_a_database_that_does_not_take_it_is_no_error(relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_batch: object) -> None:
        raise OperationalError("deadlock")

    monkeypatch.setattr(piecewise, "merge", refuse)
    its, _of_it = stubs(relay)
    assert "could not be written just now" in press(user(), its)


def test_nobody_waits_for_the_relay_with_a_transaction_open(
    monkeypatch: pytest.MonkeyPatch, database: str, settings: Any
) -> None:
    its = conversation()
    depths: list[int] = []

    def look(_row: Conversation) -> refreshing.Refreshed:
        depths.append(len(connections["default"].savepoint_ids) + len(connections[database].savepoint_ids))
        return refreshing.Refreshed([])

    monkeypatch.setattr("bloonio_chat.mirror.admin.refresh_conversation", look)
    client = user()
    # The tests' project has ATOMIC_REQUESTS; the test itself is in a transaction that is no savepoint.
    assert connections["default"].settings_dict["ATOMIC_REQUESTS"]
    press(client, its)
    assert depths == [0]


def test_what_no_column_can_hold_is_no_error(relay: SandboxRelay) -> None:
    its, of_it = stubs(relay)
    theirs = relay.conversations[its.relay_id]
    theirs.visitor_display_name = "A\x00nn"
    theirs.metadata = {"k\x00": ["\x00"]}
    relay.tickets[of_it.relay_id].subject = "x\x00y"
    client = user()
    for row in (its, of_it):
        assert "Refreshed from the relay." in press(client, row)
        row.refresh_from_db()
    assert (its.visitor_display_name, of_it.subject) == ("A\ufffdnn", "x\ufffdy")
