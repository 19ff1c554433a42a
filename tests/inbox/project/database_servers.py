"""Database servers of one's own, to be stopped, crashed and started as one likes."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final

from tests.inbox.project.databases import mariadb, postgresql, query
from tests.inbox.project.processes import PATIENCE_SECONDS, free_port, wait_until

# Whom neither server likes to be run by.
_ROOT: Final = 0


class DatabaseServer:
    """A server with an empty database; it runs within a ``with`` block. As durable as it is by default."""

    # Its user, where root starts it.
    user: ClassVar[str]
    # How it is stopped: in order, and in ways that leave it to recover.
    in_order: ClassVar[int]
    ways: ClassVar[tuple[int, ...]]

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self._programs = programs
        self._popen: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._as: dict[str, Any] = {}

    @property
    def database(self) -> dict[str, Any]:
        """Django's settings of the database."""
        raise NotImplementedError

    def _prepare(self) -> None:
        """Make the server's files in the folder."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> DatabaseServer:
        # Not below a folder that only root may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="bloonio-chat-database-"))
        try:
            if os.geteuid() == _ROOT:
                user = pwd.getpwnam(self.user)
                os.chown(self._folder, user.pw_uid, user.pw_gid)
                self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            self._prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop(by=self.ways[-1])
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self._popen = self._start()
            wait_until(lambda: self._answers() or not self._is_running(), "the database answers")
            if self._is_running():
                return
            # One that was killed leaves processes behind, which take a moment to see it.
            if time.monotonic() > deadline:
                raise RuntimeError(f"the database does not start: {self.log()[-4000:]}")
            time.sleep(0.2)

    def stop(self, by: int | None = None) -> None:
        """End the server, by one of ``ways``; in order unless said."""
        if self._popen is not None:
            self._popen.send_signal(self.in_order if by is None else by)
            self._popen.wait(PATIENCE_SECONDS)
            self._popen = None

    def log(self) -> str:
        """Return all that it has printed."""
        path = self._folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def _answers(self) -> bool:
        with suppress(Exception):
            return bool(query(self.database, "SELECT 1"))
        return False

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                self._command(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as,
            )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stdout[-2000:]}")


class PostgreSQL(DatabaseServer):
    """A PostgreSQL server."""

    user = "postgres"
    # At once, but in order; without; as a crash.
    in_order = signal.SIGINT
    ways = (signal.SIGINT, signal.SIGKILL, signal.SIGQUIT)

    @property
    def database(self) -> dict[str, Any]:
        """Django's settings of the database."""
        return postgresql("postgres", self.port)

    def _prepare(self) -> None:
        self._run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", "data")

    def _command(self) -> list[str]:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        return [str(self._programs / "postgres"), "-D", "data", *_options(options)]


class MariaDB(DatabaseServer):
    """A MariaDB server."""

    user = "mysql"
    in_order = signal.SIGTERM
    ways = (signal.SIGTERM, signal.SIGKILL)

    @property
    def database(self) -> dict[str, Any]:
        """Django's settings of the database."""
        return mariadb("test", self.port)

    def _prepare(self) -> None:
        self._run(
            "mariadb-install-db",
            "--no-defaults",
            *_options(self._folders()),
            "--auth-root-authentication-method=normal",
        )

    def _command(self) -> list[str]:
        options = {
            **self._folders(),
            "port": self.port,
            "bind-address": "127.0.0.1",
            "socket": self._folder / "socket",
            "pid-file": self._folder / "pid",
            "character-set-server": "utf8mb4",
        }
        # Not beside the others, on Debian.
        server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        return [server, "--no-defaults", *_options(options)]

    def _folders(self) -> dict[str, object]:
        # One that starts removes all temporary tables in its tmpdir, a running server's as well.
        return {"datadir": self._folder / "data", "tmpdir": self._folder}


def _options(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def own_database(kind: str) -> DatabaseServer | None:
    """Return a server, not yet started; ``None`` where its programs, or a user to run them as, are missing."""
    server, program = (PostgreSQL, "initdb") if kind == "postgresql" else (MariaDB, "mariadb-install-db")
    if os.geteuid() == _ROOT:
        try:
            pwd.getpwnam(server.user)
        except KeyError:
            return None
    # Debian keeps PostgreSQL's out of the PATH, a folder for each version.
    found = shutil.which(program) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"), default=None)
    return None if found is None else server(Path(found).parent)
