"""Merging what was fetched, where the database may refuse one object of it: the others by themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, router

from bloonio_chat.mirror.contention import is_contention
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.models import Conversation
from bloonio_chat.mirror.projection import lock_all, merge
from bloonio_chat.sdk import types

logger = logging.getLogger("bloonio_chat.mirror")


class Refused(NamedTuple):
    """An object that the database did not take, and what it said."""

    fetched: Fetched
    error: DatabaseError

    @property
    def what(self) -> str:
        """The object, for people: its kind and its id."""
        return f"{type(self.fetched.object).__name__.lower()} {self.fetched.object.id!a}"


def merge_each(batch: Sequence[Fetched]) -> list[Refused]:
    """Merge all that the database takes, and return the rest, of which the log tells.

    A conversation of which something was refused keeps its mark, and does not count as one with its messages. Raises
    ``DatabaseError`` where other writers are in the way, or the database is gone or read-only: no object's fault.
    """
    try:
        merge(list(batch))
    except DatabaseError as error:
        if is_contention(error) or not _takes_writes():
            raise
        if len(batch) > 1:
            return [refused for fetched in batch for refused in merge_each([_by_itself(fetched)])]
        refused = Refused(batch[0], error)
        problem = type(error).__name__
        logger.error("Tenant %s: %s could not be written (%s).", batch[0].tenant, refused.what, problem)  # noqa: TRY400  # the traceback may quote it
        return [refused]
    return []


def _takes_writes() -> bool:
    """Return whether the database takes a write that changes nothing."""
    try:
        lock_all(router.db_for_write(Conversation))
    except (DatabaseError, InterfaceError):
        return False
    return True


def _by_itself(fetched: Fetched) -> Fetched:
    is_whole = isinstance(fetched.object, types.Ticket)
    return fetched if is_whole else replace(fetched, has_messages=False, mark=None)
