"""The page of one conversation, and that of one ticket: what they show, safely, and what their buttons do."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.mirror import admin, conversation_page
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import one_line, web_link
from bloonio_chat.mirror.refreshing import Refreshed
from bloonio_chat.mirror.relay_links import relay_url_of
from bloonio_chat.mirror.ticket_page import pretty
from tests.mirror.rows import CONVERSATIONS, NOON, TICKETS, at, conversation, message, shown, statements, ticket, user
from tests.mirror.samples import fact, make_samples
from tests.secrets import TENANT_ID

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.mirror.project_urls"),
]


def path_of(row: Conversation | Ticket) -> str:
    return f"{CONVERSATIONS if isinstance(row, Conversation) else TICKETS}{row.pk}/change/"


def entries(text: str) -> list[tuple[str, str]]:
    """The chat's entries: what they are, and their text without mark-up."""
    found = []
    for look, inside in re.findall(r'<li class="mirror-(day|note|bubble mirror-\w+)">(.*?)\n?</li>\n', text, re.DOTALL):
        words = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", inside))).strip()
        found.append((look.removeprefix("bubble mirror-"), words))
    return found


# ---- the chat ----------------------------------------------------------------------------------------------------


def test_it_reads_like_a_chat() -> None:
    its = make_samples(NOON, conversations=3)
    looks = [look for look, _ in entries(shown(user(), path_of(its)))]
    assert looks == [
        *("day", "note", "visitor", "bot", "visitor", "visitor"),
        # Handed over, and the ticket of it; somebody takes it, and gives it back.
        *("bot", "note", "note", "note", "agent", "system", "note"),
        *("note", "note", "agent", "visitor"),
    ]


def test_entries_say_who_and_when_and_what_happened_in_between() -> None:
    its = conversation(
        visitor_display_name="Camille",
        facts=[
            fact("conversation_started", at(0)),
            fact("escalation_triggered", at(2), reason="low_confidence"),
            fact("agent_assigned", at(3), operator="op1", name="Léa"),
            fact("agent_released", at(5), operator="op1"),
            fact("agent_assigned", at(6), operator="op2"),
            fact("agent_resolved", at(8), operator="op2"),
            fact("something_new", at(9)),
        ],
    )
    of_it = ticket(
        conversation=its,
        ticket_number="LOK-7",
        facts=[fact("ticket_created", at(2.1)), fact("ticket_assigned", at(3.1), operator="op1")],
        resolved_at=at(8.1),
    )
    for minutes, role, content in (
        (1, "visitor", "Bonjour"),
        (1.5, "bot", "Un instant"),
        (4, "agent", "Léa ici"),
        (7, "agent", "Op two here"),
        (9.5, "robot", "beep"),
    ):
        message(its, minutes, role=role, content=content)
    text = shown(user(), path_of(its))
    assert entries(text) == [
        ("day", "March 4, 2026"),
        ("note", "The conversation began 6 a.m."),
        ("visitor", "Camille 6:01 a.m. Bonjour"),
        ("bot", "Bot 6:01 a.m. Un instant"),
        ("note", "Handed to the operators: the bot was not sure 6:02 a.m."),
        ("note", "Ticket LOK-7 was created 6:02 a.m."),
        ("note", "Léa took the conversation 6:03 a.m."),
        ("note", "Léa took ticket LOK-7 6:03 a.m."),
        ("agent", "Léa 6:04 a.m. Léa ici"),
        ("note", "Léa gave the conversation back to the queue 6:05 a.m."),
        ("note", "op2 took the conversation 6:06 a.m."),
        ("agent", "op2 6:07 a.m. Op two here"),
        ("note", "op2 marked the conversation as resolved 6:08 a.m."),
        ("note", "Ticket LOK-7 was resolved 6:08 a.m."),
        ("system", "robot 6:09 a.m. beep"),
    ]
    assert f'href="{path_of(of_it)}"' in text


def test_days_are_told_apart() -> None:
    its = conversation()
    message(its, 0, content="today")
    message(its, 24 * 60, content="tomorrow")
    assert [look for look, _ in entries(shown(user(), path_of(its)))] == ["day", "visitor", "day", "visitor"]


