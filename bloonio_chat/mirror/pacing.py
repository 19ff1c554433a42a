"""A tenant's client for long work: within the tenant's share of calls, and patient with a relay that fails."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.clients import get_chat_client
from bloonio_chat.mirror import rates
from bloonio_chat.mirror.fetching import Page, paged
from bloonio_chat.mirror.hydration import RETRY_AFTER_SECONDS
from bloonio_chat.sdk.errors import (
    ChatRelayAnswerError,
    ChatRelayArgumentError,
    ChatRelayAuthenticationError,
    ChatRelayConflictError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayInputError,
    ChatRelayRateLimitError,
    ChatRelayServerError,
    ChatRelayTimeoutError,
    ChatRelayTooLargeError,
)
from bloonio_chat.sdk.operations import Operation

_T = TypeVar("_T")

# How often a call that fails is made again, beyond the client's own attempts.
MOST_FAILURES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 1.0
# A longer wait is worth a line.
_QUIET_SECONDS: Final = 10.0
_NAP_SECONDS: Final = 1.0

# What another attempt may not meet: a secret that is just being rotated, a clock that was set, an answer cut short.
PASSING: Final = (
    ChatRelayConnectionError,
    ChatRelayServerError,
    ChatRelayAnswerError,
    ChatRelayAuthenticationError,
)
# What is wrong with one object, and with no other.
_OF_ONE: Final = (
    ChatRelayAnswerError,
    ChatRelayArgumentError,
    ChatRelayInputError,
    ChatRelayConflictError,
    ChatRelayTooLargeError,
)
# So may this be, unless it is met by one object after the other.
_PERHAPS_OF_ONE: Final = (ChatRelayServerError, ChatRelayTimeoutError)
_MOST_IN_A_ROW: Final = 2


class StoppedError(Exception):
    """The work was asked to stop while it waited."""


@dataclass(frozen=True)
class Pacing:
    """What long work needs: where to report, when to stop, the Unix time in seconds, how to sleep, and chance."""

    report: Report
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random_module.random

    def now_ms(self) -> int:
        """Return the Unix time in milliseconds."""
        return int(self.clock() * 1000)

    def wait(self, seconds: float, reason: str) -> None:
        """Sleep. Raises ``StoppedError`` as soon as the work is to stop."""
        if seconds > _QUIET_SECONDS:
            self.report.line(f"Waiting {seconds:.0f} s: {reason}.")
        ends = self.clock() + seconds
        while (left := ends - self.clock()) > 0:
            if self.stop():
                raise StoppedError
            self.sleep(min(left, _NAP_SECONDS))


@dataclass
class PacedCaller:
    """The calls of one tenant, given by its alias; ``patience`` is after how many failures in a row it gives up."""

    tenant: str
    pacing: Pacing
    patience: int = MOST_FAILURES
    # So many calls in a row came to nothing, in spite of all patience.
    _in_vain: int = 0

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out an operation, once there is a call left for it.

        A failure that may pass is waited for, 429 as long as the relay asks. Raises ``ChatRelayError`` where it does
        not pass, and ``StoppedError``.
        """
        failures = 0
        while True:
            self.wait_for_call()
            try:
                result = get_chat_client(self.tenant).call(operation)
            except ChatRelayRateLimitError as error:
                seconds = RETRY_AFTER_SECONDS if error.retry_after is None else error.retry_after
                rates.obey(self.tenant, seconds, now_ms=self.pacing.now_ms())
            except ChatRelayError as error:
                failures += 1
                self.be_patient(error, failures)
            else:
                self._in_vain = 0
                return result

    def wait_for_call(self) -> None:
        """Take one call of the tenant's share, as soon as there is one. Raises ``StoppedError``."""
        while wait_ms := rates.take(self.tenant, 1, now_ms=self.pacing.now_ms(), despite_pause=True):
            self.pacing.wait(wait_ms / 1000, f"the calls of tenant {self.tenant} are used up")

    def be_patient(self, error: ChatRelayError, failures: int) -> None:
        """Wait after so many failures in a row.

        Raises the error once there were too many, or where another attempt ends the same way, and ``StoppedError``.
        """
        if failures >= self.patience or not isinstance(error, PASSING):
            self._in_vain += 1
            raise error
        seconds = _FIRST_PAUSE_SECONDS * 2 ** (failures - 1) * (0.5 + self.pacing.random() / 2)
        self.pacing.wait(seconds, f"the relay of tenant {self.tenant} failed ({type(error).__name__})")

    def is_of_one(self, error: ChatRelayError) -> bool:
        """Return whether an error that a call for one object raised hides no other: they are to be gone on with."""
        return isinstance(error, _OF_ONE) or (isinstance(error, _PERHAPS_OF_ONE) and self._in_vain <= _MOST_IN_A_ROW)

    def page(self, operation: Operation[list[_T]]) -> Page[_T]:
        """Read one page of a list; raises like :meth:`call`."""
        return self.call(paged(operation))
