"""Databases of the project's own: made for a run, and dropped after it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pymysql

# What a server that is away, or that goes away, is told by.
AWAY: Final = (psycopg.OperationalError, pymysql.err.OperationalError)
PORTS: Final = {"postgresql": 5432, "mariadb": 3306}


def postgresql(name: str, port: int = PORTS["postgresql"]) -> dict[str, Any]:
    """Return Django's settings of a PostgreSQL database on this machine."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": "postgres",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }


def sqlite(path: Path) -> dict[str, Any]:
    """Return Django's settings of a SQLite file that several processes use."""
    options = {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL;", "transaction_mode": "IMMEDIATE"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}


def mariadb(name: str, port: int = PORTS["mariadb"]) -> dict[str, Any]:
    """Return Django's settings of a MariaDB database on this machine."""
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": name,
        "USER": "root",
        "PASSWORD": "",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "OPTIONS": {"charset": "utf8mb4"},
    }


@contextmanager
def scratch(kind: str) -> Iterator[dict[str, Any]]:
    """Make a database of a kind of :data:`PORTS`, give Django's settings of it, and drop it in the end."""
    name = f"bloonio_chat_project_{uuid.uuid4().hex[:12]}"
    settings, server = (
        (postgresql(name), postgresql("postgres")) if kind == "postgresql" else (mariadb(name), mariadb("mysql"))
    )
    query(server, f"CREATE DATABASE {name}" + ("" if kind == "postgresql" else " CHARACTER SET utf8mb4"))
    try:
        yield settings
    finally:
        query(server, f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))


def query(settings: Mapping[str, Any], statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, outside any transaction, and return its rows."""
    with closing(_connect(settings)) as connection, connection.cursor() as cursor:
        # Without parameters, % in a statement is no placeholder.
        cursor.execute(statement, *([tuple(parameters)] if parameters else []))
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


def _connect(settings: Mapping[str, Any]) -> Any:
    where = {"host": settings["HOST"], "port": int(settings["PORT"]), "user": settings["USER"]}
    if settings["ENGINE"].endswith("postgresql"):
        return psycopg.connect(dbname=settings["NAME"], autocommit=True, connect_timeout=10, **where)
    return pymysql.connect(database=settings["NAME"], autocommit=True, connect_timeout=10, **where)
