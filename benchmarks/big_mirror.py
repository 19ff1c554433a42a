"""``python -m benchmarks.big_mirror``: the mirror's admin at a million conversations, beside ten thousand.

Builds both on PostgreSQL, in two scratch databases, with ``generate_series``: messages and tickets with them, spread
over one year, so that the larger has a hundred times of everything. Opens the same pages of both in turns, in one
process, through the whole of Django; compares the times, and wants the same number of queries. Drops the databases at
the end.

The tables are unlogged: nothing of it needs to outlive a crash, and reading them is the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client

from benchmarks import project, rounds, scratch, tables
from benchmarks.mirror_rows import Sizes, fill
from benchmarks.rounds import Contender, Race, Target

# How much longer a page may take at the larger size.
LIMIT: Final = 1.5
# How often a page is opened to see what it asks; the median is what it takes.
OPENED: Final = 5
SMALL: Final = "default"
BIG: Final = "big"
URLCONF: Final = "benchmarks.big_mirror_urls"
_CONVERSATIONS: Final = "/admin/bloonio_chat_mirror/conversation/"
_TICKETS: Final = "/admin/bloonio_chat_mirror/ticket/"


class Page(NamedTuple):
    """A page to open: its name, its path with ``{…}`` of :meth:`Sizes.names`, and whether its time has a limit."""

    name: str
    path: str
    is_limited: bool = True


PAGES: Final = (
    Page("conversations", _CONVERSATIONS),
    Page("conversations, page 50", _CONVERSATIONS + "?p=50"),
    Page("conversations, active", _CONVERSATIONS + "?status=active"),
    Page("conversations, waiting", _CONVERSATIONS + "?queue=WAITING"),
    Page("conversations of an operator", _CONVERSATIONS + "?operator=op-7"),
    Page("conversations, video", _CONVERSATIONS + "?channel=video"),
    Page("conversations of a small tenant", _CONVERSATIONS + "?tenant=shop-b"),
    Page("conversations, video and active", _CONVERSATIONS + "?channel=video&status=active"),
    Page("search: a visitor", _CONVERSATIONS + "?q={visitor}"),
    Page("search: visitors that begin so", _CONVERSATIONS + "?q={visitor_start}*"),
    Page("search: visitors, all of them", _CONVERSATIONS + "?q=user*"),
    Page("search: a conversation id", _CONVERSATIONS + "?q={conversation}"),
    Page("search: nothing has it", _CONVERSATIONS + "?q=nobody"),
    Page("a conversation", _CONVERSATIONS + "{conversation_key}/change/"),
    Page("a conversation of 2,000 messages", _CONVERSATIONS + "{long_key}/change/"),
    Page("tickets", _TICKETS),
    Page("tickets, overdue", _TICKETS + "?sla=overdue"),
    Page("tickets, due soon", _TICKETS + "?sla=soon"),
    Page("tickets, open and nobody's", _TICKETS + "?queue=waiting"),
    Page("tickets, in progress", _TICKETS + "?status=in_progress"),
    Page("tickets, p1", _TICKETS + "?priority=p1"),
    Page("tickets, p1 and in progress", _TICKETS + "?priority=p1&status=in_progress"),
    Page("tickets of an operator", _TICKETS + "?operator=op-7"),
    Page("search: a ticket's number", _TICKETS + "?q={number}"),
    Page("search: numbers that begin so", _TICKETS + "?q={number_start}*"),
    Page("search: a ticket's visitor", _TICKETS + "?q={visitor}"),
    Page("a ticket", _TICKETS + "{conversation_key}/change/"),
    # Counts a month of conversations and 10,000 open tickets, and is kept for a minute.
    Page("overview, not from the cache", _CONVERSATIONS + "overview/", is_limited=False),
)


class Router:
    """Sends the mirror's models to one of the two databases, all else to the first."""

    alias = SMALL

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return type(self).alias if model._meta.app_label == "bloonio_chat_mirror" else None

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


