"""The database's clock, the only one that all workers share, as an SQL expression."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import BigIntegerField, Func
from django.db.models.sql import Query


class DatabaseClock(Func):
    """Unix time in milliseconds when the statement began, by the database's clock.

    A number, and not a timestamp: it means the same with and without ``USE_TZ`` and in every session's time zone.
    """

    output_field = BigIntegerField()
    arity = 0
    template = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """The statement's own time is stable, so that an index can be searched for it."""
        template = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS bigint)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """UTC, since the session's own time zone may have hours that come twice."""
        template = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"
        return self.as_sql(compiler, connection, template=template, **context)


def clock_sql(using: str) -> str:
    """Return the clock as SQL of that database, without parameters."""
    sql, _ = Query(None).get_compiler(using).compile(DatabaseClock())
    return str(sql)


def read_clock(using: str) -> int:
    """Return what the clock says now, in milliseconds."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {clock_sql(using)}")
        return int(cursor.fetchone()[0])
