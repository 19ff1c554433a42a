"""``python -m benchmarks.crashes``, from the project's root."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import django
from django.conf import settings

from benchmarks.crashes.havoc import Havoc
from benchmarks.crashes.load import Load
from benchmarks.crashes.site import NotInstalledError, Site, site
from tests.inbox.project.databases import AWAY

if TYPE_CHECKING:
    from benchmarks.crashes.account import Account

DATABASES: Final = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
BROKERS: Final = {"rabbitmq": "RabbitMQ", "redis": "Redis"}
# How long to wait, once nothing goes wrong any more, for the last acknowledgement and for the last delivery. A receiver
# that failed while the database was away is tried again within a minute or two.
ACKNOWLEDGED_SECONDS: Final = 120.0
DELIVERED_SECONDS: Final = 300.0


def main() -> int:
    """Run on each broker; the exit status is 1 if anything was lost, or could not be explained."""
    # Whoever stops this by a signal leaves nothing behind either.
    signal.signal(signal.SIGTERM, _stop)
    options = _parser().parse_args()
    settings.configure(INSTALLED_APPS=["bloonio_chat", "bloonio_chat.inbox"])
    django.setup()
    status = 0
    for broker in [options.broker] if options.broker else BROKERS:
        folder = Path(tempfile.mkdtemp(prefix="bloonio-chat-crashes-"))
        try:
            result = _run(options.database, broker, folder, options)
        except NotInstalledError as error:
            print(f"Not run: {error}.")
            status = 1
        else:
            status |= _show(f"{DATABASES[options.database]}, Celery on {BROKERS[broker]}", result)
        finally:
            if options.keep:
                print(f"Logs, and what the receivers wrote: {folder}")
            else:
                shutil.rmtree(folder)
    return status


def _run(database: str, broker: str, folder: Path, options: argparse.Namespace) -> Account:
    # What may be unwritten is said beside the inbox's models, which are there once Django is set up.
    from benchmarks.crashes.account import account

    with site(database, broker, folder) as its:
        if its.database_server is None:
            print("No database server of one's own can be had here: the database is not restarted.")
        started = time.monotonic()

        def report(line: str) -> None:
            print(f"{time.monotonic() - started:6.1f} s  {line}", file=sys.stderr, flush=True)

        load = Load(its.port, rate=options.rate, seconds=options.seconds, seed=options.seed)
        havoc = Havoc(its, seed=options.seed, report=report)
        load.start()
        havoc.run(options.seconds)
        quiet = time.monotonic()
        tally = load.finish(ACKNOWLEDGED_SECONDS)
        report(f"{len(tally.acknowledged)} events were acknowledged")
        _settle(its, quiet + DELIVERED_SECONDS)
        settled_after = time.monotonic() - quiet
        report("all are delivered")
        return account(its, events=load.count, tally=tally, mishaps=havoc.mishaps, settled_after=settled_after)


def _settle(its: Site, deadline: float) -> None:
    """Wait until nothing is left to do."""
    while time.monotonic() < deadline:
        its.start_what_ended()
        with suppress(*AWAY):
            if its.query("SELECT COUNT(*) FROM bloonio_chat_inbox_inboxevent WHERE due_ms IS NOT NULL") == [(0,)]:
                return
        time.sleep(0.5)


def _show(title: str, result: Account) -> int:
    lines = list(result.lines())
    width = max(len(name) for name, _ in lines)
    print("\n".join([title, "-" * len(title), *(f"{name.ljust(width)}  {value}" for name, value in lines)]))
    problems = result.problems()
    print("\n".join(["FAILED:", *problems]) if problems else "Nothing was lost, and every repetition is explained.")
    print(flush=True)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.crashes",
        description="Kills web servers, workers, the broker and the database under load, and accounts for every event.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long (default 60)")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second (default 50)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="decides what goes wrong when (default 1)")
    parser.add_argument("--broker", choices=BROKERS, help="only this one")
    parser.add_argument("--database", choices=DATABASES, default="postgresql", help="instead of PostgreSQL")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where they are")
    return parser


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
