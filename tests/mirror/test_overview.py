"""The overview: what its figures count, that they are kept for a minute, and who may see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.apps import apps
from django.core.cache import cache
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import override

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.mirror import overview
from bloonio_chat.mirror.sla import SOON, Sla, sla_of
from bloonio_chat.mirror.times import aware_now
from tests.mirror.rows import (
    CONVERSATIONS,
    NOON,
    OVERVIEW,
    TICKETS,
    at,
    conversation,
    message,
    shown,
    statements,
    ticket,
    user,
)

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.mirror.project_urls"),
]

DAY = 24 * 60


def test_conversations_are_counted_by_day() -> None:
    for place, minutes in enumerate((0, 30, -DAY, -29 * DAY, -31 * DAY)):
        conversation(f"c{place}", created_at=at(minutes))
    days = dict(overview.conversations_by_day(NOON + timedelta(hours=1)))
    assert len(days) == overview.DAYS
    today = NOON.date()
    assert days[today] == 2
    assert days[today - timedelta(days=1)] == 1
    assert days[today - timedelta(days=29)] == 1
    assert sum(days.values()) == 4


def test_only_so_many_of_a_day_are_counted_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST_COUNTED", 3)
    now = aware_now()
    for place in range(5):
        conversation(f"c{place}", created_at=now)
    conversation("old", created_at=now - timedelta(days=2))
    assert [count for _day, count in overview.conversations_by_day(now) if count] == [1, 3]
    assert "No more than 3 of a day are counted." in shown(user(), OVERVIEW)


def test_nothing_is_counted_whole(database: str) -> None:
    client = user()
    with statements(database) as asked:
        shown(client, OVERVIEW)
    assert len(asked.counting) == overview.DAYS + 3
    assert all(f"LIMIT {overview.MOST_COUNTED}" in text for text in asked.counting), asked.counting
    assert all(re.search(r"LIMIT (500|10000)\b", text) for text in asked.texts), asked.texts


def test_a_day_is_that_of_who_looks_at_it() -> None:
    conversation(created_at=datetime(2026, 3, 3, 23, 30, tzinfo=timezone.utc))
    found = []
    for zone in (timezone.utc, timezone(timedelta(hours=2))):
        with override(zone):
            found += [day.day for day, count in overview.conversations_by_day(NOON) if count]
    assert found == [3, 4]


def test_open_tickets_are_counted_by_priority() -> None:
    for place, (priority, status) in enumerate(
        [("p1", "open"), ("p1", "assigned"), ("p1", "closed"), ("p4", "new?"), ("p9", "open"), ("", "open")]
    ):
        ticket(f"t{place}", priority=priority, status=status)
    assert overview.open_tickets_by_priority() == [("p1", 2), ("p2", 0), ("p3", 0), ("p4", 1), ("", 2)]


def test_only_so_many_open_tickets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST_COUNTED", 3)
    ticket("t0", priority="p1")
    ticket("t1", priority="p1", updated_at=at(9), status="closed")
    client = user()
    assert "Open tickets: 1." in shown(client, OVERVIEW)
    for place in range(2, 6):
        ticket(f"t{place}", priority="p2", updated_at=at(place))
    assert overview.open_tickets_by_priority() == [("p1", 0), ("p2", 3), ("p3", 0), ("p4", 0)]
    cache.clear()
    assert "The 3 open tickets that something happened to last." in shown(client, OVERVIEW)


def test_first_answers_are_counted_from_the_escalation() -> None:
    for place, wait in enumerate((10, 20, 30, None)):
        its = conversation(f"c{place}", created_at=at(0), escalated_at=at(5), claimed_at=at(6))
        message(its, 2, role="agent", content="before the escalation")
        message(its, 6, role="bot")
        if wait is not None:
            message(its, 5 + wait, role="agent")
            message(its, 5 + wait + 1, role="agent", relay_id=f"later{place}")
    conversation("direct", created_at=at(0))
    old = conversation("old", created_at=at(-7 * DAY), escalated_at=at(-7 * DAY))
    message(old, -7 * DAY + 1, role="agent")
    weeks = overview.first_answers_by_week(NOON)
    assert len(weeks) == overview.WEEKS
    assert [monday.weekday() for monday, *_ in weeks] == [0] * overview.WEEKS
    assert [week[1:] for week in weeks[-2:]] == [(1, 60.0, 60.0), (3, 1200.0, 1800.0)]
    assert weeks[0][1:] == (0, None, None)


def test_without_messages_a_claim_is_the_first_answer(settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    its = conversation(escalated_at=at(5), claimed_at=at(6))
    conversation("c2", escalated_at=at(5), claimed_at=at(4))
    message(its, 50, role="agent")
    assert overview.first_answers_by_week(NOON)[-1][1:] == (1, 60.0, 60.0)
    assert "until an operator took it" in shown(user(), OVERVIEW)


def test_only_some_of_a_week_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SAMPLE", 2)
    for place in range(4):
        its = conversation(f"c{place}", created_at=at(place), escalated_at=at(place))
        message(its, place + 1 + place, role="agent")
    assert overview.first_answers_by_week(NOON)[-1][1] == 2


@pytest.mark.parametrize(
    ("values", "percent", "value"),
    [([], 50, None), ([7], 50, 7), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), (list(range(1, 11)), 90, 9), ([1, 2], 90, 2)],
)
def test_percentiles(values: list[float], percent: int, value: float | None) -> None:
    assert overview.percentile(values, percent) == value


def table(text: str, title: str) -> list[str]:
    """The cells of a card's table."""
    card = text[text.index(f"<h2>{title}</h2>") :].partition("</section>")[0]
    return re.findall(r"<t[dh][^>]*>(?:<bdi>)?([^<]*)", card.partition("<tbody>")[2])


