"""Telling Celery's workers that something was accepted: a task each time, and few of them once workers are behind.

Else a day without workers would leave a task in the broker for each of its events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db import DatabaseError, InterfaceError, router

from bloonio_chat.inbox.lanes import is_waiting
from bloonio_chat.inbox.models import InboxEvent

# Workers are behind where something has been due for so long and nobody has it.
BEHIND_MS: Final = 10_000
LOOK_SECONDS: Final = 5.0
# How long a thread of the hand-over then lets lanes gather, before it publishes what has come.
GATHER_SECONDS: Final = 2.0

# A connection that the broker has cut since it was used last fails once, and a new one is well.
_PUBLISH_AGAIN: Final[dict[str, float]] = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class Publisher:
    """The runner ``celery``; called in the threads of the hand-over."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._is_behind = False

    def __call__(self, lanes: Sequence[str]) -> None:
        """Publish a task. Raises where the broker is down, which may take Celery some seconds to find out."""
        from bloonio_chat.inbox.tasks import DELIVER_EXPIRES_SECONDS, deliver

        deliver.apply_async(
            args=[list(lanes)], expires=DELIVER_EXPIRES_SECONDS, retry=True, retry_policy=_PUBLISH_AGAIN
        )

    def seconds_to_gather(self) -> float:
        """Return how long to wait before the next one, so that it takes more lanes along; 0 unless workers are behind.

        Looks now and then: each time takes a connection to the database.
        """
        now = self._monotonic()
        if self._looked_at is None or now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            try:
                self._is_behind = is_waiting(router.db_for_write(InboxEvent), older_than_ms=BEHIND_MS)
            except (DatabaseError, InterfaceError):
                # The task is published, and nothing comes in meanwhile.
                self._is_behind = False
        return GATHER_SECONDS if self._is_behind else 0.0
