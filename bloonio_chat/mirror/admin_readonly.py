"""What the mirror's admins have in common: nothing is added, changed, deleted or counted, and a page of one's own."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from bloonio_chat.admin_paging import BoundedPaginator, is_for_list
from bloonio_chat.mirror.admin_lists import PAGE_LENGTH
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.refreshing import Refreshed
from bloonio_chat.sdk.errors import ChatRelayError

logger = logging.getLogger("bloonio_chat.mirror")


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """Shows copies of what the relay has, and can fetch one anew."""

    list_per_page = PAGE_LENGTH
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    ordering = ("-updated_at",)
    actions = None
    paginator = BoundedPaginator

    page_template: ClassVar[str]

    class Media:
        """How all of it looks."""

        css = {"all": ("bloonio_chat_mirror/admin.css",)}  # noqa: RUF012  # as Django reads it

    # ---- who may do what -------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return ``False``: rows are copies of what the relay has."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return ``False``: the next event or fetch would overwrite a change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return ``False``: the next event or fetch would bring the row back; see ``bloonio_forget``."""
        return False

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may have a row fetched from the relay."""
        return self.may(request, f"refresh_{self.opts.model_name}")

    def may(self, request: HttpRequest, permission: str) -> bool:
        """Return whether the user has one of the mirror's permissions."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{permission}"))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Return whether a parameter of the list's URL is one of its filters: any other could read the whole table."""
        return lookup in {getattr(each, "parameter_name", None) for each in self.list_filter}

    # ---- the list --------------------------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that the term finds, and that none of them comes twice."""
        if not search_term.strip():
            return queryset, False
        if "\x00" in search_term:
            # No column has it, and PostgreSQL refuses to be asked; a list's own form has refused it before.
            return queryset.none(), False
        found, warning = self.find(queryset, search_term)
        if warning and is_for_list(request, self):
            self.message_user(request, warning, messages.WARNING)
        return found, False

    def find(self, rows: QuerySet[Any], term: str) -> tuple[QuerySet[Any], str]:
        """Return the rows that the term finds, and a warning for the top of the list, empty for none."""
        raise NotImplementedError

    # ---- the page of one row ---------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page of one row."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "original": row,
            "title": one_line(row),
            "may_refresh": row.forgotten_at is None and self.has_refresh_permission(request),
            **self.page_of(request, row),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.page_template, context)

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template shows of a row."""
        raise NotImplementedError

    # ---- refresh ---------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Return Django's own, and that of the button."""
        view = self.admin_site.admin_view(require_POST(self.refresh_view))
        # Nobody waits for the relay with a transaction open.
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_refresh"
        return [path("<int:pk>/refresh/", view, name=name), *super().get_urls()]

    def refresh_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Fetch a row from the relay, and say what came of it."""
        if not (self.has_refresh_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        row = self.get_object(request, str(pk))
        if row is None or row.forgotten_at is not None:
            raise Http404
        try:
            refreshed = self.refresh(row)
        except ChatRelayError as error:
            text = _("The relay was asked, and nothing was changed: %(problem)s")
            self.message_user(request, text % {"problem": one_line(error, 300)}, messages.ERROR)
        except DatabaseError:
            logger.exception("What was fetched from the relay could not be written.")
            text = _("What the relay sent could not be written just now; try again.")
            self.message_user(request, text, messages.ERROR)
        else:
            self._tell(request, refreshed)
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[pk]))

    def refresh(self, row: Any) -> Refreshed:
        """Fetch a row from the relay. Raises ``ChatRelayError``."""
        raise NotImplementedError

    def _tell(self, request: HttpRequest, refreshed: Refreshed) -> None:
        self.message_user(request, _("Refreshed from the relay."), messages.SUCCESS)
        if refreshed.missing:
            text = _("The relay does not have, or does not list, all of it.")
            if self.may(request, "view_ticket"):
                text = _("The relay does not have, or does not list: %(what)s.")
            self.message_user(request, text % {"what": ", ".join(refreshed.missing)}, messages.WARNING)
