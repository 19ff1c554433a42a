"""Trying again where writers got in each other's way, which is nobody's fault."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import DatabaseError, connections

logger = logging.getLogger("bloonio_chat.mirror")

_Result = TypeVar("_Result")

MOST_ATTEMPTS: Final = 12
FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 1.0

# Deadlock, serialization failure, lock not available, unique violation (PostgreSQL); deadlock, lock wait timeout,
# record has changed since last read, duplicate entry, and that with its index's name (MariaDB, MySQL). Where a row is
# there already, somebody wrote it between our look and our insert; the next look finds it.
_SQLSTATES: Final = frozenset({"40P01", "40001", "55P03", "23505"})
_ERROR_NUMBERS: Final = frozenset({1213, 1205, 1020, 1062, 1586})
_SQLITE_TEXTS: Final = ("database is locked", "UNIQUE constraint failed")


class StaleReadError(DatabaseError):
    """A locked row points to one that this transaction does not see: it began to read before that was written."""


def retrying(
    work: Callable[[], _Result],
    *,
    using: str,
    sleep: Callable[[float], None],
    random: Callable[[], float],
) -> _Result:
    """Do work that is one transaction on the database ``using``, and do it again where another writer was in its way.

    ``sleep`` takes seconds, ``random`` returns a number from 0 to 1. Raises what the last of the attempts raised.
    Within a transaction of the caller's there is one attempt: that transaction is lost, and the caller's to repeat.
    """
    attempts = 1 if connections[using].in_atomic_block else MOST_ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except DatabaseError as error:
            if attempt == attempts or not is_contention(error):
                raise
            logger.debug("Another writer was in the way, attempt %d: %s.", attempt, type(error).__name__)
        # Jitter, so that those who met do not meet again.
        sleep(random() * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


def is_contention(error: DatabaseError) -> bool:
    """Return whether the same work may succeed when it is done again at once."""
    # As psycopg calls it, and as psycopg2 does.
    sqlstate = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    if isinstance(error, StaleReadError) or sqlstate in _SQLSTATES:
        return True
    first = error.args[0] if error.args else None
    return first in _ERROR_NUMBERS or (isinstance(first, str) and any(text in first for text in _SQLITE_TEXTS))
