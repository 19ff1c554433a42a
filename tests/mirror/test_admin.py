"""The mirror in the admin: what its lists show and to whom, what they find, and that nothing can be changed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps

from bloonio_chat.mirror import admin_filters, admin_search
from bloonio_chat.mirror.times import aware_now
from tests.mirror.rows import (
    CONVERSATIONS,
    NOON,
    OVERVIEW,
    TICKETS,
    at,
    conversation,
    conversations,
    shown,
    statements,
    ticket,
    user,
)
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.mirror.project_urls"),
]


def listed(text: str) -> list[int]:
    """The keys of the rows that a list shows, in its order."""
    keys = re.findall(r'<th class="field-\w+"><a href="[^"]*/(\d+)/change/', text)
    return [int(key) for key in keys]


# ---- lists -------------------------------------------------------------------------------------------------------


def test_conversations_are_listed_the_latest_first() -> None:
    old = conversation("c1", updated_at=at(-10), visitor_display_name="Ann", operator_display_name="Léa")
    new = conversation("c2", updated_at=at(0), agent_status="WAITING", channel="voice", locale="fr")
    text = shown(user(), CONVERSATIONS)
    assert listed(text) == [new.pk, old.pk]
    for part in ("Ann", "Léa", "waiting", "voice · fr", "v1", "c1", "c2"):
        assert part in text


def test_tickets_show_how_they_stand_with_their_sla() -> None:
    now = aware_now()
    ticket("t1", ticket_number="LOK-1", sla_due_at=now - timedelta(hours=3, minutes=5))
    ticket("t2", ticket_number="LOK-2", sla_due_at=now + timedelta(hours=2, minutes=5))
    ticket("t3", ticket_number="LOK-3", sla_due_at=now + timedelta(hours=30, minutes=5))
    ticket("t4", ticket_number="LOK-4", status="closed", sla_due_at=NOON, resolved_at=at(1))
    ticket("t5", ticket_number="LOK-5", status="closed", sla_due_at=NOON, resolved_at=at(-1))
    text = shown(user(), TICKETS).replace("\xa0", " ")
    for look, words in (
        ("overdue", "overdue by 3 hours"),
        ("soon", "due in 2 hours"),
        ("in-time", "due in 1 day"),
        ("done-late", "done late"),
        ("done", "done in time"),
    ):
        assert f'mirror-is-{look}">{words}<' in text


def test_a_ticket_shows_its_operators_name_and_leads_to_its_conversation() -> None:
    its = conversation(operator_id="op1", operator_display_name="Léa Martin")
    ticket(conversation=its, assignee_user_id="op1")
    text = shown(user(), TICKETS)
    assert "Léa Martin" in text
    assert f'href="{CONVERSATIONS}{its.pk}/change/"' in text


def test_an_erased_visitor_is_said_to_be_erased() -> None:
    conversation(visitor_user_id="", forgotten_at=NOON)
    ticket(subject="", user_id="", ticket_number="", forgotten_at=NOON)
    client = user()
    assert "(erased)" in shown(client, CONVERSATIONS)
    assert "(erased)" in shown(client, TICKETS)


def test_what_strangers_wrote_is_escaped_in_lists() -> None:
    hostile = '<script>alert("x")</script>'
    its = conversation(
        "<img src=x>", visitor_display_name=hostile, visitor_user_id=hostile, status=hostile, locale=hostile,
        operator_id=hostile, operator_display_name=hostile, agent_status=hostile, channel=hostile,
    )  # fmt: skip
    ticket(
        hostile, conversation=its, ticket_number=hostile, subject=f"{hostile}\u202efdp.exe", user_id=hostile,
        status=hostile, priority=f'" onclick={hostile}', assignee_user_id=hostile,
    )  # fmt: skip
    client = user()
    for path in (CONVERSATIONS, TICKETS):
        text = shown(client, path)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text
        assert "\u202e" not in text


# ---- pages of a list ---------------------------------------------------------------------------------------------


def test_pages_lead_to_each_other_and_nothing_is_counted(database: str) -> None:
    conversations(120)
    client = user()
    found: list[int] = []
    path = CONVERSATIONS
    for _ in range(3):
        with statements(database) as asked:
            text = shown(client, path)
        assert not asked.counting
        found += listed(text)
        link = re.search(r'<a href="([^"]+)" rel="next"', text)
        path = CONVERSATIONS + link[1] if link else ""
    assert path == ""
    assert len(found) == len(set(found)) == 120
    assert 'rel="prev"' in text
    assert "120" not in re.findall(r'<nav class="paginator.*?</nav>', text, re.DOTALL)[0]


def test_pages_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bloonio_chat.admin_paging.CountlessChangeList.last_page", 2)
    conversations(120)
    client = user()
    text = shown(client, CONVERSATIONS + "?p=2")
    assert 'rel="next"' not in text
    assert "The list ends after 100." in text
    assert listed(shown(client, CONVERSATIONS + "?p=99999999999999999999")) == listed(text)
    for odd in ("0", "-3", "x", ""):
        assert listed(shown(client, f"{CONVERSATIONS}?p={odd}")) == listed(shown(client, CONVERSATIONS))


def test_a_list_costs_as_many_queries_for_two_rows_as_for_fifty(database: str) -> None:
    client = user()
    conversations(2)
    for number in range(2):
        ticket(f"t{number}", conversation=conversation(f"c{number}"))
    few = {}
    for path in (CONVERSATIONS, TICKETS):
        with statements(database) as asked:
            shown(client, path)
        few[path] = len(asked.texts)
    conversations(60, tenant="other")
    for number in range(2, 60):
        ticket(f"t{number}", conversation=conversation(f"c{number}"))
    for path in (CONVERSATIONS, TICKETS):
        with statements(database) as asked:
            shown(client, path)
        assert (len(asked.texts), asked.counting) == (few[path], [])


ODD = ("_facets=1", "all=", "o=1", "o=-2.1", "o=99", "e=1", "q=%00", "p=2&_facets")
ODD_OF_TICKETS = (*ODD, "sla=", "sla=x", "sla=%00", "sla=overdue&sla=x", "queue=x", "queue=")


@pytest.mark.parametrize(
    ("path", "query"),
    [*((CONVERSATIONS, query) for query in ODD), *((TICKETS, query) for query in ODD_OF_TICKETS)],
)
def test_no_parameter_makes_a_list_count_sort_or_fail(database: str, path: str, query: str) -> None:
    make: Any = conversation if path == CONVERSATIONS else ticket
    first, second = make("a1", updated_at=at(1), status="b"), make("a2", updated_at=at(0), status="a")
    client = user()
    with statements(database) as asked:
        text = shown(client, f"{path}?{query}")
    assert not asked.counting
    assert not [each for each in asked.texts if "sla_due_at" in each.partition("ORDER BY")[2]]
    # There is no second page.
    assert listed(text) == ([] if query.startswith("p=2") else [first.pk, second.pk])


@pytest.mark.parametrize("lookup", ["visitor_display_name__icontains=a", "extra__a=1", "messages__content__contains=a"])
def test_columns_without_an_index_can_not_be_asked_for(lookup: str) -> None:
    assert user().get(f"{CONVERSATIONS}?{lookup}").status_code == 400


def test_autocompletion_counts_not_further_than_its_pages(database: str) -> None:
    conversations(60)
    client = user()
    path = "/admin/autocomplete/?app_label=bloonio_chat_mirror&model_name=ticket&field_name=conversation&term="
    with statements(database) as asked:
        found = client.get(path).json()
    assert len(found["results"]) == 20
    assert found["pagination"] == {"more": True}
    assert all("LIMIT 1000" in text for text in asked.counting)
    assert [each["text"] for each in client.get(f"{path}visitor-00003").json()["results"]] == ["many-00003"]
    assert client.get(f"{path}%00").json()["results"] == []


# ---- filters -----------------------------------------------------------------------------------------------------


def test_conversations_are_filtered() -> None:
    one = conversation("c1", agent_status="WAITING", updated_at=at(4))
    two = conversation("c2", status="closed", agent_status="WAITING", updated_at=at(3))
    three = conversation("c3", agent_status="ASSIGNED", operator_id="op1", channel="video", updated_at=at(2))
    four = conversation("c4", status="on_hold", agent_status="PARKED", operator_id="nobody", updated_at=at(1))
    client = user()
    for query, found in {
        "status=active": [one, three],
        "status=closed": [two],
        "status=on_hold": [four],
        "queue=WAITING": [one],
        "queue=ASSIGNED": [three],
        "queue=PARKED": [four],
        "operator=op1": [three],
        "operator=": [one, two],
        "operator=nobody": [four],
        "channel=video": [three],
        "channel=text&status=active": [one],
        "status=%00": [],
        "operator=%00": [],
    }.items():
        assert listed(shown(client, f"{CONVERSATIONS}?{query}")) == [each.pk for each in found], query


def test_tickets_are_filtered() -> None:
    now = aware_now()
    late = ticket("t1", sla_due_at=now - timedelta(hours=1), priority="p1", updated_at=at(5))
    later = ticket("t2", sla_due_at=now - timedelta(hours=2), assignee_user_id="op1", updated_at=at(6))
    soon = ticket("t3", sla_due_at=now + timedelta(hours=1), status="in_progress", updated_at=at(4))
    whenever = ticket("t4", sla_due_at=now + timedelta(hours=9), updated_at=at(3))
    done = ticket("t5", sla_due_at=now - timedelta(hours=1), status="resolved", updated_at=at(2))
    client = user()
    for query, found in {
        "": [later, late, soon, whenever, done],
        "sla=overdue": [later, late],
        "sla=soon": [soon],
        "sla=in-time": [whenever],
        "queue=open": [later, late, soon, whenever],
        "queue=waiting": [late, soon, whenever],
        "queue=taken": [later],
        "queue=done": [done],
        "status=in_progress": [soon],
        "priority=p1": [late],
        "operator=op1": [later],
        "sla=overdue&priority=p1": [late],
        "queue=nonsense": [later, late, soon, whenever, done],
    }.items():
        assert listed(shown(client, f"{TICKETS}?{query}")) == [each.pk for each in found], query


def test_operators_at_work_can_be_chosen_and_others_typed() -> None:
    conversation("c1", agent_status="ASSIGNED", operator_id="op1", operator_display_name="Léa & <Tom>")
    conversation("c2", agent_status="RESOLVED", operator_id="op2", operator_display_name="Gone Home")
    text = shown(user(), f"{CONVERSATIONS}?status=active&p=1&operator=op1")
    chosen = re.findall(r"<details.*?</details>", text, re.DOTALL)[2]
    assert "Léa &amp; &lt;Tom&gt;" in chosen
    assert "Gone Home" not in chosen
    assert '<input type="hidden" name="status" value="active">' in chosen
    assert 'name="operator" value="op1"' in chosen
    assert 'name="p"' not in chosen


def test_operators_of_the_latest_open_tickets_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_filters, "NEWEST", 3)
    ticket("closed", updated_at=at(4), assignee_user_id="op2", status="closed")
    ticket("nobody's", updated_at=at(3))
    ticket("somebody's", updated_at=at(2), assignee_user_id="op1")
    ticket("nobody's, too", updated_at=at(1))
    ticket("too long ago", assignee_user_id="op3")
    text = shown(user(), TICKETS)
    assert "?operator=op1" in text
    assert "?operator=op2" not in text
    assert "?operator=op3" not in text


def test_tenants_can_be_chosen_where_there_are_several(settings: Any) -> None:
    ours, theirs = conversation("c1"), conversation("c1", tenant="shop-b", updated_at=at(1))
    client = user()
    assert "?tenant=" not in shown(client, CONVERSATIONS)
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    assert "?tenant=shop-b" in shown(client, CONVERSATIONS)
    assert listed(shown(client, f"{CONVERSATIONS}?tenant=shop-b")) == [theirs.pk]
    assert listed(shown(client, f"{CONVERSATIONS}?tenant=default")) == [ours.pk]


def test_every_page_is_there_where_the_settings_are_wrong(settings: Any) -> None:
    apps.get_app_config("bloonio_chat_inbox").ready()
    its = conversation()
    of_it = ticket(conversation=its)
    settings.BLOONIO_CHAT_TENANTS = "nowhere.to.be_found"
    client = user()
    assert listed(shown(client, CONVERSATIONS)) == [its.pk]
    assert listed(shown(client, TICKETS)) == [of_it.pk]
    for page in (f"{CONVERSATIONS}{its.pk}/", f"{TICKETS}{of_it.pk}/"):
        assert shown(client, f"{page}change/")
        assert "nothing was changed" in client.post(f"{page}refresh/", follow=True).content.decode()
    assert listed(shown(client, f"{CONVERSATIONS}?q=v1")) == [its.pk]
    assert "Time to the first human answer" in shown(client, OVERVIEW)


# ---- search ------------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> dict[str, int]:
    rows = {
        "alice": conversation("conv-a", visitor_user_id="alice"),
        "alice-2": conversation("conv-b", visitor_user_id="alice-2"),
        "Alice": conversation("CONV-A", visitor_user_id="Alice"),
        "a%": conversation("conv-d", visitor_user_id="a%b_c"),
        "émile": conversation("conv-e", visitor_user_id="émile"),
    }
    return {name: row.pk for name, row in rows.items()}


@pytest.mark.parametrize(
    ("term", "names"),
    [
        ("alice", ["alice"]),
        (" alice ", ["alice"]),
        ("alice*", ["alice", "alice-2"]),
        ("alic", ["alice", "alice-2"]),
        ("Ali", ["Alice"]),
        ("lice", []),
        ("conv-a", ["alice"]),
        ("CONV-A", ["Alice"]),
        ("conv-", []),
        ("a%", ["a%"]),
        ("a_", []),
        ("émi", ["émile"]),
        ("*", []),
        ("'; DROP TABLE", []),
        ("x" * 3000, []),
    ],
)
def test_conversations_are_found_by_ids(many: dict[str, int], term: str, names: list[str]) -> None:
    response = user().get(CONVERSATIONS, {"q": term})
    assert response.status_code == 200
    assert sorted(listed(response.content.decode())) == sorted(many[name] for name in names)


def test_conversations_of_every_tenant_are_found_by_their_id(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    both = [conversation("c1"), conversation("c1", tenant="shop-b", updated_at=at(-1))]
    assert listed(shown(user(), f"{CONVERSATIONS}?q=c1")) == [each.pk for each in both]


@pytest.mark.parametrize("term", ["LOK-000123", "lok-000123", "LOK-0001", "lok-00*", "t1", "visi", "visitor"])
def test_tickets_are_found_by_number_id_and_visitor(term: str) -> None:
    its = ticket("t1", ticket_number="LOK-000123", user_id="visitor")
    ticket("t2", ticket_number="LOK-999999", user_id="somebody")
    assert listed(shown(user(), f"{TICKETS}?q={term}")) == [its.pk]


def test_a_search_that_finds_too_much_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_search, "MOST_FOUND", 5)
    conversations(6)
    client = user()
    text = shown(client, f"{CONVERSATIONS}?q=visitor-")
    assert len(listed(text)) == 5
    assert "Type more of the id." in text
    assert "Type more of the id." not in shown(client, f"{CONVERSATIONS}?q=visitor-00003")


def test_autocompletion_leaves_no_warnings_for_the_next_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_search, "MOST_FOUND", 5)
    conversations(6)
    client = user()
    path = "/admin/autocomplete/?app_label=bloonio_chat_mirror&model_name=ticket&field_name=conversation&term="
    for term in ("visi", "visit", "visitor-"):
        assert len(client.get(path + term).json()["results"]) == 5
    assert "Type more of the id." not in shown(client, CONVERSATIONS)


def test_a_whole_id_that_finds_too_much_is_not_to_be_typed_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_search, "MOST_FOUND", 5)
    conversations(6, visitor_user_id="everybody")
    text = shown(user(), f"{CONVERSATIONS}?q=everybody")
    assert len(listed(text)) == 5
    assert "More than 5 have this very id" in text
    assert "Type more of the id." not in text


def test_a_conversation_of_a_tenant_that_left_the_settings_is_found_by_its_visitor() -> None:
    its = conversation("c1", tenant="gone", visitor_user_id="alice")
    client = user()
    assert listed(shown(client, f"{CONVERSATIONS}?q=alice")) == [its.pk]
    assert listed(shown(client, f"{CONVERSATIONS}?q=c1")) == []


def test_search_and_filters_go_together() -> None:
    conversation("c1", status="closed")
    its = conversation("c2")
    assert listed(shown(user(), f"{CONVERSATIONS}?q=v1&status=active")) == [its.pk]


# ---- who may see it ----------------------------------------------------------------------------------------------


def test_nobody_without_the_permission_sees_anything() -> None:
    its, of_it = conversation(visitor_display_name="Ann"), ticket()
    client = user("view_inboxevent")
    for path in (
        CONVERSATIONS,
        f"{CONVERSATIONS}{its.pk}/change/",
        f"{CONVERSATIONS}{its.pk}/history/",
        f"{CONVERSATIONS}overview/",
        TICKETS,
        f"{TICKETS}{of_it.pk}/change/",
    ):
        assert client.get(path).status_code == 403, path
    assert "mirror" not in shown(client, "/admin/").lower()
    client.logout()
    assert client.get(CONVERSATIONS).status_code == 302


def test_each_list_has_its_own_permission() -> None:
    its = conversation(visitor_display_name="Ann")
    ticket(conversation=its)
    client = user("view_ticket")
    text = shown(client, TICKETS)
    assert "Ann" not in text
    assert "/conversation/" not in text
    assert client.get(CONVERSATIONS).status_code == 403


@pytest.mark.parametrize("path", [CONVERSATIONS, TICKETS])
def test_nothing_can_be_added_changed_or_deleted(path: str) -> None:
    row = conversation() if path == CONVERSATIONS else ticket()
    client = user()
    assert client.get(f"{path}add/").status_code == 403
    assert client.post(f"{path}{row.pk}/change/", {"status": "closed"}).status_code == 403
    assert client.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(path, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    row.refresh_from_db()
    assert row.is_open


@pytest.mark.parametrize("key", ["999", "x", "99999999999999999999999", "%00", "1%22%3E"])
@pytest.mark.parametrize("path", [CONVERSATIONS, TICKETS])
def test_what_is_not_there_is_not_found(path: str, key: str) -> None:
    assert user().get(f"{path}{key}/change/").status_code == 404


def test_the_overview_can_be_reached() -> None:
    client = user()
    for path in (CONVERSATIONS, TICKETS, "/admin/bloonio_chat_mirror/"):
        assert f'href="{CONVERSATIONS}overview/"' in shown(client, path)
