"""What a database server itself has to say of the tests' database: errors, rollbacks, deadlocks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import connections

from tests.inbox.project.processes import wait_until

_OTHERS: Final = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@contextmanager
def no_error_in(alias: str) -> Iterator[None]:
    """Fail if the server noted an error of this database meanwhile; SQLite has nothing that would note one."""
    if alias == "sqlite":
        yield
        return
    look = {"postgresql": _postgresql, "mariadb": _mariadb}[alias]
    # First, since sessions of the test before may have something to say until they have ended.
    before = look()
    log = _log_of(alias)
    size = log.stat().st_size if log else 0
    yield
    assert look() == before
    if log:
        with log.open("rb") as file:
            file.seek(size)
            lines = file.read().decode(errors="replace").splitlines()
        # Not another run's, whose name begins alike.
        named = re.compile(rf"(?<!\w){re.escape(str(connections[alias].settings_dict['NAME']))}(?!\w)")
        assert not [line for line in lines if named.search(line) and re.search(r"ERROR|FATAL|[Dd]eadlock", line)]


def _rows(alias: str, query: str, *parameters: object) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def _postgresql() -> object:
    # A session reports before it ends, which may be long after its client left; ours does on demand from version 15 on.
    wait_until(lambda: not _rows("postgresql", _OTHERS), "all other sessions have ended", 30)
    if connections["postgresql"].pg_version >= 150000:  # type: ignore[attr-defined]  # this backend's own
        _rows("postgresql", "SELECT pg_stat_force_next_flush()")
    _rows("postgresql", "SELECT pg_stat_clear_snapshot()")
    return _rows(
        "postgresql",
        "SELECT xact_rollback, conflicts, deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )


def _mariadb() -> object:
    # One count for the whole server, whose other databases are none of ours; the last deadlock names its tables.
    status = str(_rows("mariadb", "SHOW ENGINE INNODB STATUS")[0][2])
    deadlock = re.search(r"LATEST DETECTED DEADLOCK\n-+\n(.*?)\n-+\nTRANSACTIONS\n", status, re.DOTALL)
    name = connections["mariadb"].settings_dict["NAME"]
    return deadlock[1] if deadlock and f"`{name}`" in deadlock[1] else None


def _log_of(alias: str) -> Path | None:
    """Return the server's log, where that is a file of this machine that may be read."""
    try:
        if alias == "mariadb":
            path = Path(_rows(alias, "SELECT @@log_error")[0][0])
        else:
            pid = _rows(alias, "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)")[0][0]
            path = Path(os.readlink(f"/proc/{pid}/fd/2"))
    except OSError:
        return None
    return path if path.is_file() and os.access(path, os.R_OK) else None
