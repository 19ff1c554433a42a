"""What a verification finds: counts, and lines that say where, by ids and names of columns: nothing of a person's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from bloonio_chat.callbacks.ports import Report

MOST_LINES: Final = 20

# Why a row can't be compared: the relay has no such route, no such object (and the row is a stub, which events alone
# have told of), lists fewer messages than there are, has suspended the tenant, or answers with what can't be read.
NO_ROUTE: Final = "no_route"
NOT_FOUND: Final = "not_found"
TRUNCATED: Final = "truncated"
FORBIDDEN: Final = "forbidden"
UNREADABLE: Final = "unreadable"
CHANGING: Final = "changing"
# Of these, what hides all rows alike; the others are each said of one, by a relay that answers.
_HIDING: Final = (NO_ROUTE, FORBIDDEN, UNREADABLE)


class SoFar(NamedTuple):
    """How many rows were ``told`` apart, and how often the relay hid something, if only no rows."""

    told: int
    hidden: int


class Findings:
    """Counts of rows: ``equal``, ``missing``, ``stale``, ``extra``, ``unknown``, and the last by their reasons.

    And of tenants at which all was unknown.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._counted: Counter[str] = Counter()
        self._hidden = 0
        self._lines = 0

    def note_equal(self) -> None:
        """Note a row that says what the relay says."""
        self._counted["equal"] += 1

    def note_missing(self, what: str) -> None:
        """Note an object that is not here. ``what`` names the object, for people: tenant, kind and id."""
        self._tell("missing", f"{what} is missing here.")

    def note_stale(self, what: str, columns: Sequence[str], *, is_marked: bool = False) -> None:
        """Note a row that says something else. ``is_marked``: that is known, and it waits to be fetched."""
        waits = " It is marked, and waits to be fetched." if is_marked else ""
        self._tell("stale", f"{what} differs in {', '.join(columns) or 'all, since it was never fetched'}.{waits}")

    def note_extra(self, what: str) -> None:
        """Note a row that the relay does not have."""
        self._tell("extra", f"{what} is not at the relay.")

    def note_unknown(self, reason: str, count: int = 1) -> None:
        """Note rows of which it can't be told."""
        self._counted["unknown"] += count
        self._counted[f"unknown_{reason}"] += count
        self._hidden += reason in _HIDING

    def note_not_compared(self) -> None:
        """Note a tenant of which nothing could be compared."""
        self._counted["tenants_not_compared"] += 1

    @property
    def so_far(self) -> SoFar:
        """What has been noted: to be looked at before and after a tenant."""
        return SoFar(sum(self._counted[name] for name in ("equal", "missing", "stale", "extra")), self._hidden)

    @property
    def compared(self) -> int:
        """How many rows of the mirror were told anything of."""
        return sum(self._counted[name] for name in ("equal", "stale", "extra", "unknown"))

    def counts(self) -> dict[str, int]:
        """Return the counts by name; a reason only where there is one."""
        names = ("equal", "missing", "stale", "extra", "unknown")
        reasons = sorted(name for name, count in self._counted.items() if name not in names and count)
        return {name: self._counted[name] for name in (*names, *reasons)}

    def _tell(self, name: str, line: str) -> None:
        self._counted[name] += 1
        self._lines += 1
        if self._lines <= MOST_LINES:
            self._report.line(line)
        elif self._lines == MOST_LINES + 1:
            self._report.line("Further differences are counted, and not shown.")
