"""The inbox in the admin: read-only, but for having events tried again and giving them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import display_for_value
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from bloonio_chat.admin_paging import BoundedPaginator, is_for_list
from bloonio_chat.inbox import admin_page, interventions
from bloonio_chat.inbox.admin_list import MOST_FOUND, PAGE_LENGTH, EventList, StateFilter, TypeFilter, find
from bloonio_chat.inbox.handover import hand_over
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.states import BURIED
from bloonio_chat.times import to_database_time

# More than that is no work for a request; run the action again, or bloonio_process_inbox --retry-dead.
MOST_AT_ONCE: Final = 1_000


@admin.register(InboxEvent)
class InboxEventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """Nothing is added, changed or deleted here. Retrying and burying are permissions of their own."""

    list_display = (
        "id",
        "state_shown",
        "event_type",
        "error_shown",
        "received_at",
        "conversation_shown",
        "attempts",
        "repeats",
        "tenant",
    )
    list_display_links = ("id", "event_type")
    list_filter = (StateFilter, TypeFilter)
    list_per_page = PAGE_LENGTH
    # For whoever else asks for its rows: autocompletion.
    paginator = BoundedPaginator
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "An event's number or key, a conversation id or a visitor id: the whole of it."
    actions = ("retry", "bury")
    fieldsets = (
        (
            "How it stands",
            {
                "fields": (
                    ("state_shown", "attempts", "due_shown", "finished_at"),
                    "last_error",
                    "skew_shown",
                    "repeats",
                    "erased_at",
                )
            },
        ),
        (
            "What came",
            {
                "fields": (
                    ("event_type", "occurred_at", "received_at"),
                    ("conversation_id", "visitor_user_id"),
                    "tenant",
                    "key",
                    "headers_shown",
                    "body_shown",
                )
            },
        ),
    )

    class Media:
        """How states, bodies and the ledger look."""

        css = {"all": ("bloonio_chat_inbox/admin.css",)}  # noqa: RUF012  # as Django reads it

    # ---- who may do what -------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return ``False``: the relay adds events."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: InboxEvent | None = None) -> bool:
        """Return ``False``: an event is what the relay signed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: InboxEvent | None = None) -> bool:
        """Return ``False``: an event that is deleted would come in again."""
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have events tried again."""
        return self._may(request, "retry")

    def has_bury_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may bury events: give them up for good."""
        return self._may(request, "bury")

    def _may(self, request: HttpRequest, what: str) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.{what}_{self.opts.model_name}"))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return whether a parameter of the list's URL is one of its filters: any other could read the whole table."""
        return lookup in (StateFilter.parameter_name, TypeFilter.parameter_name)

    # ---- the list --------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventList]:
        """Return the list that counts nothing."""
        return EventList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxEvent], search_term: str
    ) -> tuple[QuerySet[InboxEvent], bool]:
        """Return the events that have the term as one of their ids, and that none of them comes twice."""
        if not search_term.strip():
            return queryset, False
        found, is_cut = find(queryset, search_term)
        if is_cut and request.method == "GET" and is_for_list(request, self):
            self.message_user(request, f"Only the newest {MOST_FOUND:,} that match are shown.", messages.WARNING)
        return found, False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list."""
        return super().changelist_view(request, {"most_at_once": f"{MOST_AT_ONCE:,}", **(extra_context or {})})

    @admin.display(description="state")
    def state_shown(self, event: InboxEvent) -> str:
        """Return the state, marked for the style sheet."""
        return format_html('<span class="inbox-state inbox-{}">{}</span>', event.state, event.state)

    @admin.display(description="conversation")
    def conversation_shown(self, event: InboxEvent) -> str:
        """Return the beginning of the conversation's id."""
        return Truncator(event.conversation_id).chars(32)

    @admin.display(description="last error")
    def error_shown(self, event: InboxEvent) -> str:
        """Return the beginning of the last error."""
        begins = getattr(event, "error_begins", "")
        return format_html('<div class="inbox-error">{}</div>', begins) if begins else ""

    # ---- the page of one event -------------------------------------------------------------------------------------

    @admin.display(description="due")
    def due_shown(self, event: InboxEvent) -> str:
        """Return when it is to be delivered, if it is."""
        due_at = None if event.due_at is None else to_database_time(event.due_at)
        return str(display_for_value(due_at, "-"))

    @admin.display(description="our clock")
    def skew_shown(self, event: InboxEvent) -> str:
        """Return how far our clock and the relay's were apart."""
        return admin_page.skew_of(event)

    @admin.display(description="signed headers")
    def headers_shown(self, event: InboxEvent) -> str:
        """Return the signed headers, without the signature."""
        return format_html('<pre class="inbox-text">{}</pre>', admin_page.headers_of(event))

    @admin.display(description="body")
    def body_shown(self, event: InboxEvent) -> str:
        """Return the body, escaped."""
        return format_html('<pre class="inbox-text" dir="ltr">{}</pre>', admin_page.body_of(event))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the page, with the ledger and what the user may do."""
        event = context["original"]
        is_whole = event.erased_at is None
        context |= admin_page.page_of(event)
        context["may_retry"] = (
            is_whole and event.state in interventions.RETRIABLE_STATES and self.has_retry_permission(request)
        )
        context["may_bury"] = event.state in interventions.BURIABLE_STATES and self.has_bury_permission(request)
        return super().render_change_form(request, context, *args, **kwargs)

    # ---- retry and bury --------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Return Django's own, and those of the page's buttons."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path(f"<int:pk>/{what}/", self.admin_site.admin_view(require_POST(view)), name=f"{name}_{what}")
            for what, view in (("retry", self.retry_view), ("bury", self.bury_view))
        ] + super().get_urls()

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have one event tried again, at once where the runner is told."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        event = self._event(request, pk)
        self._retry(request, [event])
        transaction.on_commit(lambda: hand_over(event.lane), using=router.db_for_write(InboxEvent))
        return self._to_page(pk)

    def bury_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Bury one event."""
        if not self.has_bury_permission(request):
            raise PermissionDenied
        self._bury(request, [self._event(request, pk)])
        return self._to_page(pk)

    @admin.action(permissions=["retry"], description="Retry the selected events")
    def retry(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> None:
        """Have events tried again, some at a time."""
        wanted = set(interventions.RETRIABLE_STATES)
        if request.POST.get("select_across") == "1" and request.GET.get(StateFilter.parameter_name) != BURIED:
            # Who takes whatever matches does not mean what somebody has decided about.
            wanted.discard(BURIED)
        self._retry(request, self._chosen(request, queryset, sorted(wanted)))

    @admin.action(permissions=["bury"], description="Bury the selected events: give them up")
    def bury(self, request: HttpRequest, queryset: QuerySet[InboxEvent]) -> None:
        """Bury events."""
        self._bury(request, self._chosen(request, queryset, interventions.BURIABLE_STATES))

    def _event(self, request: HttpRequest, pk: int) -> InboxEvent:
        event: InboxEvent | None = self.get_queryset(request).only("event_type", "lane").filter(pk=pk).first()
        if event is None:
            raise Http404
        return event

    def _to_page(self, pk: int) -> HttpResponse:
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[pk]))

    def _chosen(self, request: HttpRequest, queryset: QuerySet[InboxEvent], states: Sequence[str]) -> list[InboxEvent]:
        """Return those of the chosen events that can be worked on, the oldest first; not more than a request can."""
        chosen: list[InboxEvent] = []
        for state in states:
            # One after the other, each along its index: the others may be millions.
            of_state = queryset.filter(state=state, erased_at__isnull=True)
            found = interventions.in_no_work(of_state).order_by("pk").only("event_type")
            chosen += found[: MOST_AT_ONCE + 1]
        if len(chosen) > MOST_AT_ONCE:
            text = f"Not more than {MOST_AT_ONCE:,} at once: run the action again for the rest."
            self.message_user(request, text, messages.WARNING)
        return sorted(chosen, key=lambda event: event.pk)[:MOST_AT_ONCE]

    def _retry(self, request: HttpRequest, events: Sequence[InboxEvent]) -> None:
        count = interventions.retry([event.pk for event in events])
        pace = interventions.RETRIES_PER_SECOND
        became = f"due again, {pace} a second" if count > pace else "due again"
        possible = "Only events that failed, are given up or buried, or were left behind by their worker"
        self._tell(request, events, count, became, possible)

    def _bury(self, request: HttpRequest, events: Sequence[InboxEvent]) -> None:
        count = interventions.bury([event.pk for event in events])
        self._tell(request, events, count, "buried", "Only events that are neither delivered, buried nor in work")

    def _tell(self, request: HttpRequest, events: Sequence[InboxEvent], count: int, became: str, possible: str) -> None:
        """Tell the user and the admin's history what was done."""
        if not count:
            self.message_user(request, f"Nothing was changed. {possible} can be.", messages.WARNING)
            return
        are = "event is" if count == 1 else "events are"
        self.message_user(request, f"{count:,} {are} {became}.", messages.SUCCESS)
        LogEntry.objects.log_actions(request.user.pk, events, CHANGE, became[0].upper() + became[1:] + ".")
