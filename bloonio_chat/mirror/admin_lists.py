"""The admin's lists of conversations and tickets: what is read of each row, and how it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from bloonio_chat.admin_paging import CountlessChangeList
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.times import aware_now

PAGE_LENGTH: Final = 50


class _MirrorList(CountlessChangeList):
    """One page, with the columns that are shown and no others: facts and texts can be long."""

    columns: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Return the rows that match."""
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters).only(*self.columns)
        return found


class ConversationList(_MirrorList):
    """Conversations, those that something happened in last first."""

    columns = (
        "tenant",
        "relay_id",
        "visitor_user_id",
        "visitor_display_name",
        "locale",
        "channel",
        "status",
        "is_open",
        "agent_status",
        "operator_id",
        "operator_display_name",
        "created_at",
        "updated_at",
        "forgotten_at",
    )


class TicketList(_MirrorList):
    """Tickets, those that something happened to last first, or, by SLA, the most urgent first."""

    columns = (
        "tenant",
        "relay_id",
        "ticket_number",
        "user_id",
        "subject",
        "priority",
        "status",
        "is_open",
        "assignee_user_id",
        "sla_due_at",
        "resolved_at",
        "closed_at",
        "updated_at",
        "forgotten_at",
        "conversation__operator_id",
        "conversation__operator_display_name",
    )


def badge(look: str, words: Any) -> str:
    """Return words that the style sheet marks; nothing for nothing."""
    return format_html('<span class="mirror-badge mirror-is-{}">{}</span>', look, words) if words else ""


def isolated(text: Any, longest: int = 60) -> str:
    """Return a stranger's text for a cell, kept from reordering what stands beside it."""
    return format_html("<bdi>{}</bdi>", one_line(text, longest)) if text else ""


def how_long_ago(time: datetime) -> str:
    """Return how long ago a time was, roughly, with the time itself for who points at it."""
    words = _("%(time)s ago") % {"time": timesince(time, aware_now(), depth=1)}
    exact = localtime(time)
    return format_html(
        '<time class="mirror-ago" datetime="{}" title="{}">{}</time>',
        exact.isoformat(timespec="seconds"),
        date_format(exact, "DATETIME_FORMAT"),
        words,
    )
