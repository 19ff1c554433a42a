"""Lists in the admin that cost the same at a thousand rows and at many millions.

Nothing is counted: a page is read with one row more, which tells whether there is another. Pages end at a last one,
since to skip rows is to read them. A room's admin takes the list from ``get_changelist`` and shows ``newer`` and
``older`` in a ``pagination.html`` of its own; the paginator is for whoever else asks for its rows.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

LAST_PAGE: Final = 50


def is_for_list(request: HttpRequest, model_admin: ModelAdmin[Any]) -> bool:
    """Return whether a search is the list's own, which shows messages.

    Autocompletion searches at each key that is pressed, and shows none: they would wait for the next page.
    """
    its_list = f"{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist"
    return getattr(request.resolver_match, "url_name", "") == its_list


class CountlessChangeList(ChangeList):
    """One page of a list.

    ``newer`` and ``older`` are links to the pages beside it, ``None`` at the ends; ``is_cut`` tells that there is more
    than pages lead to. ``list_max_show_all``, facets and ``show_full_result_count`` of the ``ModelAdmin`` have no
    effect, or none that is cheap: switch facets off there.
    """

    last_page: ClassVar[int] = LAST_PAGE

    newer: str | None
    older: str | None
    is_cut: bool

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, and the row behind it."""
        self.page_num = max(1, min(self.last_page, self.page_num))
        length = self.list_per_page
        start = (self.page_num - 1) * length
        rows: list[Any] = list(self.queryset[start : start + length + 1])
        has_more = len(rows) > length
        self.is_cut = has_more and self.page_num == self.last_page
        self.newer = self._link(self.page_num - 1) if self.page_num > 1 else None
        self.older = self._link(self.page_num + 1) if has_more and not self.is_cut else None
        self.result_list = rows[:length]
        # What Django's own templates ask for; two equal numbers say nothing there.
        self.result_count = self.full_result_count = start + len(rows)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, length)

    @property
    def rows_within_reach(self) -> int:
        """How many rows the pages lead to at most."""
        return self.list_per_page * self.last_page

    def _link(self, page: int) -> str:
        return self.get_query_string({PAGE_VAR: page})


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """Fifty pages at most, for the admin's autocompletion of fields that lead to the room's rows."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, up to the last page."""
        return int(self.object_list[: self.per_page * LAST_PAGE].count())  # type: ignore[attr-defined]  # a queryset
