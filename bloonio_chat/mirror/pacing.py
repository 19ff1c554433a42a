"""A tenant's client for long work: within the tenant's share of calls, and patient with a relay that fails."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final, TypeVar

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.clients import get_chat_client
from bloonio_chat.mirror import rates
from bloonio_chat.mirror.fetching import Page, paged
from bloonio_chat.mirror.hydration import RETRY_AFTER_SECONDS
from bloonio_chat.sdk import operations
from bloonio_chat.sdk.errors import (
    ChatRelayAnswerError,
    ChatRelayArgumentError,
    ChatRelayAuthenticationError,
    ChatRelayConflictError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayInputError,
    ChatRelayNotFoundError,
    ChatRelayRateLimitError,
    ChatRelayServerError,
    ChatRelayTooLargeError,
)
from bloonio_chat.sdk.operations import Operation

_T = TypeVar("_T")

# How often a call that fails is made in all, each time with the client's own attempts.
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
# So may this be; where one object after the other meets it, the relay is asked for something else first.
PERHAPS_OF_ONE: Final = (ChatRelayServerError, ChatRelayConnectionError)
_MOST_IN_A_ROW: Final = 2
# So many objects in a row at which one route failed: it fails at all of them, whatever the lists answer.
MOST_OBJECTS_IN_VAIN: Final = 10
# A call that took so long leaves a slice of a sync (``tasks.TASK_SECONDS``) no time for another attempt.
LONG_CALL_SECONDS: Final = 25.0


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

    def now(self) -> datetime:
        """Return the time."""
        return datetime.fromtimestamp(self.clock(), timezone.utc)

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
    # At how many objects in a row each route failed, by its name. Lists that answer say nothing of it.
    objects_in_vain: dict[str, int] = field(default_factory=dict)
    # Something was written down, so that who goes on begins later than this one did.
    has_moved_on: bool = False
    # So many calls in a row came to nothing, in spite of all patience.
    _in_vain: int = 0

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out an operation for one object, once there is a call left for it.

        A failure that may pass is waited for, 429 as long as the relay asks. Raises ``ChatRelayError`` where it does
        not pass, and ``StoppedError``.
        """
        try:
            result = self._call(operation)
        except ChatRelayNotFoundError:
            # Says nothing of the others.
            raise
        except ChatRelayError:
            self.objects_in_vain[operation.name] = self.objects_in_vain.get(operation.name, 0) + 1
            raise
        self.objects_in_vain.pop(operation.name, None)
        return result

    def _call(self, operation: Operation[_T]) -> _T:
        failures = 0
        while True:
            self.wait_for_call()
            began = self.pacing.clock()
            try:
                result = get_chat_client(self.tenant).call(operation)
            except ChatRelayRateLimitError as error:
                seconds = RETRY_AFTER_SECONDS if error.retry_after is None else error.retry_after
                rates.obey(self.tenant, seconds, now_ms=self.pacing.now_ms())
            except ChatRelayError as error:
                failures += 1
                self.be_patient(error, failures, seconds=self.pacing.clock() - began)
            else:
                self._in_vain = 0
                return result

    def wait_for_call(self) -> None:
        """Take one call of the tenant's share, as soon as there is one. Raises ``StoppedError``."""
        while wait_ms := rates.take(self.tenant, 1, now_ms=self.pacing.now_ms(), despite_pause=True):
            self.pacing.wait(wait_ms / 1000, f"the calls of tenant {self.tenant} are used up")

    def be_patient(self, error: ChatRelayError, failures: int, *, seconds: float = 0.0) -> None:
        """Wait after so many failures in a row; ``seconds`` is how long the last call took.

        Raises the error once there were too many, and where another attempt ends the same way; where the work is to
        stop, that or ``StoppedError``.
        """
        if failures >= self.patience or not isinstance(error, PASSING):
            self._in_vain += 1
            raise error
        pause = _FIRST_PAUSE_SECONDS * 2 ** (failures - 1) * (0.5 + self.pacing.random() / 2)
        try:
            self.pacing.wait(pause, f"the relay of tenant {self.tenant} failed ({type(error).__name__})")
        except StoppedError:
            # What failed once, as the time was over, is for who goes on. But who only heard of the end of the time
            # would begin again at once, and for ever: calls that time out leave no time for as many failures as there
            # is patience.
            if failures == 1 and seconds <= LONG_CALL_SECONDS and self.has_moved_on:
                raise
            self._in_vain += 1
            raise error from None

    def is_of_one(self, error: ChatRelayError) -> bool:
        """Return whether an error that a call for one object raised hides no other: they are to be gone on with.

        Where several in a row met what the whole relay may suffer from, it is asked whether it answers at all: those
        may be neighbours, and what is between them needed no call. Not where a route failed at too many in a row: it
        would be asked for all the others in vain. Raises ``StoppedError``.
        """
        if self.fails_at_all():
            return False
        if not isinstance(error, PERHAPS_OF_ONE):
            return isinstance(error, _OF_ONE)
        return self._in_vain <= _MOST_IN_A_ROW or self.answers()

    def fails_at_all(self) -> bool:
        """Return whether a route failed at so many objects in a row that it is not for these."""
        return max(self.objects_in_vain.values(), default=0) >= MOST_OBJECTS_IN_VAIN

    def answers(self) -> bool:
        """Return whether the relay answers, by a call that is cheap and that every relay knows, with all patience."""
        try:
            self.page(operations.list_conversations(limit=1))
        except ChatRelayNotFoundError:
            # An answer too.
            self._in_vain = 0
        except ChatRelayError:
            return False
        return True

    def page(self, operation: Operation[list[_T]]) -> Page[_T]:
        """Read one page of a list; raises like :meth:`call`."""
        return self._call(paged(operation))
