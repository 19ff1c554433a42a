"""Where benchmarks leave what they need: databases that are dropped again, and a folder of temporary files."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.startproject import mariadb, postgresql

# What takes long to make, such as the environment of a peer, stays here for the next run.
FOLDER: Final = Path(tempfile.gettempdir()) / "bloonio-chat-benchmarks"
_PREFIX: Final = "bloonio_chat_benchmark_"


@contextlib.contextmanager
def postgresql_database(name: str) -> Iterator[dict[str, Any]]:
    """Make an empty database, give Django's settings of it, and drop it at the end; one that was left there too."""
    settings = postgresql(_PREFIX + name)
    database = sql.Identifier(settings["NAME"])
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database)
    with connect(postgresql("postgres")) as server:
        server.execute(drop)
        server.execute(sql.SQL("CREATE DATABASE {}").format(database))
    try:
        yield settings
    finally:
        with connect(postgresql("postgres")) as server:
            server.execute(drop)


def connect(settings: dict[str, Any]) -> psycopg.Connection:
    """Return a connection of one's own, beside Django's, to the database of these settings, in autocommit mode."""
    return psycopg.connect(
        dbname=settings["NAME"],
        host=settings["HOST"],
        port=settings["PORT"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        autocommit=True,
    )


def has_mariadb() -> bool:
    """Return whether a MariaDB server answers."""
    settings = mariadb("")
    try:
        socket.create_connection((settings["HOST"], int(settings["PORT"])), timeout=2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def mariadb_database(name: str) -> Iterator[dict[str, Any]]:
    """Do the same on the MariaDB server."""
    import pymysql

    # Django asks for mysqlclient, which must be compiled; this one speaks the same protocol in Python alone.
    pymysql.version_info = (2, 2, 8, "final", 0)  # what Django compares with its own minimum
    pymysql.install_as_MySQLdb()
    settings = mariadb(_PREFIX + name)
    server = pymysql.connect(
        host=settings["HOST"], port=int(settings["PORT"]), user=settings["USER"], password=settings["PASSWORD"]
    )
    with server, server.cursor() as cursor:
        drop = f"DROP DATABASE IF EXISTS `{settings['NAME']}`"
        cursor.execute(drop)
        cursor.execute(f"CREATE DATABASE `{settings['NAME']}` CHARACTER SET utf8mb4")
        try:
            yield settings
        finally:
            server.ping(reconnect=True)
            cursor.execute(drop)
