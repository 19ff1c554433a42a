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
from tests.inbox.project.processes import SERVERS, Process, Processes, environment, free_port, wait_until
from tests.secrets import MARK

pytestmark = pytest.mark.timeout(120)

# How long a receiver sleeps, and what no answer takes, even on a busy machine.
ASLEEP_SECONDS: Final = 3.0
SOON_SECONDS: Final = 1.5

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

    def states(self) -> list[str]:
        with closing(connect(self.database_path, timeout=20)) as connection:
            return [row[0] for row in connection.execute("SELECT state FROM bloonio_chat_inbox_inboxevent")]


@pytest.fixture
def site(kind: str, tmp_path: Path) -> Iterator[Site]:
    its = environment(databases.sqlite(tmp_path / "db.sqlite3"), tmp_path / "deeds", runner="inline")
    with Processes(tmp_path, its) as processes:
        processes.migrate()
        yield Site(kind, tmp_path, processes)
    log = processes.logs()
    assert "Traceback" not in log
    assert MARK not in log


@every_kind
def test_neither_an_answer_nor_the_next_request_waits_for_a_receiver(site: Site) -> None:
    slow, quick = uuid.uuid4().hex, [uuid.uuid4().hex for _ in range(6)]
    with Poster(site.port) as poster:
        without = [poster.post(body_of(name)) for name in quick[:5]]
        wait_until(lambda: all(deeds.DONE in site.noted(name) for name in quick[:5]), "the quick ones are delivered")
        answered = poster.post(body_of(slow, seconds=ASLEEP_SECONDS))
        assert poster.status == 200
        assert poster.is_connected == (site.kind in KEEP_CONNECTIONS)
        followed = poster.post(body_of(quick[5]))
        assert poster.status == 200
        assert site.noted(slow) != [deeds.BEGUN, deeds.DONE], "it was answered before the receiver had ended"
    assert max(answered, followed) < max(without) + SOON_SECONDS
    wait_until(lambda: site.noted(slow) == [deeds.BEGUN, deeds.DONE], "the slow one is delivered")
    wait_until(lambda: site.states() == ["delivered"] * 7, "all are delivered")


@every_kind
def test_a_server_that_is_stopped_in_a_delivery_loses_nothing(site: Site) -> None:
    name = uuid.uuid4().hex
    with Poster(site.port) as poster:
        poster.post(body_of(name, seconds=1.5))
        assert poster.status == 200
    wait_until(lambda: site.noted(name), "the receiver is called")
    site.server.popen.send_signal(signal.SIGTERM)
    site.server.popen.wait(30)
    if site.kind != "uvicorn":
        assert site.noted(name) == [deeds.BEGUN, deeds.DONE], "finished first"
        assert site.states() == ["delivered"]
        return
    # It ends by the signal itself, and asks nobody: this is as a kill, and the lease has to run out.
    assert site.states() == ["delivering"]
    site.start()
    for attempt in range(30):
        with Poster(site.port) as poster:
            # The inline runner takes along what is overdue, so any event brings the other.
            poster.post(body_of(f"{name}-{attempt}"))
        time.sleep(1)
        if site.noted(name) == [deeds.BEGUN, deeds.BEGUN, deeds.DONE]:
            break
    wait_until(lambda: set(site.states()) == {"delivered"}, "it is delivered again, and whole")
