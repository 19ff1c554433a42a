"""What commands say where the room that does their work is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from django.core.management.base import CommandError

_Port = TypeVar("_Port")


def require(port: _Port | None, room: str) -> _Port:
    """Return what a room has registered. Raises ``CommandError`` if it is not installed; ``room`` is its app."""
    if port is None:
        raise CommandError(f'This needs "{room}" in INSTALLED_APPS, and "manage.py migrate" after that.')
    return port


def counted(counts: Mapping[str, int]) -> str:
    """Return counts for people: ``3 delivered, 1 failed``."""
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()) or "nothing"
