"""What is run: a database and a broker of its own, a web server, two Celery workers, and beat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.inbox.project import databases
from tests.inbox.project.brokers import Broker, own_broker
from tests.inbox.project.database_servers import DatabaseServer, own_database
from tests.inbox.project.processes import CELERY, WORKER, Process, Processes, environment, free_port

WEB: Final = "web"
BEAT: Final = "beat"
WORKERS: Final = ("worker-1", "worker-2")


class NotInstalledError(Exception):
    """A server that the run needs is not there."""


@dataclass
class Site:
    """All of it. ``database_server`` is ``None`` where no server of one's own can be had."""

    folder: Path
    port: int
    database: dict[str, Any]
    database_server: DatabaseServer | None
    broker: Broker
    processes: Processes
    running: dict[str, Process]

    @property
    def deeds_path(self) -> Path:
        """The file in which the receivers write what they did."""
        return self.folder / "deeds"

    def start(self, name: str) -> None:
        """Start one of the services, as whatever supervises them would after its end."""
        commands = {
            BEAT: (*CELERY, "beat", f"--schedule={self.folder / 'schedule'}", "--pidfile="),
            **{worker: (*WORKER, "-n", f"{worker}@%h") for worker in WORKERS},
        }
        if name == WEB:
            self.running[name] = self.processes.serve(WEB, "gunicorn gthread", self.port, "--workers", "2")
        else:
            self.running[name] = self.processes.start(name, *commands[name])

    def start_what_ended(self) -> None:
        """Start whatever has ended, whoever ended it."""
        for name, process in list(self.running.items()):
            if not process.is_running():
                process.kill()
                self.start(name)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database."""
        return databases.query(self.database, statement)


@contextmanager
def site(database_kind: str, broker_kind: str, folder: Path) -> Iterator[Site]:
    """Start everything, give it, and end all of it. Raises :class:`NotInstalledError`."""
    broker, server = own_broker(broker_kind), own_database(database_kind)
    if broker is None:
        raise NotInstalledError(f"the server of {broker_kind} is not installed")
    with ExitStack() as stack:
        if server is None:
            database = stack.enter_context(databases.scratch(database_kind))
        else:
            database = stack.enter_context(server).database
        stack.enter_context(broker)
        its = environment(database, folder / "deeds", runner="celery", broker=broker.url, queue="inbox")
        processes = stack.enter_context(Processes(folder, its))
        processes.migrate()
        whole = Site(folder, free_port(), database, server, broker, processes, {})
        for name in (WEB, *WORKERS, BEAT):
            whole.start(name)
        whole.running[WEB].wait_for_port(whole.port)
        for name in WORKERS:
            whole.running[name].wait_for(" ready.")
        yield whole
