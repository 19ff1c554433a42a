"""Real servers and the inline runner: neither an acknowledgement nor what follows it waits for a receiver."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Final

import pytest

from tests.inbox.project import databases, deeds
from tests.inbox.project.posting import Poster, body_of
from tests.inbox.project.processes import (
    PATIENCE_SECONDS,
    SERVERS,
    Process,
    Processes,
    environment,
    free_port,
    wait_until,
)
from tests.secrets import MARK

pytestmark = pytest.mark.timeout(120)

# How long a receiver sleeps, at least.
ASLEEP_SECONDS: Final = 3.0
# No receiver here outlasts it, however busy the machine: none is called a second time because of it.
LEASE_SECONDS: Final = 60

every_kind = pytest.mark.parametrize("kind", SERVERS)
KEEP_CONNECTIONS: Final = ("gunicorn gthread", "uvicorn")


class Site:
    """A server with one process, on a SQLite file of its own."""

    def __init__(self, kind: str, folder: Path, processes: Processes) -> None:
        self.kind = kind
        self.processes = processes
        self.deeds_path = folder / "deeds"
        self.database_path = folder / "db.sqlite3"
        self.port = free_port()
        self.server = self.start()

    def start(self) -> Process:
        server = self.processes.serve(f"{self.kind} {len(self.processes.started)}", self.kind, self.port)
        server.wait_for_port(self.port)
        return server

    def noted(self, name: str) -> list[str]:
        return [deed.what for deed in deeds.read(self.deeds_path) if deed.message_id == name]

    def let_go(self, name: str) -> None:
        deeds.let_go(self.deeds_path, name)

    def let_leases_run_out(self) -> None:
        with closing(connect(self.database_path, timeout=20)) as connection, connection:
            connection.execute("UPDATE bloonio_chat_inbox_inboxlane SET leased_until_ms = 0")

    def states(self) -> list[str]:
        with closing(connect(self.database_path, timeout=20)) as connection:
            return [row[0] for row in connection.execute("SELECT state FROM bloonio_chat_inbox_inboxevent")]


@pytest.fixture
def site(kind: str, tmp_path: Path) -> Iterator[Site]:
    its = environment(databases.sqlite(tmp_path / "db.sqlite3"), tmp_path / "deeds", runner="inline")
    with Processes(tmp_path, {**its, "PROJECT_LEASE_SECONDS": str(LEASE_SECONDS)}) as processes:
        processes.migrate()
        yield Site(kind, tmp_path, processes)
    log = processes.logs()
    assert "Traceback" not in log
    assert MARK not in log


@every_kind
def test_neither_an_answer_nor_the_next_request_waits_for_a_receiver(site: Site) -> None:
    slow, quick = uuid.uuid4().hex, uuid.uuid4().hex
    with Poster(site.port) as poster:
        poster.post(body_of(slow, seconds=ASLEEP_SECONDS, is_held=True))
        assert poster.status == 200
        assert poster.is_connected == (site.kind in KEEP_CONNECTIONS)
        wait_until(lambda: site.noted(slow), "the receiver is called")
        poster.post(body_of(quick))
        assert poster.status == 200
    # It is held: had an answer waited for it, there would be none.
    assert site.noted(slow) == [deeds.BEGUN], "both were answered before the receiver had ended"
    site.let_go(slow)
    wait_until(lambda: site.noted(slow) == [deeds.BEGUN, deeds.DONE], "the slow one is delivered")
    wait_until(lambda: site.states() == ["delivered"] * 2, "both are delivered")


@every_kind
def test_a_server_that_is_stopped_in_a_delivery_loses_nothing(site: Site) -> None:
    name = uuid.uuid4().hex
    with Poster(site.port) as poster:
        poster.post(body_of(name, is_held=True))
        assert poster.status == 200
    wait_until(lambda: site.noted(name), "the receiver is called")
    site.server.popen.send_signal(signal.SIGTERM)
    if site.kind != "uvicorn":
        site.server.wait_for("Worker exiting")
        # A process that waited for nobody would be gone by then.
        time.sleep(0.3)
        site.let_go(name)
        site.server.popen.wait(PATIENCE_SECONDS)
        assert site.noted(name) == [deeds.BEGUN, deeds.DONE], "finished first"
        assert site.states() == ["delivered"]
        return
    # It ends by the signal itself, and asks nobody: this is as a kill, and the lease has to run out.
    site.server.popen.wait(PATIENCE_SECONDS)
    assert site.states() == ["delivering"]
    site.let_go(name)
    site.let_leases_run_out()
    site.start()
    for attempt in range(30):
        with Poster(site.port) as poster:
            # The inline runner takes along what is overdue, so any event brings the other.
            poster.post(body_of(f"{name}-{attempt}"))
        time.sleep(1)
        if site.noted(name) == [deeds.BEGUN, deeds.BEGUN, deeds.DONE]:
            break
    wait_until(lambda: set(site.states()) == {"delivered"}, "it is delivered again, and whole")
