"""What it costs to keep a callback: a server and PostgreSQL, beside a bare Django view and beside dj-stripe."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from benchmarks import gunicorn, project, scratch, stripe_peer, wrk
from benchmarks.callbacks import make_callbacks
from benchmarks.rounds import Contender, Race, Target, require
from benchmarks.startproject import DATABASE_VARIABLE, PREPARING_VARIABLE, URLCONF_VARIABLE
from bloonio_chat.sdk.signing import SIGNATURE_HEADER, TENANT_ID_HEADER, TIMESTAMP_HEADER

# More than any server here answers within a slice. What is left over is thrown away: it ages.
REQUESTS_PER_SLICE: Final = 15_000
REQUESTS_PER_SLICE_OF_THE_PEER: Final = 3_000
TURNS: Final = 4

_INBOX_TABLES: Final = ("bloonio_chat_inbox_inboxevent",)


def races() -> Iterator[Race]:
    """Yield what is to be compared, while the servers run."""
    scratch.FOLDER.mkdir(exist_ok=True)
    python = stripe_peer.install(scratch.FOLDER)
    with (
        scratch.postgresql_database("store") as ours,
        scratch.postgresql_database("store_dj_stripe") as theirs,
        tempfile.TemporaryDirectory(dir=scratch.FOLDER) as folder,
        contextlib.ExitStack() as servers,
    ):
        project.configure(database=ours, rooms=["bloonio_chat.inbox"])
        call_command("migrate", verbosity=0)
        stripe_peer.prepare(python, theirs["NAME"])

        def serve(name: str, application: str, environment: dict[str, str], with_python: str | None = None) -> str:
            log = Path(folder) / f"{name}.log"
            interpreter = {} if with_python is None else {"python": with_python}
            return servers.enter_context(gunicorn.serving(application, environment, log=log, **interpreter))

        file = Path(folder) / "requests"
        database = {DATABASE_VARIABLE: ours["NAME"]}
        site = "benchmarks.served:application"
        bare = serve("bare", site, {**database, URLCONF_VARIABLE: "benchmarks.bare_view"})
        inbox = serve("inbox", site, {**database, URLCONF_VARIABLE: "benchmarks.project"})
        preparing = serve(
            "preparing", site, {**database, URLCONF_VARIABLE: "benchmarks.project", PREPARING_VARIABLE: "1"}
        )
        peer = serve("peer", stripe_peer.APPLICATION, {DATABASE_VARIABLE: theirs["NAME"]}, python)

        def run_bare() -> float:
            return _run_slice(bare, make_requests, file)

        def run_inbox() -> float:
            return _run_slice(inbox, make_requests, file, ours, _INBOX_TABLES)

        def run_preparing() -> float:
            return _run_slice(preparing, make_requests, file, ours, _INBOX_TABLES)

        def run_peer() -> float:
            make = stripe_peer.make_requests
            return _run_slice(peer, make, file, theirs, stripe_peer.TABLES, requests=REQUESTS_PER_SLICE_OF_THE_PEER)

        yield Race(
            "gunicorn (gthread, 2 x 4), PostgreSQL: a callback",
            [
                Contender("a bare view", run_bare),
                Contender("verified, parsed and stored", run_inbox, Target(0.30)),
                Contender("the same, with prepared statements", run_preparing),
            ],
            turns=TURNS,
            compares_rates=True,
        )
        yield Race(
            "gunicorn (gthread, 2 x 4), PostgreSQL: beside a peer",
            [
                Contender("dj-stripe's webhook endpoint", run_peer),
                Contender("verified, parsed and stored", run_inbox, Target(6.0)),
            ],
            turns=TURNS,
            compares_rates=True,
        )


def make_requests(count: int) -> list[bytes]:
    """Return that many requests, no two alike, signed now."""
    return [
        wrk.write_request(
            project.CALLBACK_PATH,
            host=project.HOST,
            headers={
                TENANT_ID_HEADER: project.TENANT_ID,
                TIMESTAMP_HEADER: str(callback.timestamp_ms),
                SIGNATURE_HEADER: callback.signature,
            },
            body=callback.body,
        )
        for callback in make_callbacks(count)
    ]


def _run_slice(
    address: str,
    make: Callable[[int], Sequence[bytes]],
    file: Path,
    database: dict[str, Any] | None = None,
    tables: Sequence[str] = (),
    *,
    requests: int = REQUESTS_PER_SLICE,
) -> float:
    before = _count_rows(database, tables)
    load = wrk.post_each(address, make(requests), file=file)
    for table, rows in _count_rows(database, tables).items():
        more = rows - before[table]
        require(more == load.answered, f"{load.answered} were acknowledged, and {table} has {more} more rows")
    return load.seconds / load.answered


def _count_rows(database: dict[str, Any] | None, tables: Sequence[str]) -> dict[str, int]:
    if database is None:
        return {}
    with scratch.connect(database) as connection:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables}  # noqa: S608  # names of ours
    return {table: found[0] for table, found in counts.items() if found is not None}
