"""The admin's list of events, which costs the same at a thousand rows and at many millions.

Filters and the search use indexes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Left
from django.http import HttpRequest

from bloonio_chat.admin_paging import CountlessChangeList
from bloonio_chat.conf import get_config
from bloonio_chat.inbox import states
from bloonio_chat.inbox.lanes import lane_of
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

PAGE_LENGTH: Final = 100
MOST_FOUND: Final = 1_000

# The body is none of them.
_COLUMNS: Final = (
    "id",
    "state",
    "event_type",
    "tenant",
    "conversation_id",
    "received_at",
    "attempts",
    "repeats",
    "erased_at",
)
_ERROR_LENGTH: Final = 80
_LONGEST_NUMBER: Final = 18


class StateFilter(SimpleListFilter):
    """By state; the choices are known, and none is looked for in the table."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(state, state) for state in states.STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> QuerySet[InboxEvent]:
        """Return the events in the state that was chosen."""
        value = self.value()
        return queryset.filter(state=value) if value in states.STATES else queryset


class TypeFilter(SimpleListFilter):
    """By type: the nine that are known."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(kind.value, kind.value) for kind in WebhookEventType]

    def queryset(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> QuerySet[InboxEvent]:
        """Return the events of the type that was chosen."""
        value = self.value()
        return queryset.filter(event_type=value) if value in [kind.value for kind in WebhookEventType] else queryset


class EventList(CountlessChangeList):
    """The newest events."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[InboxEvent]:
        """Return the events that match, with what the list shows of them."""
        found = super().get_queryset(request, exclude_parameters).only(*_COLUMNS)
        shown: QuerySet[InboxEvent] = found.annotate(error_begins=Left("last_error", _ERROR_LENGTH))
        return shown

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """Return the newest first, whatever the URL asks for: another order would sort the table."""
        return ["-pk"]


def find(events: QuerySet[InboxEvent], term: str) -> tuple[QuerySet[InboxEvent], bool]:
    """Return those of the events that have the term as number, key, conversation id or visitor id.

    Always the whole of it, never a part. The second value tells that more than the newest 1,000 matched, and the
    rest was left out.
    """
    if "\0" in term:
        # No text of ours has it, and PostgreSQL takes none that does.
        return events.none(), False
    rows = InboxEvent.objects.using(events.db)
    ids: set[int] = set()
    # One index each: a database that is asked for all of them at once may read the table instead.
    for condition in _conditions(term):
        ids.update(rows.filter(condition).order_by("-pk").values_list("pk", flat=True)[: MOST_FOUND + 1])
    newest = sorted(ids, reverse=True)[:MOST_FOUND]
    return events.filter(pk__in=newest), len(ids) > MOST_FOUND


def _conditions(term: str) -> Iterator[Q]:
    # What is pasted has spaces around it; an id of the relay may have some of its own.
    terms = {term, term.strip()}
    bare = term.strip()
    if bare.isascii() and bare.isdecimal() and len(bare) <= _LONGEST_NUMBER:
        yield Q(pk=int(bare))
    yield Q(key=bare)
    yield Q(lane__in=list(_lanes(terms)))
    yield Q(visitor_user_id__in=terms)


def _lanes(conversation_ids: set[str]) -> Iterator[str]:
    try:
        tenants = get_config().tenants.values()
    except ChatRelayConfigurationError:
        return
    for tenant in tenants:
        for conversation_id in conversation_ids:
            yield lane_of(tenant.tenant_id, conversation_id, "")
