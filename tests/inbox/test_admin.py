"""The inbox in the admin: what it shows and to whom, and what can be done there."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import admin as inbox_admin
from bloonio_chat.inbox import admin_list, admin_page, interventions
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox.clock import read_clock
from bloonio_chat.inbox.lanes import lane_of
from bloonio_chat.inbox.models import InboxEvent
from tests.inbox.rows import add, add_many, add_receipt, made
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.inbox.urls"),
]

LIST = "/admin/bloonio_chat_inbox/inboxevent/"


def user(*permissions: str) -> Client:
    """A member of the staff with these permissions; with none named, one who may do all."""
    someone = User.objects.create_user("someone", is_staff=True, is_superuser=not permissions)
    someone.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(someone)
    return client


def listed(client: Client, query: str = "") -> list[int]:
    """The numbers of the events that the list shows."""
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return [int(number) for number in re.findall(r'name="_selected_action" value="(\d+)"', response.content.decode())]


def page(client: Client, event: InboxEvent) -> str:
    response = client.get(f"{LIST}{event.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def act(client: Client, action: str, events: Sequence[InboxEvent], query: str = "", **fields: Any) -> str:
    """Run an action on selected events, and return the page that follows."""
    chosen = [event.pk for event in events]
    data = {"action": action, "index": 0, "_selected_action": chosen, **fields}
    return client.post(LIST + query, data, follow=True).content.decode()


def press(client: Client, button: str, event: InboxEvent) -> str:
    response = client.post(f"{LIST}{event.pk}/{button}/", follow=True)
    assert response.redirect_chain == [(f"{LIST}{event.pk}/change/", 302)]
    return response.content.decode()


def state(event: InboxEvent) -> str:
    event.refresh_from_db()
    return event.state


# ---- the list ----------------------------------------------------------------------------------------------------


def test_the_list_shows_the_newest_first_and_the_beginning_of_the_error() -> None:
    first = add(state="dead", last_error="ValueError: <b>no</b> " + "x" * 500)
    second = add(conversation_id="c" * 60)
    client = user()
    assert listed(client) == [second.pk, first.pk]
    shown = client.get(LIST).content.decode()
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in shown
    assert "x" * 80 not in shown
    assert "c" * 60 not in shown


def test_the_list_filters_by_state_and_type_and_by_nothing_else() -> None:
    dead, ticket = add(state="dead"), add(event_type="ticket_created")
    client = user()
    assert listed(client, "?state=dead") == [dead.pk]
    assert listed(client, "?type=ticket_created") == [ticket.pk]
    assert listed(client, "?state=dead&type=ticket_created") == []
    assert listed(client, "?state=nonsense%00") == [ticket.pk, dead.pk]
    for query in ("?tenant=default", "?last_error__icontains=x", "?body__contains=x", "?receipts__succeeded=1"):
        assert client.get(LIST + query).status_code == 400, query


def test_the_search_takes_the_whole_of_an_id(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    one = add(conversation_id="c-1", visitor_user_id="user-1")
    two = add(conversation_id="c-11", visitor_user_id="user-11")
    other = add(
        conversation_id="c-2",
        lane=lane_of(OTHER_TENANT_ID, "c-2", ""),
        visitor_user_id=str(one.pk),
    )
    client = user()
    for term, found in {
        "c-1": [one],
        " c-11 ": [two],
        "c-2": [other],
        "user-1": [one],
        "user-11": [two],
        one.key: [one],
        str(one.pk): [other, one],
        str(two.pk): [two],
        "c-": [],
        "user": [],
        "USER-1": [],
        "9" * 400: [],
        "\u0661": [],
        "💬\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"): [],
    }.items():
        assert listed(client, f"?q={html.escape(term).replace(' ', '+')}") == [event.pk for event in found], term
    assert listed(client, "?q=c-1&state=dead") == []
    assert client.get(LIST, {"q": "a\x00b"}).status_code == 200


def test_the_search_works_without_a_valid_configuration(settings: Any) -> None:
    event = add(visitor_user_id="user-1")
    client = user()
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    assert listed(client, "?q=user-1") == [event.pk]


def test_a_search_that_finds_too_much_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_list, "MOST_FOUND", 3)
    events = [add() for _ in range(5)]
    client = user()
    assert listed(client, "?q=c1") == [event.pk for event in reversed(events[2:])]
    assert "Only the newest" in client.get(LIST, {"q": "c1"}).content.decode()
    assert "Only the newest" not in client.get(LIST, {"q": str(events[0].pk)}).content.decode()


def test_autocompletion_leaves_no_warnings_for_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_list, "MOST_FOUND", 3)
    for _ in range(5):
        add()
    client = user()
    path = "/admin/autocomplete/?app_label=bloonio_chat_inbox&model_name=inboxreceipt&field_name=event&term=c1"
    assert len(client.get(path).json()["results"]) == 3
    assert "Only the newest" not in client.get(LIST).content.decode()


def test_pages_end_where_the_list_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_admin.InboxEventAdmin, "list_per_page", 2)
    monkeypatch.setattr(admin_list.EventList, "last_page", 2)
    ids = [add().pk for _ in range(5)]
    client = user()
    for query, shown in {"": ids[3:], "?p=1": ids[3:], "?p=2": ids[1:3], "?p=3": ids[1:3], "?p=-4": ids[3:]}.items():
        assert listed(client, query) == shown[::-1], query
    assert listed(client, "?p=x") == ids[:2:-1]
    first, second = (client.get(LIST, {"p": number, "state": "delivered"}).content.decode() for number in (1, 2))
    assert 'href="?p=2&amp;state=delivered" rel="next"' in first
    assert 'rel="prev"' not in first
    assert 'href="?p=1&amp;state=delivered" rel="prev"' in second
    assert 'rel="next"' not in second
    assert "The list ends at the newest" in second
    assert "The list ends at the newest" not in first


def test_the_end_of_the_list_has_no_older_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_admin.InboxEventAdmin, "list_per_page", 2)
    events = [add() for _ in range(4)]
    client = user()
    assert listed(client, "?p=2") == [events[1].pk, events[0].pk]
    assert 'rel="next"' not in client.get(LIST, {"p": 2}).content.decode()
    assert listed(client, "?p=3") == []


def test_autocompletion_counts_not_further_than_its_pages(database: str) -> None:
    event, *_ = [add() for _ in range(21)]
    client = user()
    path = "/admin/autocomplete/?app_label=bloonio_chat_inbox&model_name=inboxreceipt&field_name=event&term="
    with CaptureQueriesContext(connections[database]) as asked:
        assert client.get(path).json()["pagination"] == {"more": True}
    counting = [query["sql"] for query in asked.captured_queries if "COUNT(" in query["sql"]]
    assert all("LIMIT 1000" in sql for sql in counting)
    assert [each["id"] for each in client.get(f"{path}{event.pk}").json()["results"]] == [str(event.pk)]
    assert client.get(f"{path}%00").json()["results"] == []


@pytest.mark.parametrize("query", ["?o=1", "?o=-2.3", "?all=", "?_facets=True", "?e=1", "?_to_field=id", "?_popup=1"])
def test_parameters_of_the_admins_own_do_no_harm(query: str) -> None:
    ids = [add().pk for _ in range(2)]
    client = user()
    response = client.get(LIST + query)
    assert response.status_code == 200
    assert [row.pk for row in response.context["cl"].result_list] == ids[::-1]


def test_nobody_sees_it_without_the_permission() -> None:
    event = add()
    assert Client().get(LIST).status_code == 302
    client = user("retry_inboxevent")
    assert client.get(LIST).status_code == 403
    assert client.get(f"{LIST}{event.pk}/change/").status_code == 403


def test_nothing_is_added_changed_or_deleted() -> None:
    event = add()
    client = user()
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{event.pk}/change/", {"state": "dead"}).status_code == 403
    assert client.post(f"{LIST}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in client.get(LIST).content.decode()
    assert state(event) == "delivered"


# ---- the page of one event ---------------------------------------------------------------------------------------


def test_a_page_shows_the_event_and_hides_the_signature() -> None:
    event = add(
        state="failed",
        attempts=3,
        last_error="ValueError: <i>no</i>",
        skew_ms=-1500,
        body=b'{"extra":{"note":"O\xc3\xb9 ? <script>alert(1)</script>","n":[1,2]}}',
    )
    shown = page(user(), event)
    assert "ValueError: &lt;i&gt;no&lt;/i&gt;" in shown
    assert "1.5 s before the signed timestamp" in shown
    assert "X-Bloonio-Timestamp: 1700000000000" in shown
    assert f"X-Bloonio-Signature: {event.signature[:6]}…" in shown
    assert event.signature not in shown
    assert html.escape('  "extra": {\n    "note": "Où ? <script>alert(1)</script>",\n    "n": [\n      1,') in shown
    assert "<script>alert" not in shown
    assert "No receiver has been called yet" in shown


def test_a_page_shows_the_ledger_failures_first() -> None:
    event = add(state="failed")
    add_receipt(event, "message_received:a.good")
    add_receipt(event, "message_received:b.bad", "KeyError: <u>")
    shown = page(user(), event)
    assert shown.index("b.bad") < shown.index("a.good")
    assert "KeyError: &lt;u&gt;" in shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "(empty)"),
        (b"not JSON \xff", "not JSON \\xff"),
        (b'{"n": ' + b"9" * 5000 + b"}", '{"n": 999'),
        (b"[" * 100_000, "[[["),
        (b'"\\ud800"', '"\\ud800"'),
        (b'"\\u0000"', '"\\u0000"'),
        ('"\u202etxt.exe"'.encode(), '"\\u202etxt.exe"'),
        (b'{"n": NaN}', '"n": NaN'),
    ],
)
def test_any_body_can_be_shown(body: bytes, shown: str) -> None:
    event = add(body=body)
    assert html.escape(shown) in page(user(), event)


def test_a_large_body_is_cut_off() -> None:
    nested = b"[" * 150 + b"1" + b",[2]" * 60_000 + b"]" * 150
    event = made(body=nested)
    text = admin_page.body_of(event)
    assert len(text) < admin_page.LONGEST_BODY + 100
    assert f"{len(nested):,} bytes in all" in text


def test_an_erased_event_says_so_and_can_not_be_retried() -> None:
    event = add(state="dead", body=b"", signature="", erased_at="2026-01-01T00:00:00Z")
    client = user()
    shown = page(client, event)
    assert shown.count("(erased)") == 2
    assert 'value="Retry"' not in shown
    assert "Nothing was changed" in press(client, "retry", event)
    assert state(event) == "dead"


def test_a_page_links_to_the_conversation_where_another_room_has_it() -> None:
    event = add(conversation_id="c 1")
    client = user()
    assert "/mirror/" not in page(client, event)
    assert f'href="{LIST}?q=c%201"' in page(client, event)
    ports.links["bloonio_chat_mirror"] = lambda tenant, conversation: f"/mirror/{tenant}/{conversation}"
    ports.links["nothing"] = lambda tenant, conversation: None
    assert 'href="/mirror/default/c 1"' in page(client, event)
    assert "/mirror/" not in page(client, add(conversation_id=""))


def test_an_event_that_is_not_there_leads_back() -> None:
    client = user()
    assert client.get(f"{LIST}4711/change/").status_code == 302
    assert client.get(f"{LIST}x/change/").status_code == 302
    for button in ("retry", "bury"):
        assert client.post(f"{LIST}4711/{button}/").status_code == 404
        assert client.post(f"{LIST}{10**30}/{button}/").status_code == 404


def test_the_rooms_own_link_leads_to_the_conversations_events(settings: Any) -> None:
    event, _ = add(conversation_id="c 1&x"), add(conversation_id="c2")
    link = ports.links["bloonio_chat_inbox"]
    url = link("default", "c 1&x")
    assert url is not None
    assert listed(user(), url.removeprefix(LIST)) == [event.pk]
    assert link("default", "c3") is None
    assert link("default", "") is None
    assert link("nobody", "c2") is None
    settings.BLOONIO_CHAT_TENANT_ID = "wrong"
    assert link("default", "c2") is None


@pytest.mark.urls("tests.urls")
def test_without_the_admin_there_is_no_link() -> None:
    add(conversation_id="c1")
    assert ports.links["bloonio_chat_inbox"]("default", "c1") is None


# ---- retry and bury ----------------------------------------------------------------------------------------------


def test_a_dead_event_is_retried_with_the_button() -> None:
    event = add(state="dead", attempts=10)
    client = user()
    assert 'value="Retry"' in page(client, event)
    assert "1 event is due again." in press(client, "retry", event)
    assert state(event) == "failed"
    assert (event.attempts, event.due_ms is not None, event.finished_at) == (0, True, None)
    (entry,) = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (str(event.pk), "Due again.")


def test_the_button_has_the_runner_deliver_once_it_is_committed(
    monkeypatch: pytest.MonkeyPatch, database: str, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[str] = []
    monkeypatch.setattr(inbox_admin, "hand_over", told.append)
    event = add(state="dead")
    with django_capture_on_commit_callbacks(using=database) as waiting:
        press(user(), "retry", event)
    assert told == []
    for callback in waiting:
        callback()
    assert told == [event.lane]


@pytest.mark.parametrize("before", ["failed", "dead"])
def test_an_event_is_buried_with_the_button(before: str) -> None:
    event = add(state=before)
    client = user()
    assert 'value="Bury"' in page(client, event)
    assert "1 event is buried." in press(client, "bury", event)
    assert state(event) == "buried"
    assert event.due_ms is None
    assert 'value="Bury"' not in page(client, event)
    assert 'value="Retry"' in page(client, event)
    assert "Nothing was changed" in press(client, "bury", event)


def test_each_has_its_own_permission() -> None:
    events = {kind: add(state=kind) for kind in ("failed", "dead")}
    client = user("view_inboxevent", "bury_inboxevent")
    assert 'value="Retry"' not in page(client, events["failed"])
    assert 'value="Bury"' in page(client, events["failed"])
    assert client.post(f"{LIST}{events['dead'].pk}/retry/").status_code == 403
    offered = client.get(LIST).content.decode()
    assert '<option value="bury">' in offered
    assert '<option value="retry">' not in offered
    act(client, "retry", [events["dead"]])
    assert state(events["dead"]) == "dead"
    User.objects.all().delete()
    client = user("view_inboxevent", "retry_inboxevent")
    assert client.post(f"{LIST}{events['failed'].pk}/bury/").status_code == 403
    assert state(events["failed"]) == "failed"
    User.objects.all().delete()
    client = user("view_inboxevent")
    assert "<option" not in client.get(LIST).content.decode()


def test_a_button_is_a_post_with_a_token() -> None:
    event = add(state="dead")
    client = user()
    assert client.get(f"{LIST}{event.pk}/retry/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert strict.post(f"{LIST}{event.pk}/retry/").status_code == 403
    assert state(event) == "dead"


def test_selected_events_are_retried_some_at_a_time(database: str) -> None:
    dead = [add(state="dead") for _ in range(25)]
    delivered = add()
    client = user()
    before = read_clock(database)
    shown = act(client, "retry", [*dead, delivered])
    after = read_clock(database)
    assert "25 events are due again, 10 a second." in shown
    assert state(delivered) == "delivered"
    due = [InboxEvent.objects.get(pk=event.pk).due_ms or 0 for event in dead]
    tens = sorted(set(due))
    assert [due.count(at) for at in tens] == [10, 10, 5]
    # Each ten by a reading of the clock of its own, which a busy machine comes to late.
    assert all(before <= at - second * 1000 <= after for second, at in enumerate(tens))
    assert min(later - earlier for earlier, later in itertools.pairwise(tens)) >= 1000
    assert interventions.RETRIES_PER_SECOND == 10


def test_selected_events_are_buried(database: str) -> None:
    kinds = ("received", "delivering", "failed", "delivered", "dead")
    events = [add(state=kind, conversation_id=kind) for kind in kinds]
    leasing.take(database, [events[1].lane], seconds=60)
    assert "3 events are buried." in act(user(), "bury", events)
    assert LogEntry.objects.count() == 3, "what was not buried is not said to have been"
    assert [state(event) for event in events] == ["buried", "delivering", "buried", "delivered", "buried"]


def test_all_that_match_are_selected_and_only_so_many_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_admin.InboxEventAdmin, "list_per_page", 2)
    monkeypatch.setattr(inbox_admin, "MOST_AT_ONCE", 3)
    dead = [add(state="dead") for _ in range(4)]
    other = add(state="dead", event_type="ticket_created")
    client = user()
    assert "takes the oldest 3 that" in client.get(LIST).content.decode()
    query = "?type=message_received"
    shown = act(client, "retry", dead[:1], query, select_across=1)
    assert "Not more than 3 at once" in shown
    assert "3 events are due again." in shown
    assert [state(event) for event in [*dead, other]] == ["failed", "failed", "failed", "dead", "dead"]
    # What is due already would be due again: the dead ones are asked for.
    shown = act(client, "retry", dead[:1], f"{query}&state=dead", select_across=1)
    assert "Not more than" not in shown
    assert [state(event) for event in [*dead, other]] == ["failed", "failed", "failed", "failed", "dead"]


def test_what_was_buried_is_retried_only_where_it_was_chosen() -> None:
    dead, buried, other = add(state="dead"), add(state="buried"), add(state="buried")
    client = user()
    assert "1 event is due again." in act(client, "retry", [dead], select_across=1)
    assert [state(event) for event in (dead, buried, other)] == ["failed", "buried", "buried"]
    assert "1 event is due again." in act(client, "retry", [buried])
    assert "1 event is due again." in act(client, "retry", [other], "?state=buried", select_across=1)
    assert [state(event) for event in (buried, other)] == ["failed", "failed"]


def test_an_action_without_events_does_nothing() -> None:
    event = add(state="dead")
    assert "Items must be selected" in act(user(), "retry", [])
    assert state(event) == "dead"


def test_hundreds_are_retried_in_few_statements(django_assert_max_num_queries: Any, database: str) -> None:
    add_many(made(state="dead") for _ in range(200))
    ids = list(InboxEvent.objects.values_list("pk", flat=True))
    with django_assert_max_num_queries(20, using=database):
        assert interventions.retry(ids) == 200