def test_attachments_are_links_and_nothing_is_loaded_by_itself() -> None:
    its = conversation()
    message(
        its,
        attachments=[
            {"type": "image", "mime": "image/png", "size": 2048, "url": "https://files.example.com/a/shot%20one.png"},
            {"type": "file", "mime": "text/html", "size": 10, "url": "javascript:alert(1)"},
            {"type": "file", "mime": "text/html", "size": 10, "url": "data:text/html,<script>1</script>"},
            "not an object",
            {"url": 7},
        ],
    )
    text = shown(user(), path_of(its)).replace("\xa0", " ")
    assert "Image · shot one.png · image/png · 2.0 KB" in text
    assert 'href="https://files.example.com/a/shot%20one.png"' in text
    assert text.count("(its address is no web link)") == 3
    assert not re.search(r"""(?:href|src)=["']?\s*(?:javascript|data):""", text, re.IGNORECASE)
    chat = text[text.index('<section class="mirror-chat"') : text.index('<aside class="mirror-beside"')]
    assert not re.search(r"<(?:img|video|audio|iframe|object|embed|script|style|link)\b|\sstyle=|\son\w+=", chat)
    for link in re.findall(r'<a href="https://files[^>]*>', chat):
        assert 'rel="noopener noreferrer nofollow"' in link


def test_citations_and_confidence_stand_below_an_answer() -> None:
    its = conversation()
    cited = [{"document_id": "faq", "document_version": 3, "score": 0.876, "chunk_id": "c"}, {"document_id": "x"}, None]
    message(its, role="bot", confidence=0.824, citations=cited)
    text = entries(shown(user(), path_of(its)))[1][1]
    assert text.endswith("Sources: faq · version 3 · score 0.88 x Confidence 82 %")


@pytest.mark.parametrize("size", [-1, 10**30, "many", None, True, 1.5])
def test_odd_values_are_no_errors(size: Any) -> None:
    its = conversation(metadata={"a": ["b", {"c": size}]}, extra={"z": size})
    message(
        its,
        content="",
        role="",
        attachments=[{"type": size, "mime": size, "size": size, "url": size}],
        citations=[{"document_id": size, "document_version": size, "score": size}],
        confidence=1e300,
    )
    message(its, 1, attachments={"a": 1}, citations="x", content="")
    text = shown(user(), path_of(its))
    assert "(no text)" in text


def test_json_that_is_too_long_or_too_deep_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert pretty(deep) == "…"
    assert len(pretty("x" * 50_000)) < 21_000
    assert pretty({}) == ""


def test_a_message_that_was_not_fetched_says_so() -> None:
    its = conversation(fetched_at=None, waiting_since=NOON)
    message(its, content="", fetched_at=None)
    text = shown(user(), path_of(its))
    assert "(its text is not here)" in text
    assert "To be fetched since" in text


def test_a_conversation_without_anything_has_a_page() -> None:
    its = conversation(visitor_user_id="", status="", channel="", fetched_at=None)
    text = shown(user(), path_of(its))
    assert "Nothing has happened here yet." in text


