"""One call, without any I/O: a generator that builds and signs requests and decides on pauses.

It yields a :class:`Request` and is sent the :class:`Answer` or the :class:`Failure` that came of it, or yields a
:class:`Pause` and is sent nothing, and in the end returns the operation's result or raises one of
:mod:`~bloonio_chat.sdk.errors`. Both clients drive it. Every attempt is signed afresh: the relay's window is 30 s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from bloonio_chat.sdk.answers import UNAUTHORIZED, judge, parse
from bloonio_chat.sdk.attempts import Answer, Failure, Pause, Request
from bloonio_chat.sdk.errors import ChatRelayError
from bloonio_chat.sdk.operations import API_PATH, Operation
from bloonio_chat.sdk.retry import TOO_MANY_REQUESTS, RetryPolicy
from bloonio_chat.sdk.settings import ChatRelaySettings
from bloonio_chat.sdk.signing import sign_headers

logger = logging.getLogger("bloonio_chat.sdk")

_T = TypeVar("_T")

USER_AGENT: Final = "django-bloonio-chat"

# The key was refused, or may not have been looked at.
_SAYS_NOTHING_OF_THE_KEY: Final = (UNAUTHORIZED, TOO_MANY_REQUESTS)


class Keyring:
    """A tenant's secrets, the one that works first. Shared by all calls of a client."""

    def __init__(self, settings: ChatRelaySettings) -> None:
        self._secrets = settings.secrets()
        self._working = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._secrets)}>"

    def candidates(self) -> list[int]:
        """Return the places of all secrets, the one that worked last first."""
        working = self._working
        return [working, *(place for place in range(len(self._secrets)) if place != working)]

    def headers(self, place: int, tenant_id: str, timestamp_ms: int, body: bytes) -> dict[str, str]:
        """Return the signed headers made with the secret at that place."""
        return sign_headers(tenant_id, self._secrets[place], timestamp_ms, body)

    def remember(self, place: int) -> None:
        """Make the secret at that place the first to be tried."""
        self._working = place


def exchange(
    operation: Operation[_T],
    settings: ChatRelaySettings,
    keyring: Keyring,
    policy: RetryPolicy,
    *,
    clock: Callable[[], float] = time.time,
) -> Generator[Request | Pause, Answer | Failure | None, _T]:
    """Run one operation.

    See the module. ``clock`` gives the Unix time in seconds.
    """
    url = f"{settings.base_url}{API_PATH}{operation.path}"
    if operation.query:
        url = f"{url}?{operation.query}"
    candidates = keyring.candidates()
    attempt = 0
    while True:
        attempt += 1
        started, signed_at = time.perf_counter(), clock()
        result = yield Request(
            operation.method,
            url,
            # Not kept in a variable: an error page would show the signature.
            _headers(
                operation, keyring.headers(candidates[0], settings.tenant_id, int(signed_at * 1000), operation.body)
            ),
            operation.body,
        )
        assert result is not None  # noqa: S101  # the driver's contract, for the type checker
        _log(operation, attempt, result, time.perf_counter() - started)
        if isinstance(result, Answer):
            if result.status_code not in _SAYS_NOTHING_OF_THE_KEY and result.status_code < 500:
                keyring.remember(candidates[0])
            if result.status_code < 300:
                return parse(operation, result)
        error, outcome = judge(operation, result, signed_at=signed_at, now=clock())
        if _refused_key(error):
            # Refused before any work was done, so another secret may try even a write; it costs no attempt.
            candidates.pop(0)
            if candidates:
                attempt -= 1
                continue
        seconds = policy.pause(attempt, outcome, repeatable=operation.repeatable)
        if seconds is None:
            raise error
        yield Pause(seconds)


def _headers(operation: Operation[Any], signed: dict[str, str]) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT, **signed}
    if operation.body:
        headers["Content-Type"] = "application/json"
    return headers


def _refused_key(error: ChatRelayError) -> bool:
    return error.status_code == UNAUTHORIZED and error.clock_skew_seconds is None


def _log(operation: Operation[Any], attempt: int, result: Answer | Failure, seconds: float) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        status = result.status_code if isinstance(result, Answer) else result.reason
        logger.debug(
            "%s attempt %d: %s in %.0f ms",
            operation.name,
            attempt,
            status,
            seconds * 1000,
            extra={"operation": operation.name, "attempt": attempt, "status": status, "milliseconds": seconds * 1000},
        )
