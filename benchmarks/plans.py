"""How a database goes about the statements of some work: what it reads by which index, and what it does with that."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.db import connections

# Of a statement, by its text without the lengths of its lists: the ways in which it was planned.
Plans = dict[str, set[str]]

_LISTS: Final = re.compile(r"\((?:%s(?:, )?)+\)(?:, \((?:%s(?:, )?)+\))*")
# Holds what workers have in hand at this moment; no old row makes it larger.
_WORK_IN_PROGRESS: Final = ("_inboxlane", "_inboxsweep")
# By either of them a database finds what is due in some lanes; which one depends on how much that is.
_OF_WHAT_IS_DUE: Final = ("bloonio_inbox_due", "bloonio_inbox_lane")
_EXPLAINED: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")


@contextlib.contextmanager
def noting(alias: str, *, tables: str) -> Iterator[Plans]:
    """Have each statement on a database explained before it is run, and give what was found.

    ``tables`` is what the names of the tables of interest begin with.
    """
    plans: Plans = {}
    connection = connections[alias]
    explain = _EXPLAIN[connection.vendor]

    def note(execute: Callable[..., Any], sql: str, params: Sequence[Any], many: bool, context: Any) -> Any:
        if sql.startswith(_EXPLAINED) and tables in sql and not many:
            # Beside Django's wrapper, which would explain the explanation.
            with connection.connection.cursor() as cursor:
                plans.setdefault(_LISTS.sub("(…)", sql), set()).add(explain(cursor, sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield plans


def differences(small: Plans, large: Plans) -> list[str]:
    """Return what is said of each statement that was planned otherwise in the large one."""
    return [
        f"{sql}\n  small: {' or '.join(sorted(small.get(sql, set())))}\n  large: {' or '.join(sorted(large[sql]))}"
        for sql in sorted(large)
        if not large[sql] <= small.get(sql, set())
    ]


def _explain_postgresql(cursor: Any, sql: str, params: Sequence[Any]) -> str:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
    found = cursor.fetchone()[0]
    tree = json.loads(found) if isinstance(found, str) else found
    return _describe_node(tree[0]["Plan"])


def _describe_node(node: dict[str, Any]) -> str:
    kind, table = node["Node Type"], node.get("Relation Name")
    children = node.get("Plans", [])
    if kind.endswith("Scan") and table is not None:
        # A bitmap names its index one node below.
        indexes = [found for found in (node.get("Index Name"), *map(_index_of, children)) if found]
        return _describe_access(table, ", ".join(indexes))
    below = "; ".join(map(_describe_node, children))
    return f"{kind} ({below})" if below else str(kind)


def _index_of(node: dict[str, Any]) -> str | None:
    return node.get("Index Name")


def _explain_mysql(cursor: Any, sql: str, params: Sequence[Any]) -> str:
    cursor.execute(f"EXPLAIN {sql}", params)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return "; ".join(_describe_access(row["table"], row["key"] or "") for row in rows if row["table"])


def _describe_access(table: str, index: str) -> str:
    """Say by what a table is read; an index that is read through a bitmap, or alone, is the same index."""
    # Of so small a table the database reads all or an index, as it happens.
    if table.endswith(_WORK_IN_PROGRESS):
        return "lanes in work"
    if index in _OF_WHAT_IS_DUE:
        index = " or ".join(_OF_WHAT_IS_DUE)
    return f"{table} by {index}" if index else f"all of {table}"


_EXPLAIN: dict[str, Callable[[Any, str, Sequence[Any]], str]] = {
    "postgresql": _explain_postgresql,
    "mysql": _explain_mysql,
}