# ---- strangers' texts --------------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "</bdi></li><img src=x onerror=alert(1)>",
    "{{ settings.SECRET_KEY }}{% url 'x' %}",
    "\" onmouseover='alert(1)'",
    "%(operator)s %s %d",
    "\u202egnp.exe\u202c\u2066",
    "'><svg/onload=alert(1)>",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_strangers_wrote_is_text(hostile: str) -> None:
    fields = dict.fromkeys(
        (
            "visitor_user_id",
            "visitor_display_name",
            "locale",
            "channel",
            "status",
            "agent_status",
            "operator_id",
            "operator_display_name",
            "escalation_id",
            "escalation_reason",
        ),
        hostile,
    )
    its = conversation(
        hostile,
        **fields,
        metadata={hostile: [hostile]},
        extra={"x": hostile},
        facts=[
            fact(kind, at(place), operator=hostile, name=hostile, reason=hostile)
            for place, kind in enumerate(("escalation_triggered", "agent_assigned", hostile))
        ],
    )
    of_it = ticket(
        hostile,
        conversation=its,
        ticket_number=hostile,
        user_id=hostile,
        subject=hostile,
        description=hostile,
        priority=hostile,
        status=hostile,
        assignee_user_id=hostile,
        escalation_id=hostile,
        tags=[hostile, {"a": hostile}],
        extra={"x": hostile},
        facts=[fact("ticket_created", at(5)), fact("ticket_assigned", at(6), operator=hostile)],
    )
    for place, role in enumerate(("visitor", "agent", "bot", "system", hostile)):
        url = f"https://example.com/{hostile}"
        part = {"type": hostile, "mime": hostile, "size": 1, "url": url}
        cited = {"document_id": hostile, "document_version": hostile, "chunk_id": hostile}
        message(its, 10 + place, role=role, content=hostile, attachments=[part], citations=[cited])
    client = user()
    plain = conversation("plain", visitor_user_id="p")
    scripts = shown(client, path_of(plain)).count("<script")
    for row in (its, of_it):
        text = shown(client, path_of(row))
        content = text[text.index('<div id="content-main"') :]
        assert text.count("<script") == scripts
        assert not re.search(r"<(?:img|svg)[^>]*\son\w+=", content)
        assert "<svg/onload" not in content
        assert not re.search(r"<[^>]*\sonmouseover=", content)
        # Whole, somewhere: nothing was read as a template or a format.
        assert html.escape(hostile) in content or html.escape(one_line(hostile)) in content
        # Every line of a stranger's is kept from reordering what is beside it; what is in them may stay.
        kept = re.sub(r'<div class="mirror-text" dir="auto">.*?</div>|<pre.*?</pre>', "", content, flags=re.DOTALL)
        assert "\u202e" not in kept


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//example.com/x",
        "/x",
        "x",
        "",
        "https://",
        "https:///x",
        "http:\\\\example.com",
        "https://example.com\\@evil.example",
        "https://exa mple.com",
        "https://example.com/\u202egnp",
        "https://example.com:port/",
        "https://[::1",
        "https://" + "a" * 70 + ".example/",
        "https://example.com/" + "x" * 3000,
        "https://example.com/\ud800",
        # What a browser makes another host of than the one that would be shown.
        "https://fa\u00df.example/x",
        "https://b\u00fccher.example/x",
        "https://\uff45xample.com/",
        "https://\u212aelvin.example/",
        "https://ex%61mple.com/",
        "https://example.com%2eevil.example/",
        "https://[fe80::1%25eth0]/",
        "https://[evil.example]/",
        "https://[]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://256.0.0.1./",
        "https://a..example/",
        "https://.example/",
        "https://a;b.example/",
        None,
        7,
        ["https://example.com"],
    ],
)
def test_only_what_leads_to_the_web_is_a_link(url: Any) -> None:
    assert web_link(url) is None


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("bank.example@xn--bcher-kva.example:8443", "xn--bcher-kva.example"),
        ("Files.Example.COM", "files.example.com"),
        ("example.com.", "example.com."),
        ("minio_1:9000", "minio_1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:DB8::1]:80", "2001:db8::1"),
        ("1.2.3.4.example", "1.2.3.4.example"),
    ],
)
def test_a_link_says_which_host_it_leads_to(place: str, host: str) -> None:
    link = web_link(f"https://{place}/a%20b?c=\u00e9")
    assert link == (f"https://{place}/a%20b?c=%C3%A9", host)


# ---- long conversations ------------------------------------------------------------------------------------------


