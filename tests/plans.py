"""What PostgreSQL and MariaDB say of how they answered a query."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any


def rows_read(database: str, cursor: Any, sql: str, parameters: Any = None) -> Counter[str]:
    """Answer a query, and return how many rows of which table were read for it."""
    start = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)" if database == "postgresql" else "ANALYZE FORMAT=JSON"
    cursor.execute(f"{start} {sql}", parameters)
    found = cursor.fetchone()[0]
    read: Counter[str] = Counter()
    for node in _nodes(found if isinstance(found, list) else json.loads(found)):
        if "Relation Name" in node:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read[node["Relation Name"]] += int((node["Actual Rows"] + removed) * node["Actual Loops"])
        elif "table_name" in node:
            read[node["table_name"]] += int((node.get("r_rows") or 0) * (node.get("r_loops") or 0))
    return read


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    if isinstance(tree, (dict, list)):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from _nodes(branch)
