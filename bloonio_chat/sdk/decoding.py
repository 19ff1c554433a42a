"""JSON from strangers, read once and cleaned of what no database column takes.

One parser reads callbacks and answers: pydantic's. Of a key that stands twice, the last wins. What is cleaned: NUL and
lone surrogates in text become U+FFFD, a number that is not finite becomes ``None``.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import from_json

_ALWAYS_CLEAN = frozenset({str, int, bool, type(None)})

# In JSON a backslash only ever starts an escape within a string, so a scan from escape to escape meets them all.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}|u0000)|.)",
    re.DOTALL,
)


def decode(body: bytes) -> tuple[Any, bool]:
    """Return what a JSON text says, cleaned, and whether anything had to be.

    Raises ``ValueError`` for what is not JSON in UTF-8, is nested too deep, or holds an integer beyond Python's limit.
    """
    tree, was_mended = parse(body)
    cleaned = clean(tree)
    return cleaned, was_mended or cleaned is not tree


def parse(body: bytes) -> tuple[Any, bool]:
    """Return what a JSON text says, its texts cleaned but not its numbers, and whether any text had to be.

    Raises like :func:`decode`.
    """
    mended = clean_escapes(body)
    return from_json(mended), mended is not body


def clean_escapes(body: bytes) -> bytes:
    """Return a JSON text without escapes for NUL or half a surrogate pair; the very same object if it has none."""
    if b"\\u" not in body:
        return body
    mended = _ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], body)
    return body if mended == body else mended


def clean(tree: Any) -> Any:
    """Return a parsed tree with ``None`` for numbers that are not finite; the very same object if it has none."""
    return tree if is_clean(tree) else _cleaned(tree)


def is_clean(tree: Any) -> bool:
    """Return whether every number of a parsed tree is finite."""
    kind = type(tree)
    if kind is dict:
        tree = tree.values()
    elif kind is not list:
        return kind is not float or math.isfinite(tree)
    for value in tree:  # noqa: SIM110  # a plain loop: all() over a generator costs every callback twice as much
        if type(value) not in _ALWAYS_CLEAN and not is_clean(value):
            return False
    return True


def _cleaned(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _cleaned(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_cleaned(item) for item in tree]
    return tree if is_clean(tree) else None