def test_only_the_newest_messages_are_shown_with_a_link_to_older_ones(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_page, "MOST_MESSAGES", 10)
    its = conversation(
        facts=[fact("conversation_started", at(-1)), fact("agent_assigned", at(14.5), operator="op")],
    )
    for minute in range(25):
        # Two of each time, so that pages meet between equal ones.
        message(its, minute, content=f"text {minute}.", created_at=at(minute - minute % 2))
    client = user()
    pages, path = [], path_of(its)
    while path:
        with statements(database) as asked:
            text = shown(client, path)
        assert len(asked.texts) <= 7
        pages.append([words for look, words in entries(text) if look in ("visitor", "note")])
        link = re.search(r'<a href="(\?before=\d+)">', text)
        path = path_of(its) + link[1] if link else ""
    texts = [[re.findall(r"text (\d+)", words) for words in page] for page in pages]
    numbers = [[int(found[0]) for found in page if found] for page in texts]
    assert numbers == [list(range(15, 25)), list(range(5, 15)), list(range(5))]
    assert ["took" in " ".join(page) for page in pages] == [True, False, False]
    assert ["began" in " ".join(page) for page in pages] == [False, False, True]
    assert "Newest messages" in shown(client, f"{path_of(its)}?before={its.messages.earliest('pk').pk}")


def test_an_operator_who_took_it_before_the_first_message_shown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_page, "MOST_MESSAGES", 3)
    its = conversation(
        facts=[
            fact("agent_assigned", at(-1), operator="op1", name="L\u00e9a"),
            fact("agent_released", at(3.5), operator="op1"),
            fact("agent_assigned", at(6.5), operator="op2", name="Tom"),
        ]
    )
    for minute in range(9):
        message(its, minute, role="agent")
    client = user()
    path, found = path_of(its), []
    while path:
        text = shown(client, path)
        found.append([words.split()[0] for look, words in entries(text) if look == "agent"])
        link = re.search(r'<a href="(\?before=\d+)">', text)
        path = path_of(its) + link[1] if link else ""
    assert found == [["Operator", "Tom", "Tom"], ["L\u00e9a", "Operator", "Operator"], ["L\u00e9a"] * 3]


@pytest.mark.parametrize("before", ["x", "-1", "0", "9" * 30, "%00", "1e3", "²"])
def test_an_odd_place_to_begin_shows_the_newest(before: str) -> None:
    its = conversation()
    message(its, content="the newest")
    assert "the newest" in shown(user(), f"{path_of(its)}?before={before}")


def test_it_costs_as_many_queries_for_one_message_as_for_many(database: str) -> None:
    one, many = conversation("c1"), conversation("c2")
    for row, count in ((one, 1), (many, 40)):
        for place in range(count):
            message(row, place)
            ticket(f"{row.relay_id}-{place}", conversation=row)
    client = user()
    costs = []
    for row in (one, many):
        with statements(database) as asked:
            shown(client, path_of(row))
        assert not asked.counting
        costs.append(len(asked.texts))
    assert costs[0] == costs[1] <= 6


def test_that_the_relay_lists_not_all_is_said() -> None:
    assert "some may be missing here" in shown(user(), path_of(conversation(messages_truncated=True)))


# ---- who may see what --------------------------------------------------------------------------------------------


def test_messages_and_tickets_have_their_own_permissions() -> None:
    its = conversation(facts=[fact("agent_assigned", at(1), operator="op", name="Léa")])
    message(its, content="a private text")
    of_it = ticket(conversation=its, ticket_number="LOK-9", facts=[fact("ticket_created", at(2))])
    text = shown(user("view_conversation"), path_of(its))
    assert "a private text" not in text
    assert "LOK-9" not in text
    assert path_of(of_it) not in text
    assert "you do not have the permission" in text
    assert "Léa took the conversation" in text


def test_a_tickets_page_shows_its_conversation_to_who_may_see_it() -> None:
    its = conversation()
    of_it = ticket(conversation=its, description="line one\nline two", tags=["vip"])
    text = shown(user("view_ticket"), path_of(of_it))
    for part in ("line one\nline two", "vip", "P3, normal", "Help"):
        assert part in text
    assert path_of(its) not in text


def test_an_erased_conversation_shows_nothing_and_can_not_be_refreshed() -> None:
    its = conversation(visitor_user_id="", forgotten_at=NOON)
    client = user()
    text = shown(client, path_of(its))
    assert "This visitor was erased" in text
    assert "Refresh from the relay" not in text
    assert client.post(f"{CONVERSATIONS}{its.pk}/refresh/").status_code == 404


