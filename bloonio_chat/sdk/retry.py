"""When a call is tried again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Final

TOO_MANY_REQUESTS: Final = 429


@dataclass(frozen=True)
class Outcome:
    """How an attempt failed.

    ``status_code`` is ``None`` where no whole answer came; ``processed`` tells whether the relay may have done the work
    (``False`` only where it surely did not); ``transient`` whether another attempt could fare better.
    """

    status_code: int | None
    processed: bool
    transient: bool
    retry_after: float | None = None


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter; ``Retry-After`` counts where the relay sends one.

    ``base_seconds`` doubles with each attempt up to ``longest_backoff_seconds``. A ``Retry-After`` over
    ``longest_wait_seconds`` is not waited for: the caller gets the error at once, with ``retry_after`` set.
    """

    max_attempts: int = 3
    base_seconds: float = 0.25
    longest_backoff_seconds: float = 4.0
    longest_wait_seconds: float = 10.0
    # Spreads out clients that failed together; no secret hangs on it.
    jitter: Callable[[], float] = random.random

    def pause(self, attempt: int, outcome: Outcome, *, repeatable: bool) -> float | None:
        """Return the seconds to wait before another attempt, or ``None`` to give up.

        ``attempt`` counts from 1. A call that is not ``repeatable`` is repeated only where it surely was not processed.
        """
        if attempt >= self.max_attempts or not outcome.transient or (outcome.processed and not repeatable):
            return None
        backoff: float = self.jitter() * min(self.longest_backoff_seconds, self.base_seconds * 2 ** (attempt - 1))
        if outcome.retry_after is None:
            return backoff
        if outcome.retry_after > self.longest_wait_seconds:
            return None
        # At least what the relay asked for; the jitter on top keeps clients that were told the same moment apart.
        return float(outcome.retry_after + backoff)


def outcome_of_status(status_code: int, retry_after: float | None) -> Outcome:
    """Return how an answer with an error status bears on another attempt."""
    return Outcome(
        status_code,
        processed=status_code >= 500,
        transient=status_code == TOO_MANY_REQUESTS or status_code >= 500,
        retry_after=retry_after,
    )


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, as a number or as an HTTP date; ``None`` if it says
    nothing.

    ``now`` is the Unix time in seconds. A date that has passed asks for 0. Protocol §3.1.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdecimal():
        # Nine digits are thirty years; more would only tempt int() and float().
        return float(value) if len(value) <= 9 else float(10**9)
    when = parse_http_date(value)
    return None if when is None else max(0.0, when - now)


def parse_http_date(value: str | None) -> float | None:
    """Return the Unix time in seconds that an HTTP date names, or ``None`` if it names none."""
    try:
        when = parsedate_to_datetime(value or "")
        return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