class Reader:
    """Somebody who opens pages of one of the databases, logged in."""

    def __init__(self, alias: str, sizes: Sizes) -> None:
        from django.contrib.auth import get_user_model

        self.alias = alias
        self.sizes = sizes
        self.client = Client(headers={"host": project.HOST})
        self.client.force_login(get_user_model().objects.get(username="reader"))

    def open(self, page: Page) -> float:
        """Open a page, and return the seconds that it took."""
        from django.core.cache import cache

        cache.clear()
        Router.alias = self.alias
        path = page.path.format(**self.sizes.names())
        began = time.perf_counter()
        response = self.client.get(path)
        seconds = time.perf_counter() - began
        if response.status_code != 200:
            raise RuntimeError(f"{path} is answered with {response.status_code}.")
        return seconds

    def asks(self, page: Page) -> Asked:
        """Open a page a few times, and return what is asked of the mirror's tables; users are in the first database."""
        asked: list[Asked] = []
        for _ in range(OPENED):
            asked.append(Asked([], 0.0))
            with connections[self.alias].execute_wrapper(asked[-1].note):
                self.open(page)
        return sorted(asked, key=lambda each: each.seconds)[OPENED // 2]


@dataclass
class Asked:
    """The statements of one page, and the seconds that the database took for them."""

    statements: list[str]
    seconds: float

    def note(self, execute: Callable[..., Any], sql: str, *more: Any) -> Any:
        """Run a statement, as Django's execution wrappers do."""
        began = time.perf_counter()
        try:
            return execute(sql, *more)
        finally:
            if "bloonio_chat_mirror" in sql:
                self.statements.append(sql)
                self.seconds += time.perf_counter() - began


def main() -> int:
    """Build, measure and drop; the exit status is 1 where a limit was missed and that matters."""
    options = _parser().parse_args()
    small, big = Sizes(options.small, options.messages), Sizes(options.conversations, options.messages)
    with ExitStack() as databases:
        first = databases.enter_context(scratch.postgresql_database(f"{options.name}_small"))
        second = databases.enter_context(scratch.postgresql_database(f"{options.name}_big"))
        _prepare(first, second)
        readers = []
        for alias, sizes in ((SMALL, small), (BIG, big)):
            began = time.perf_counter()
            fill(connections[alias], sizes)
            print(f"{sizes}: {_size_of(alias)} on disk, built in {time.perf_counter() - began:.0f} s", flush=True)
            readers.append(Reader(alias, sizes))
        if options.keep:
            input(f"{first['NAME']} and {second['NAME']} are there until you press enter. ")
        return _measure(readers, options)


def _prepare(first: dict[str, Any], second: dict[str, Any]) -> None:
    tenants = {"shop-b": {"TENANT_ID": "01900000-0000-7000-8000-00000000000b", "TENANT_SECRET": "sk_of_shop_b"}}
    project.configure(
        database=first,
        rooms=["bloonio_chat.mirror"],
        urlconf=URLCONF,
        DATABASE_ROUTERS=[f"{Router.__module__}.{Router.__name__}"],
        BLOONIO_CHAT_TENANTS=tenants,
        STATIC_URL="/static/",
        TEMPLATES=TEMPLATES,
    )
    settings.DATABASES[BIG] = second
    # They were read before, and this gives the new one its defaults.
    connections.configure_settings(settings.DATABASES)
    for alias in (SMALL, BIG):
        call_command("migrate", verbosity=0, database=alias)
    from django.contrib.auth import get_user_model

    get_user_model().objects.create_superuser("reader")


TEMPLATES: Final = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _measure(readers: Sequence[Reader], options: argparse.Namespace) -> int:
    results, problems = [], []
    for page in PAGES:
        if options.only and options.only not in page.name:
            continue
        asked = [reader.asks(page) for reader in readers]
        counts = [len(each.statements) for each in asked]
        if counts[0] != counts[1]:
            problems.append(f"{page.name}: {counts[0]} and {counts[1]} queries")
        if page.is_limited and any("COUNT(" in statement.upper() for statement in asked[1].statements):
            problems.append(f"{page.name}: counts")
        in_database = " and ".join(f"{each.seconds * 1000:.1f}" for each in asked)
        contenders = [
            Contender(str(reader.sizes), _opening(reader, page), target)
            for reader, target in zip(readers, (None, Target(LIMIT) if page.is_limited else None), strict=True)
        ]
        title = f"{page.name} ({counts[1]} queries; of that, {in_database} ms in the database)"
        race = Race(title, contenders, turns=options.turns)
        results.append(rounds.run(race, rounds=options.rounds, quick=False, progress=lambda _line: None))
        print(tables.as_text(results[-1]), flush=True)
    if options.json:
        options.json.write_text(tables.as_json(results, rounds=options.rounds) + "\n")
    problems += tables.missed(results)
    print("\n".join(["Missed:", *problems]) if problems else "No limit was missed.")
    return 1 if problems and options.check else 0


def _opening(reader: Reader, page: Page) -> Callable[[], float]:
    return lambda: reader.open(page)


def _size_of(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_size_pretty(pg_database_size(current_database()))")
        return str(cursor.fetchone()[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.big_mirror",
        description="The mirror's admin at a million conversations, beside ten thousand, on PostgreSQL.",
    )
    parser.add_argument("--conversations", type=int, default=1_000_000, metavar="N", help="of the larger (1000000)")
    parser.add_argument("--small", type=int, default=10_000, metavar="N", help="of the smaller (10000)")
    parser.add_argument("--messages", type=int, default=10, metavar="N", help="of each conversation (10)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="how many rounds (7)")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of each round (5)")
    parser.add_argument("--only", metavar="TEXT", help="the pages whose names have this text")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a limit is missed")
    parser.add_argument("--name", default="mirror", help="what the databases are named after (mirror)")
    parser.add_argument("--keep", action="store_true", help="wait before measuring, for a look at the databases")
    return parser


if __name__ == "__main__":
    sys.exit(main())