# ---- links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("https://r.example/c/{conversation_id}", "https://r.example/c/a%2Fb%20%3F%7Bticket_id%7D"),
        ("https://r.example/{tenant_id}/t?id={ticket_id}", f"https://r.example/{TENANT_ID}/t?id=t%261"),
        ("https://r.example/inbox", "https://r.example/inbox"),
        ("javascript:open('{conversation_id}')", None),
        ("{conversation_id}", None),
        (None, None),
    ],
)
def test_the_relays_page_is_linked(settings: Any, template: str | None, url: str | None) -> None:
    settings.BLOONIO_CHAT_OPEN_IN_RELAY_URL = template
    its = conversation("a/b ?{ticket_id}")
    of_it = ticket("t&1", conversation=its)
    assert relay_url_of(its, of_it) == url
    assert relay_url_of(of_it, its) == url
    client = user()
    for row in (its, of_it):
        assert ("Open in the relay" in shown(client, path_of(row))) is (url is not None)


def test_the_relays_page_is_not_linked_without_the_id_it_needs(settings: Any) -> None:
    settings.BLOONIO_CHAT_OPEN_IN_RELAY_URL = "https://r.example/{conversation_id}/{ticket_id}"
    assert relay_url_of(conversation(), None) is None
    assert relay_url_of(conversation(".."), ticket()) is None
    assert relay_url_of(conversation("c9", tenant="gone"), None) is None


def test_its_events_in_the_inbox_are_linked_for_who_may_see_them() -> None:
    its = conversation()
    asked = []

    def link(tenant: str, conversation_id: str) -> str:
        asked.append((tenant, conversation_id))
        return "/admin/inbox?q=1&p=2"

    ports.links["bloonio_chat_inbox"] = link
    assert "/admin/inbox?q=1&amp;p=2" in shown(user(), path_of(its))
    assert asked == [("default", "c1")]


@pytest.mark.parametrize(("permission", "is_linked"), [("view_inboxevent", True), ("retry_inboxevent", False)])
def test_the_inbox_is_linked_for_who_may_open_its_list(permission: str, is_linked: bool) -> None:
    its = conversation()
    ports.links["bloonio_chat_inbox"] = lambda *_: "/admin/bloonio_chat_inbox/inboxevent/?q=c1"
    client = user("view_conversation", permission)
    assert ("Its events in the inbox" in shown(client, path_of(its))) is is_linked
    assert (client.get("/admin/bloonio_chat_inbox/inboxevent/").status_code == 200) is is_linked


@pytest.mark.parametrize(
    ("permissions", "said"),
    [
        ((), "does not have, or does not list: ticket LOK-9."),
        (("view_conversation", "refresh_conversation"), "does not have, or does not list, all of it."),
    ],
)
def test_what_the_relay_lacks_is_named_to_who_may_see_it(
    monkeypatch: pytest.MonkeyPatch, permissions: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(admin, "refresh_conversation", lambda _: Refreshed(["ticket LOK-9"]))
    its = conversation()
    text = user(*permissions).post(f"{CONVERSATIONS}{its.pk}/refresh/", follow=True).content.decode()
    assert said in text
    assert ("LOK-9" in text) is ("ticket" in said)


def test_what_leads_elsewhere_is_said_to_be_a_link(settings: Any) -> None:
    settings.BLOONIO_CHAT_OPEN_IN_RELAY_URL = "https://r.example/"
    ports.links["bloonio_chat_inbox"] = lambda *_: "/admin/inbox"
    its = conversation()
    of_it = ticket(conversation=its)
    client = user()
    for row in (its, of_it):
        content = shown(client, path_of(row)).partition('id="content-main"')[2]
        assert 'class="mirror-button"' in content
        assert 'role="button"' not in content.partition("<footer")[0]


def test_other_rooms_find_the_page() -> None:
    its = conversation()
    link = ports.links["bloonio_chat_mirror"]
    assert link("default", "c1") == path_of(its)
    assert link("default", "C1") is None
    assert link("other", "c1") is None


@pytest.mark.urls("tests.urls")
def test_other_rooms_find_no_page_without_the_admin() -> None:
    conversation()
    assert ports.links["bloonio_chat_mirror"]("default", "c1") is None
