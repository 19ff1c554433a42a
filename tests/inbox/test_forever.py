"""``bloonio_process_inbox --forever`` as a process: stopped, killed, and left without its database."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.inbox.project import databases, deeds
from tests.inbox.project.database_servers import DatabaseServer, own_database
from tests.inbox.project.posting import Poster, body_of
from tests.inbox.project.processes import PATIENCE_SECONDS, Process, Processes, environment, free_port, wait_until
from tests.secrets import MARK
from tests.services import missing

pytestmark = pytest.mark.timeout(120)

on_postgresql = pytest.mark.parametrize("site", ["postgresql"], indirect=True)
on_both = pytest.mark.parametrize("site", ["postgresql", "mariadb"], indirect=True)

FOREVER: Final = ("django", "bloonio_process_inbox", "--forever")


class Site:
    """A web server that only accepts, on a database server of its own."""

    def __init__(self, folder: Path, server: DatabaseServer, processes: Processes) -> None:
        self.server = server
        self.processes = processes
        self.deeds_path = folder / "deeds"
        self.port = free_port()
        web = processes.serve("web", "gunicorn gthread", self.port)
        processes.migrate()
        web.wait_for_port(self.port)

    def post(self, name: str, *, seconds: float = 0, is_held: bool = False) -> int:
        with Poster(self.port) as poster:
            poster.post(body_of(name, conversation_id=f"c-{name}", seconds=seconds, is_held=is_held))
            return poster.status

    def let_go(self, name: str) -> None:
        deeds.let_go(self.deeds_path, name)

    def deliverer(self, **changes: str) -> Process:
        return self.processes.start(f"forever {len(self.processes.started)}", *FOREVER, **changes)

    def noted(self, name: str) -> list[deeds.Deed]:
        return [deed for deed in deeds.read(self.deeds_path) if deed.message_id == name]

    def event(self, name: str) -> tuple[Any, ...]:
        statement = "SELECT state, attempts FROM bloonio_chat_inbox_inboxevent WHERE conversation_id = %s"
        return databases.query(self.server.database, statement, [f"c-{name}"])[0]

    def leases(self) -> int:
        return int(databases.query(self.server.database, "SELECT COUNT(*) FROM bloonio_chat_inbox_inboxlane")[0][0])

    def let_leases_run_out(self, seconds: int) -> None:
        """Have those that there are run out so long from now, on PostgreSQL."""
        statement = (
            "UPDATE bloonio_chat_inbox_inboxlane "
            "SET leased_until_ms = (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint + %s"
        )
        databases.query(self.server.database, statement, [seconds * 1000])


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = own_database(request.param)
    if found is None:
        missing(f"the programs of a {request.param} server are not found, or there is nobody to run them as")
    assert found is not None
    folder = tmp_path_factory.mktemp("forever")
    with found as server:
        its = environment(server.database, folder / "deeds", runner="command")
        with Processes(folder, its) as processes:
            yield Site(folder, server, processes)
    assert MARK not in processes.logs()


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


@on_postgresql
def test_asked_to_stop_it_finishes_the_event_in_work_and_leaves_no_lease(site: Site, name: str) -> None:
    later = [f"{name}-{number}" for number in range(3)]
    # All of them are taken in one round, with the first of them in work.
    for each in (name, *later):
        assert site.post(each, is_held=each == name) == 200
    deliverer = site.deliverer()
    wait_until(lambda: site.noted(name), "the receiver is called")
    assert site.leases() == 4
    deliverer.popen.send_signal(signal.SIGTERM)
    site.let_go(name)
    # Not stop(), which may ask a second time.
    assert deliverer.popen.wait(PATIENCE_SECONDS) == 0
    assert [deed.what for deed in site.noted(name)] == [deeds.BEGUN, deeds.DONE]
    assert site.event(name) == ("delivered", 1)
    assert site.leases() == 0
    # As they were: nobody was called.
    assert {site.event(each) for each in later} == {("received", 0)}
    assert "1 delivered" in deliverer.log()
    assert site.processes.run("django", "bloonio_process_inbox", "--verbosity=0")
    assert {site.event(each) for each in later} == {("delivered", 1)}


@on_postgresql
def test_killed_it_leaves_a_lease_that_runs_out(site: Site, name: str) -> None:
    assert site.post(name, is_held=True) == 200
    killed = site.deliverer(PROJECT_LEASE_SECONDS="3600")
    wait_until(lambda: site.noted(name), "the receiver is called")
    killed.kill()
    site.let_go(name)
    assert site.leases() == 1
    assert site.event(name) == ("delivering", 1)
    site.processes.run("django", "bloonio_process_inbox", "--verbosity=0")
    assert [deed.what for deed in site.noted(name)] == [deeds.BEGUN], "nobody else may have it yet"
    shortened_at = time.monotonic()
    site.let_leases_run_out(3)
    other = site.deliverer()
    wait_until(lambda: site.event(name) == ("delivered", 2), "the lease runs out")
    first, second, _ = site.noted(name)
    assert (first.pid, second.pid) == (killed.pid, other.pid)
    assert second.at - shortened_at > 2.9
    assert other.stop() == 0
    assert site.leases() == 0


@on_both
@pytest.mark.parametrize("by", [None, signal.SIGKILL], ids=["in order", "by a crash"])
def test_a_database_that_is_gone_is_waited_for(site: Site, name: str, by: int | None) -> None:
    deliverer = site.deliverer()
    assert site.post(name) == 200
    wait_until(lambda: len(site.noted(name)) == 2, "it is delivered")
    assert site.post(f"{name}-in-work", seconds=1.5) == 200
    wait_until(lambda: site.noted(f"{name}-in-work"), "the receiver is called")
    site.server.stop(by)
    assert site.post(f"{name}-refused") == 503
    time.sleep(1.5)
    site.server.start()
    assert site.post(f"{name}-after") == 200
    wait_until(lambda: site.event(f"{name}-after")[0] == "delivered", "it goes on")
    wait_until(lambda: site.event(f"{name}-in-work")[0] == "delivered", "what was in work is delivered")
    assert {deed.pid for deed in site.noted(f"{name}-after")} == {deliverer.pid}, "the same process"
    assert len([deed for deed in site.noted(f"{name}-in-work") if deed.what == deeds.DONE]) <= 2
    assert not site.noted(f"{name}-refused")
    os.kill(deliverer.pid, 0)
    assert deliverer.stop() == 0
