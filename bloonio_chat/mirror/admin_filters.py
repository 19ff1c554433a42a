"""The admin's filters: their choices are known without asking the table, and each has an index for what it asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db.models import QuerySet, Value
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bloonio_chat.conf import get_config
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.sla import DUE_SOON, IN_TIME, OVERDUE, SOON
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.wording import AGENT_STATUSES, CHANNELS, CONVERSATION_STATUSES, PRIORITIES, TICKET_STATUSES
from bloonio_chat.sdk.enums import AgentStatus
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

Choices = Sequence[tuple[str, Any]]

# Operators are looked for among so many of the latest conversations that are assigned, and of the latest open tickets.
NEWEST: Final = 500
MOST_OPERATORS: Final = 20

WAITING: Final = "waiting"
TAKEN: Final = "taken"
OPEN: Final = "open"
DONE: Final = "done"


def tenant_aliases() -> list[str]:
    """Return the aliases of the project's tenants; none where its settings are wrong, which checks tell."""
    try:
        return list(get_config().tenants)
    except ChatRelayConfigurationError:
        return []


class _ColumnFilter(SimpleListFilter):
    """By the value of one column, known or, from the URL, not."""

    column = ""
    known: Choices = ()

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the choices."""
        return self.known

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that have the value."""
        value = self.value()
        if value is None:
            return queryset
        # No column has it, and PostgreSQL refuses to be asked.
        found: QuerySet[Any] = queryset.none() if "\x00" in value else queryset.filter(**{self.column: value})
        return found


class ConversationStatusFilter(_ColumnFilter):
    """By status."""

    title = _("status")
    parameter_name = column = "status"
    known = tuple(CONVERSATION_STATUSES.items())


class ChannelFilter(_ColumnFilter):
    """By channel."""

    title = _("channel")
    parameter_name = column = "channel"
    known = tuple(CHANNELS.items())


class ConversationQueueFilter(_ColumnFilter):
    """By where the conversation is in the operators' queue; one that waits is open, too."""

    title = _("queue")
    parameter_name = "queue"
    column = "agent_status"
    known = tuple(AGENT_STATUSES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the conversations that are there."""
        found = super().queryset(request, queryset)
        return found.filter(is_open=True) if self.value() == AgentStatus.WAITING.value else found


class TicketStatusFilter(_ColumnFilter):
    """By status."""

    title = _("status")
    parameter_name = column = "status"
    known = tuple(TICKET_STATUSES.items())


class PriorityFilter(_ColumnFilter):
    """By priority."""

    title = _("priority")
    parameter_name = column = "priority"
    known = tuple(PRIORITIES.items())


class TenantFilter(_ColumnFilter):
    """By tenant, where there are several."""

    title = _("tenant")
    parameter_name = column = "tenant"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the project's tenants."""
        aliases = tenant_aliases()
        return [(alias, alias) for alias in aliases] if len(aliases) > 1 else ()


class TicketQueueFilter(SimpleListFilter):
    """By whether a ticket is open, and whether somebody has taken it."""

    title = _("queue")
    parameter_name = "queue"
    _known = (OPEN, WAITING, TAKEN, DONE)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the choices."""
        return (
            (OPEN, pgettext_lazy("ticket", "open")),
            (WAITING, _("open, nobody's")),
            (TAKEN, _("open, somebody's")),
            (DONE, pgettext_lazy("ticket", "done")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the tickets that are there."""
        value = self.value()
        found: QuerySet[Any] = queryset.filter(is_open=value != DONE) if value in self._known else queryset
        if value == WAITING:
            found = found.filter(assignee_user_id="")
        elif value == TAKEN:
            found = found.exclude(assignee_user_id="")
        return found


class SlaFilter(SimpleListFilter):
    """By how open tickets stand with the time by which they should be done."""

    title = _("SLA")
    parameter_name = "sla"

    @classmethod
    def asked_for(cls, request: HttpRequest) -> str | None:
        """Return the choice that the URL asks for, by which the list is also sorted; ``None`` for what is no choice."""
        value = request.GET.get(cls.parameter_name)
        return value if value in (OVERDUE, DUE_SOON, IN_TIME) else None

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return the choices."""
        return ((OVERDUE, _("overdue")), (DUE_SOON, _("due soon")), (IN_TIME, _("due later")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the tickets that stand so."""
        asked = self.asked_for(request)
        if asked is None:
            return queryset
        now = aware_now()
        limits = {
            OVERDUE: {"sla_due_at__lt": now},
            DUE_SOON: {"sla_due_at__gte": now, "sla_due_at__lte": now + SOON},
            IN_TIME: {"sla_due_at__gt": now + SOON},
        }
        found: QuerySet[Any] = queryset.filter(is_open=True, **limits[asked])
        return found


class OperatorFilter(_ColumnFilter):
    """By operator: one of those that work right now, nobody, or whoever's id is typed."""

    title = _("operator")
    parameter_name = "operator"
    template = "admin/bloonio_chat_mirror/operator_filter.html"

    # What the template's form keeps of the list's URL.
    kept_parameters: Sequence[tuple[str, str]] = ()

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        """Return nobody, and those that work right now."""
        rows = self.at_work()[:NEWEST]
        operators = {operator: one_line(name or operator, 40) for operator, name in rows if operator}
        return [("", _("nobody")), *islice(operators.items(), MOST_OPERATORS)]

    def at_work(self) -> Any:
        """Return the ids and names of operators that have something open, the latest first; nobody's is empty.

        Without a condition on the operator: where nobody has taken any, that would read them all.
        """
        raise NotImplementedError

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the choices, and note what the form has to keep."""
        self.kept_parameters = [
            (name, value) for name, value in changelist.params.items() if name not in (self.parameter_name, PAGE_VAR)
        ]
        yield from super().choices(changelist)


class ConversationOperatorFilter(OperatorFilter):
    """By the operator who has the conversation, or had it last."""

    column = "operator_id"

    def at_work(self) -> Any:
        """Return the operators of conversations that are assigned."""
        rows = Conversation.objects.filter(agent_status=AgentStatus.ASSIGNED.value)
        return rows.order_by("-updated_at").values_list("operator_id", "operator_display_name")


class AssigneeFilter(OperatorFilter):
    """By the operator to whom the ticket is assigned."""

    column = "assignee_user_id"

    def at_work(self) -> Any:
        """Return the operators of open tickets; a ticket knows no name."""
        rows = Ticket.objects.filter(is_open=True)
        return rows.order_by("-updated_at").values_list("assignee_user_id", Value(""))
