"""How deep the relay's JSON may be nested here: MariaDB takes no more than 32 levels."""

from __future__ import annotations

from typing import Any, Final

# Columns that hold lists of objects, and whatever is put around a column, add some.
MOST_LEVELS: Final = 25


def shallow(tree: Any, levels: int = MOST_LEVELS) -> Any:
    """Return JSON with at most so many levels of objects and arrays; ``None`` stands for what is nested deeper."""
    if isinstance(tree, dict):
        return {name: shallow(value, levels - 1) for name, value in tree.items()} if levels else None
    if isinstance(tree, list):
        return [shallow(value, levels - 1) for value in tree] if levels else None
    return tree
