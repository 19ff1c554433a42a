"""The databases that rooms with tables are tested on: SQLite in a file, PostgreSQL and MariaDB, each where it answers.

Every test of such a room takes the fixture ``database``; the router then sends the rooms' models there, so that a
query that names no database of its own, or the wrong one, fails.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pymysql
import pytest

from tests import services

# Django asks for mysqlclient, which must be compiled; this one speaks the same protocol in Python alone.
pymysql.version_info = (2, 2, 8, "final", 0)  # what Django compares with its own minimum
pymysql.install_as_MySQLdb()

# Two runs side by side, on one machine, need databases of their own.
_SUFFIX: Final = os.environ.get("TEST_DATABASE_SUFFIX", "")

ROOMS: Final = ("bloonio_chat_inbox", "bloonio_chat_mirror")

SQLITE: Final[dict[str, Any]] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(Path(tempfile.gettempdir()) / f"bloonio-chat{_SUFFIX}.sqlite3"),
    "TEST": {"NAME": str(Path(tempfile.gettempdir()) / f"test-bloonio-chat{_SUFFIX}.sqlite3")},
    "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
}
POSTGRESQL: Final[dict[str, Any]] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "postgres",
    "USER": "postgres",
    "HOST": "127.0.0.1",
    "PORT": "5432",
    "TEST": {"NAME": f"test_bloonio_chat{_SUFFIX}"},
}
MARIADB: Final[dict[str, Any]] = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "test",
    "USER": "root",
    "PASSWORD": "",
    "HOST": "127.0.0.1",
    "PORT": "3306",
    "OPTIONS": {"charset": "utf8mb4"},
    "TEST": {"NAME": f"test_bloonio_chat{_SUFFIX}", "CHARSET": "utf8mb4"},
}
_PORTS: Final = {"postgresql": 5432, "mariadb": 3306}
NAMES: Final = ("sqlite", "postgresql", "mariadb")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def available() -> dict[str, dict[str, Any]]:
    """Return the settings of those that answer, by alias."""
    servers = {"postgresql": POSTGRESQL, "mariadb": MARIADB}
    return {"sqlite": SQLITE, **{name: its for name, its in servers.items() if _answers(_PORTS[name])}}


class RoomsRouter:
    """Sends the rooms' models to the database of the running test, all else to the default one."""

    alias: ClassVar[str] = "default"

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return type(self).alias if model._meta.app_label in ROOMS else None

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool | None:
        return True


@pytest.fixture(params=NAMES)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on each database, with the rooms' tables there; gives the alias."""
    name: str = request.param
    from django.conf import settings

    if name not in settings.DATABASES:
        services.missing(f"{name} does not answer at 127.0.0.1:{_PORTS[name]}")
    before, RoomsRouter.alias = RoomsRouter.alias, name
    yield name
    RoomsRouter.alias = before
