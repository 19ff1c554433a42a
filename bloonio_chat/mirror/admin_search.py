"""The admin's search: ids, each on its own index, whole or by how they begin.

A term is taken for a whole id first. Where nothing has it, or where it ends with ``*``, it is how an id begins. The
relay's own ids are looked for among those of the tenants in the settings: their index begins with the tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.db import connections
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from bloonio_chat.mirror.admin_filters import tenant_aliases

# Of each index; nobody looks through more.
MOST_FOUND: Final = 500

_ANY_END: Final = "*"
_LAST_CHARACTER: Final = "\U0010ffff"


def find_conversations(conversations: QuerySet[Any], term: str) -> tuple[QuerySet[Any], str]:
    """Return the conversations whose id, or whose visitor's, is the term; and a warning if there are more.

    Else those whose visitor's id begins with it.
    """
    return _find(conversations, term, whole=("visitor_user_id",), beginnings=("visitor_user_id",))


def find_tickets(tickets: QuerySet[Any], term: str) -> tuple[QuerySet[Any], str]:
    """Return the tickets whose number or id, or whose visitor's id, is the term; and a warning if there are more.

    Else those whose number, or whose visitor's id, begins with it. A number is also found in small letters.
    """
    return _find(tickets, term, whole=("ticket_number", "user_id"), beginnings=("ticket_number", "user_id"))


def _find(
    rows: QuerySet[Any], term: str, *, whole: Sequence[str], beginnings: Sequence[str]
) -> tuple[QuerySet[Any], str]:
    term = term.strip()
    found: set[int] = set()
    warning = ""
    # One index each: a database that is asked for all of them at once may read the table instead.
    if not term.endswith(_ANY_END):
        relay_id = Q(tenant__in=tenant_aliases(), relay_id=term)
        if _collect(rows, [relay_id, *(Q(**{f"{name}__in": _spellings(name, term)}) for name in whole)], found):
            warning = _("More than %(count)s have this very id. Only %(count)s are shown, and not always the latest.")
    if not found:
        start = term.rstrip(_ANY_END)
        if start and _collect(rows, _begin_with(rows, beginnings, start), found):
            warning = _("More than %(count)s match, and not all of them are shown. Type more of the id.")
    return rows.filter(pk__in=found), warning and warning % {"count": MOST_FOUND}


def _collect(rows: QuerySet[Any], conditions: Iterable[Q], found: set[int]) -> bool:
    """Add the keys of the rows that meet one of the conditions, and return whether some were left out."""
    is_cut = False
    for condition in conditions:
        # In no order: to sort what begins alike, all of it would have to be read.
        matching = rows.model._default_manager.using(rows.db).filter(condition)
        keys = list(matching.values_list("pk", flat=True)[: MOST_FOUND + 1])
        is_cut = is_cut or len(keys) > MOST_FOUND
        found.update(keys[:MOST_FOUND])
    return is_cut


def _begin_with(rows: QuerySet[Any], names: Sequence[str], start: str) -> Iterator[Q]:
    vendor = connections[rows.db].vendor
    for name in names:
        for spelling in _spellings(name, start):
            yield begins_with(name, spelling, vendor)


def begins_with(name: str, start: str, vendor: str) -> Q:
    """Return the condition that a text column begins so, such that this database uses the column's index."""
    if vendor == "postgresql":
        # Django gives an indexed column of texts a second index, for just this.
        return Q(**{f"{name}__startswith": start})
    if vendor == "mysql":
        # A plain LIKE goes by the column's collation, as its index does; startswith, a LIKE BINARY, reads all.
        return Q(**{f"{name}__istartswith": start})
    # SQLite's LIKE knows no capitals, and so not the index; its texts are in the order of their characters.
    return Q(**{f"{name}__gte": start, f"{name}__lt": start + _LAST_CHARACTER})


def _spellings(name: str, term: str) -> list[str]:
    return sorted({term, term.upper()}) if name == "ticket_number" else [term]
