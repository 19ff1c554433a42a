"""The overview's figures, in pictures and tables.

Nothing is counted further than to a bound, in an index. Of each week as many conversations are read as it takes to find
500 that were escalated: all of that week, where few are. All figures are kept for a minute: who reloads the page asks
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zlib import crc32

from django.core.cache import cache
from django.db.models import Count, OuterRef, Q, Subquery
from django.utils.formats import date_format, number_format
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone, localtime
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.conf import get_config
from bloonio_chat.mirror.admin_filters import tenant_aliases
from bloonio_chat.mirror.charts import Bar, Line, Picture, columns, lines, rows
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.ticket_page import priority_look
from bloonio_chat.mirror.wording import PRIORITIES, in_words
from bloonio_chat.sdk.enums import MessageRole
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

KEPT_SECONDS: Final = 60
DAYS: Final = 30
WEEKS: Final = 8
# Of each week; more would make medians no better.
SAMPLE: Final = 500
# Further is not counted, here or by the inbox: it is bad enough.
MOST_COUNTED: Final = 10_000
LATE: Final = timedelta(hours=1)

_CACHE_KEY: Final = "bloonio_chat.mirror.overview"


@dataclass(frozen=True)
class Card:
    """A picture with its title, what is said below it, and its figures as a table: the columns' names, and the rows."""

    title: str
    picture: SafeString
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figures:
    """What the pictures show.

    ``days``: conversations begun on each of the last days, oldest first; ``priorities``: open tickets by priority;
    ``weeks``: Monday, how many were answered, and the median and the 90th percentile of the seconds until then;
    ``failures``: events in the inbox by what became of them, ``None`` if there is no inbox; ``not_fetched``: what has
    been marked for long.
    """

    days: list[tuple[date, int]]
    priorities: list[tuple[str, int]]
    weeks: list[tuple[date, int, float | None, float | None]]
    failures: Mapping[str, int] | None
    not_fetched: Mapping[str, int]


def cards(now: datetime) -> list[Card]:
    """Return what the overview shows at that time, which is aware; its figures may be a minute old."""
    key = _cache_key()
    figures: Figures | None = cache.get(key)
    if figures is None:
        figures = figures_at(now)
        cache.set(key, figures, KEPT_SECONDS)
    of_mirror = [_days_card(figures), _priorities_card(figures), _answers_card(figures)]
    of_inbox = [] if figures.failures is None else [_failures_card(figures.failures)]
    return [*of_mirror, *of_inbox, _not_fetched_card(figures.not_fetched)]


def figures_at(now: datetime) -> Figures:
    """Return the figures, read afresh."""
    return Figures(
        conversations_by_day(now),
        open_tickets_by_priority(),
        first_answers_by_week(now),
        _failures_of_inbox(),
        _not_fetched(now),
    )


def _cache_key() -> str:
    """Return the key of the figures, another one wherever their fields are others: a cache outlives an upgrade."""
    shape = crc32(repr([(field.name, str(field.type)) for field in fields(Figures)]).encode())
    # By zone: a day begins when it begins for who looks at it.
    return f"{_CACHE_KEY}:{shape:x}:{get_current_timezone()}"


# ---- figures ---------------------------------------------------------------------------------------------------


def conversations_by_day(now: datetime) -> list[tuple[date, int]]:
    """Return how many conversations began on each of the last 30 days of the current time zone, up to 10,000 a day."""
    today = localtime(now).date()
    found = []
    # One question a day: of a month at once, those that are left out would all be of the same days.
    for day in (today - timedelta(days=ago) for ago in reversed(range(DAYS))):
        began = Conversation.objects.filter(
            created_at__gte=_midnight(day),
            created_at__lt=_midnight(day + timedelta(days=1)),
            # Of one that is erased it is not known any more.
            forgotten_at=None,
        )
        found.append((day, began.values("created_at")[:MOST_COUNTED].count()))
    return found


def open_tickets_by_priority() -> list[tuple[str, int]]:
    """Return how many tickets of each priority are open: the known ones in their order, then all others as one.

    Of the 10,000 that something happened to last.
    """
    latest = Ticket.objects.open().order_by("-updated_at").values("pk", "priority")[:MOST_COUNTED]
    of_each = {priority: Count("pk", filter=Q(priority=priority)) for priority in PRIORITIES}
    counted = latest.aggregate(of_all=Count("pk"), **of_each)
    known = [(priority, counted[priority]) for priority in PRIORITIES]
    others = counted["of_all"] - sum(count for _priority, count in known)
    return [*known, ("", others)] if others else known


def first_answers_by_week(now: datetime) -> list[tuple[date, int, float | None, float | None]]:
    """Return, for each of the last 8 weeks, how many escalated conversations were answered, and how soon.

    From the escalation to the first message of an operator, in seconds: the median and the 90th percentile, of the 500
    conversations of each week that began last. Where no messages are kept, to when an operator took it.
    """
    today = localtime(now).date()
    this_week = today - timedelta(days=today.weekday())
    weeks = [this_week - timedelta(weeks=ago) for ago in reversed(range(WEEKS))]
    found = []
    for monday in weeks:
        seconds = sorted(_waits(_midnight(monday), _midnight(monday + timedelta(weeks=1))))
        found.append((monday, len(seconds), percentile(seconds, 50), percentile(seconds, 90)))
    return found


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the value below or at which so many percent lie (nearest rank); ``None`` of no values."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None


