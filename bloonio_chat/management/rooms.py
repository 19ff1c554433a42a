"""What commands say where the room that does their work is not installed, or has no tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, connections, router

_Port = TypeVar("_Port")


def require(port: _Port | None, room: str) -> _Port:
    """Return what a room has registered. Raises ``CommandError`` if it is not installed; ``room`` is its app."""
    if port is None:
        raise CommandError(f'This needs "{room}" in INSTALLED_APPS, and "manage.py migrate" after that.')
    return port


class RoomCommand(BaseCommand):
    """A command that says so where the rooms have no tables yet."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's ``execute``; raises ``CommandError`` where a room's tables are missing."""
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            missing = _missing_tables()
            if missing:
                problem = f'There is no table {missing[0]}: run "manage.py migrate".'
                raise CommandError(problem) from error
            raise


def _missing_tables() -> list[str]:
    missing = []
    try:
        for room in apps.get_app_configs():
            for model in room.get_models() if room.name.startswith("bloonio_chat.") else ():
                table = model._meta.db_table
                if table not in connections[router.db_for_write(model)].introspection.table_names():
                    missing.append(table)
    except (DatabaseError, InterfaceError):
        # It is gone altogether.
        return []
    return missing


def counted(counts: Mapping[str, int]) -> str:
    """Return counts for people: ``3 delivered, 1 failed``."""
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()) or "nothing"
