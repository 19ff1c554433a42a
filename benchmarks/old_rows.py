"""Whether the inbox stays as quick as it was once its tables hold years of delivered events.

Everything is done on two databases in turns, of which one holds many more old rows than the other. The same work's
statements must be planned alike on both, and take about as long. On MariaDB, where there is one, only the plans are
compared, beside a tenth of the rows.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.core.management import call_command

from benchmarks import project, scratch, startproject
from benchmarks.rounds import Contender, Race, Target, require

if TYPE_CHECKING:
    from benchmarks.daily_work import Work

# Of a table much smaller than that, databases read all, where they read an index of a larger one.
FEW: Final = 50_000
MARIADB_HAS_ONE_OF: Final = 10

_ROOM: Final = "bloonio_chat_inbox"


class Router:
    """Sends the inbox to the database that is measured, and all else to the first one."""

    alias: str = "default"

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        """Return the database of the inbox's models."""
        return Router.alias if model._meta.app_label == _ROOM else None

    db_for_write = db_for_read


@contextlib.contextmanager
def on(alias: str) -> Iterator[None]:
    """Have the inbox's tables be those of that database."""
    before, Router.alias = Router.alias, alias
    try:
        yield
    finally:
        Router.alias = before


class Pair(NamedTuple):
    """Two databases of one kind by their aliases, and how many old events each has."""

    small: str
    large: str
    few: int
    many: int


def races(old_rows: int) -> Iterator[Race]:
    """Yield what is to be compared; so many old events are in the large database."""
    measured = Pair("small", "default", FEW, old_rows)
    planned = Pair("mariadb-small", "mariadb-large", FEW, max(2 * FEW, old_rows // MARIADB_HAS_ONE_OF))
    with contextlib.ExitStack() as stack:
        databases = {
            alias: stack.enter_context(scratch.postgresql_database(f"old_rows_{alias}")) for alias in measured[:2]
        }
        has_mariadb = scratch.has_mariadb()
        if has_mariadb:
            for alias in planned[:2]:
                databases[alias] = stack.enter_context(scratch.mariadb_database(f"old_rows_{alias.replace('-', '_')}"))
        project.configure(
            database=databases.pop("default"),
            others=databases,
            rooms=["bloonio_chat.inbox"],
            urlconf="benchmarks.admin_site",
            DATABASE_ROUTERS=["benchmarks.old_rows.Router"],
            TEMPLATES=list(startproject.TEMPLATES),
            STATIC_URL="static/",
            BLOONIO_CHAT_INBOX_RUNNER="command",
        )
        for pair in (measured, *([planned] if has_mariadb else [])):
            _fill(pair.large, pair.many)
            _fill(pair.small, pair.few)
        # Its models want Django set up.
        from benchmarks.daily_work import works

        for work in works():
            statements = _compare_plans(measured, work)
            notes = [f"PostgreSQL: {statements} statements, planned alike beside old events few and many."]
            if has_mariadb:
                statements = _compare_plans(planned, work)
                notes.append(f"MariaDB: {statements} likewise, beside {planned.few:,} and {planned.many:,}.")
            else:
                notes.append("MariaDB was not there: its plans are not compared.")
            yield Race(
                work.name,
                [
                    Contender(f"beside {measured.few:,} old events", _slice(measured.small, work)),
                    Contender(f"beside {measured.many:,} old events", _slice(measured.large, work), Target(1.25)),
                ],
                turns=work.turns,
                notes=lambda notes=notes: notes,  # type: ignore[misc]  # bound now
            )


def _fill(alias: str, old_rows: int) -> None:
    from benchmarks import rows

    call_command("migrate", database=alias, verbosity=0)
    with on(alias):
        rows.insert_delivered(
            old_rows, lambda done: print(f"{alias}: {done:,} old events", file=sys.stderr, flush=True)
        )
        rows.analyze()


def _compare_plans(pair: Pair, work: Work) -> int:
    """Return how many statements the work takes; raise ``RuntimeError`` where one of them is planned otherwise."""
    from benchmarks import plans

    found = {}
    for alias in (pair.small, pair.large):
        with on(alias):
            ready = work.prepare()
            with plans.noting(alias, tables=_ROOM) as found[alias]:
                work.run(ready)
    different = plans.differences(found[pair.small], found[pair.large])
    require(not different, f"{work.name}: these are planned otherwise\n" + "\n".join(different))
    return len(found[pair.large])


def _slice(alias: str, work: Work) -> Callable[[], float]:
    def run() -> float:
        with on(alias):
            return work.run(work.prepare())

    return run