def _waits(begin: datetime, end: datetime) -> list[float]:
    conversations = Conversation.objects.filter(
        created_at__gte=begin, created_at__lt=end, escalated_at__isnull=False
    ).order_by("-created_at")
    if _has_messages():
        answers = Message.objects.filter(
            conversation=OuterRef("pk"), role=MessageRole.AGENT.value, created_at__gte=OuterRef("escalated_at")
        ).order_by("created_at")
        conversations = conversations.annotate(answered_at=Subquery(answers.values("created_at")[:1]))
        times = conversations.values_list("escalated_at", "answered_at")
    else:
        times = conversations.values_list("escalated_at", "claimed_at")
    return [
        (answered - escalated).total_seconds()
        for escalated, answered in times[:SAMPLE]
        if answered is not None and answered >= escalated
    ]


def _has_messages() -> bool:
    try:
        return get_config().app.mirror_messages
    except ChatRelayConfigurationError:
        # Checks tell; as where it is not set.
        return True


def _failures_of_inbox() -> dict[str, int] | None:
    if ports.inbox_vitals is None:
        return None
    vitals = ports.inbox_vitals()
    return {name: int(vitals.get(name) or 0) for name in ("received", "delivering", "failed", "dead")}


def _not_fetched(now: datetime) -> dict[str, int]:
    found = {}
    for name, model in (("conversations", Conversation), ("tickets", Ticket)):
        # Nobody fetches those of a tenant that left the settings.
        late = model.objects.filter(tenant__in=tenant_aliases(), waiting_since__lt=now - LATE)
        late = late.values("pk")[:MOST_COUNTED]
        found[name] = late.count()
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), get_current_timezone())


# ---- cards -----------------------------------------------------------------------------------------------------


def _days_card(figures: Figures) -> Card:
    labels = [date_format(day, "MONTH_DAY_FORMAT") for day, _count in figures.days]
    counts = [count for _day, count in figures.days]
    title = _("Conversations a day")
    said = _("%(sum)s in the last %(days)s days; %(most)s on the busiest day.") % {
        "sum": number_format(sum(counts)),
        "days": DAYS,
        "most": number_format(max(counts, default=0)),
    }
    if max(counts, default=0) >= MOST_COUNTED:
        said += " " + _("No more than %(most)s of a day are counted.") % {"most": number_format(MOST_COUNTED)}
    bars = [Bar(label, count) for label, count in zip(labels, counts, strict=True)]
    picture = columns(Picture("mirror-days", title, said), bars)
    return Card(title, picture, said, [_("Day"), _("Conversations")], _table(bars))


def _priorities_card(figures: Figures) -> Card:
    title = _("Open tickets by priority")
    count = sum(count for _name, count in figures.priorities)
    said = _("Open tickets: %(sum)s.")
    if count >= MOST_COUNTED:
        said = _("The %(sum)s open tickets that something happened to last.")
    said %= {"sum": number_format(count)}
    bars = [
        Bar(in_words(PRIORITIES, priority) or _("not known"), count, f"mirror-is-{priority_look(priority)}")
        for priority, count in figures.priorities
    ]
    picture = rows(Picture("mirror-priorities", title, said), bars)
    return Card(title, picture, said, [_("Priority"), _("Open tickets")], _table(bars))


def _answers_card(figures: Figures) -> Card:
    title = _("Time to the first human answer")
    labels = [date_format(monday, "MONTH_DAY_FORMAT") for monday, *_rest in figures.weeks]
    said = _("Minutes from the escalation to an operator's first message, by the week the conversation began in.")
    if not _has_messages():
        said = _("Minutes from the escalation until an operator took it, by the week the conversation began in.")
    drawn = [
        Line(_("median"), [_minutes(median) for _monday, _count, median, _slow in figures.weeks], "mirror-is-median"),
        Line(_("90th percentile"), [_minutes(slow) for *_rest, slow in figures.weeks], "mirror-is-slow"),
    ]
    table = [
        [label, number_format(week[1]), *(_cell(line.values[place]) for line in drawn)]
        for place, (label, week) in enumerate(zip(labels, figures.weeks, strict=True))
    ]
    head = [_("Week of"), _("Answered"), _("median"), _("90th percentile")]
    return Card(title, lines(Picture("mirror-answers", title, said), labels, drawn), said, head, table)


def _failures_card(failures: Mapping[str, int]) -> Card:
    names = {
        "received": (pgettext("events", "new"), ""),
        "delivering": (pgettext("events", "in work"), ""),
        "failed": (pgettext("events", "failed, retried"), "mirror-is-soon"),
        "dead": (pgettext("events", "given up"), "mirror-is-overdue"),
    }
    said = _("What the inbox has not delivered yet, and what it has given up.")
    bars = [Bar(words, failures.get(name, 0), look) for name, (words, look) in names.items()]
    return _counted_card("mirror-failures", _("Events not delivered"), said, bars)


def _not_fetched_card(not_fetched: Mapping[str, int]) -> Card:
    names = {"conversations": _("conversations"), "tickets": _("tickets")}
    said = _("What has been waiting for more than an hour to be fetched from the relay.")
    bars = [Bar(words, not_fetched.get(name, 0)) for name, words in names.items()]
    return _counted_card("mirror-not-fetched", _("Not fetched"), said, bars)


def _counted_card(name: str, title: str, said: str, bars: Sequence[Bar]) -> Card:
    if max(bar.value for bar in bars) >= MOST_COUNTED:
        said += " " + _("No more than %(most)s of a kind are counted.") % {"most": number_format(MOST_COUNTED)}
    return Card(title, rows(Picture(name, title, said), bars), said, [_("Kind"), _("How many")], _table(bars))


def _table(bars: Sequence[Bar]) -> list[list[str]]:
    return [[bar.label, number_format(bar.value)] for bar in bars]


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 1)


def _cell(value: Any) -> str:
    return "-" if value is None else number_format(value)
