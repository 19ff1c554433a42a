"""Runners of a project's own, good and bad."""

from __future__ import annotations

from collections.abc import Sequence

NOT_CALLABLE = "x"


def mine(lanes: Sequence[str]) -> None:
    """Do nothing."""