def test_failures_are_the_inboxs_where_there_is_one() -> None:
    ports.inbox_vitals = lambda: {"received": 1, "failed": 3, "dead": 4, "oldest_undelivered_seconds": None}
    text = shown(user(), OVERVIEW)
    assert table(text, "Events not delivered") == ["new", "1", "in work", "0", "failed, retried", "3", "given up", "4"]
    assert "of a kind are counted" not in text
    assert "of a day are counted" not in text


def test_what_was_not_fetched_is_shown_beside_the_inboxs_failures() -> None:
    ports.inbox_vitals = lambda: {"dead": 4}
    ticket("t1", waiting_since=aware_now() - timedelta(days=3))
    text = shown(user(), OVERVIEW)
    assert table(text, "Events not delivered")[-2:] == ["given up", "4"]
    assert table(text, "Not fetched") == ["conversations", "0", "tickets", "1"]
    ids = re.findall(r'\sid="(mirror-[^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_inbox_is_not_counted_whole(database: str) -> None:
    apps.get_app_config("bloonio_chat_inbox").ready()
    client = user()
    with CaptureQueriesContext(connections[database]) as asked:
        shown(client, OVERVIEW)
    texts = [query["sql"] for query in asked if "bloonio_chat_inbox_inboxevent" in query["sql"]]
    counting = [text for text in texts if "COUNT(" in text]
    assert counting
    assert all("LIMIT 10000" in text for text in counting), counting


def test_that_no_more_is_counted_is_said() -> None:
    ports.inbox_vitals = lambda: {"failed": 10_000}
    assert "No more than 10000 of a kind are counted." in shown(user(), OVERVIEW)


def test_failures_are_what_was_not_fetched_where_there_is_no_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    now = aware_now()
    conversation("c1", waiting_since=now - timedelta(hours=2))
    conversation("c2", waiting_since=now)
    ticket("t1", waiting_since=now - timedelta(hours=2))
    ticket("t2", waiting_since=now - timedelta(hours=3))
    assert table(shown(user(), OVERVIEW), "Not fetched") == ["conversations", "1", "tickets", "2"]


def test_figures_are_kept_for_a_minute(database: str) -> None:
    client = user()
    costs = []
    for _ in range(2):
        with statements(database) as asked:
            shown(client, OVERVIEW)
        costs.append(len(asked.texts))
    assert costs == [11 + overview.DAYS, 0]


@dataclass(frozen=True)
class FewerFigures:
    days: list[tuple[date, int]]


@dataclass(frozen=True)
class OtherFigures:
    days: dict[date, int]
    priorities: list[tuple[str, int]]
    weeks: list[tuple[date, int, float | None, float | None]]
    failures: Mapping[str, int] | None
    not_fetched: Mapping[str, int]


@pytest.mark.parametrize(
    "kept", [FewerFigures([]), OtherFigures({NOON.date(): 1}, [], [], None, {})], ids=["another field", "another type"]
)
def test_figures_that_another_version_has_kept_are_not_taken(monkeypatch: pytest.MonkeyPatch, kept: Any) -> None:
    with monkeypatch.context() as other_version:
        other_version.setattr(overview, "Figures", type(kept))
        other_version.setattr(overview, "figures_at", lambda now: kept)
        # It keeps them; this version's pictures can't be made of them.
        with pytest.raises((AttributeError, TypeError)):
            overview.cards(NOON)
    assert overview.cards(NOON)


def test_every_picture_is_well_formed_and_has_a_table() -> None:
    ticket(priority="<b>")
    text = shown(user(), OVERVIEW)
    pictures = re.findall(r"<svg class=\"mirror-chart\".*?</svg>", text, re.DOTALL)
    roots = [ET.fromstring(picture) for picture in pictures]  # noqa: S314  # of our own making
    assert [root[0].text for root in roots] == [
        "Conversations a day",
        "Open tickets by priority",
        "Time to the first human answer",
        "Not fetched",
    ]
    assert text.count("<tbody>") == 4
    assert len(table(text, "Conversations a day")) == 2 * overview.DAYS
    ids = re.findall(r'\sid="(mirror-[^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_pages_know_the_time_in_a_project_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"
    now = aware_now()
    its = conversation(created_at=now, updated_at=now, escalated_at=now)
    message(its, created_at=now, role="agent")
    of_it = ticket(conversation=its, sla_due_at=now + timedelta(hours=1, minutes=1))
    client = user()
    text = shown(client, f"{CONVERSATIONS}{its.pk}/change/")
    hour = now.astimezone(timezone(timedelta(hours=9))).strftime("%H:%M")
    assert re.search(rf'<time datetime="[^"]*T{hour}', text)
    assert "due in 1\xa0hour" in shown(client, TICKETS)
    assert shown(client, f"{TICKETS}{of_it.pk}/change/")
    assert shown(client, CONVERSATIONS)
    days = overview.conversations_by_day(now)
    assert days[-1] == (now.astimezone(timezone(timedelta(hours=9))).date(), 1)
    assert overview.first_answers_by_week(now)[-1][1] == 1


@pytest.mark.parametrize("permission", ["view_conversation", "view_ticket"])
def test_it_wants_both_permissions(permission: str) -> None:
    client = user(permission)
    assert client.get(OVERVIEW).status_code == 403
    assert OVERVIEW not in shown(client, "/admin/bloonio_chat_mirror/")


def test_both_permissions_are_enough() -> None:
    client = user("view_conversation", "view_ticket")
    assert "Open tickets by priority" in shown(client, OVERVIEW)
    assert client.post(OVERVIEW).status_code == 405


@pytest.mark.parametrize(
    ("minutes", "fields", "sla"),
    [
        (-61, {}, Sla("overdue", "overdue by 1 hour")),
        (0, {}, Sla("soon", "due in 0 minutes")),
        (SOON.total_seconds() / 60, {}, Sla("soon", "due in 4 hours")),
        (SOON.total_seconds() / 60 + 61, {}, Sla("in-time", "due in 5 hours")),
        (None, {}, Sla("none", "")),
        (-61, {"forgotten_at": NOON}, Sla("none", "")),
        (-61, {"status": "resolved", "resolved_at": at(-62)}, Sla("done", "done in time")),
        (-61, {"status": "closed", "closed_at": at(-60)}, Sla("done-late", "done late")),
        (-61, {"status": "closed"}, Sla("done", "done")),
    ],
)
def test_the_state_of_an_sla(minutes: float | None, fields: dict[str, Any], sla: Sla) -> None:
    row = ticket(sla_due_at=None if minutes is None else at(minutes), **fields)
    row.refresh_from_db()
    state, words = sla_of(row, NOON)
    assert (state, words.replace("\xa0", " ")) == sla
