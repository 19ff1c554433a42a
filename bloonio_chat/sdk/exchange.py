"""One call, without any I/O: a generator that builds and signs requests, judges answers and decides on pauses.

It yields a :class:`Request` and is sent the :class:`Answer` or the :class:`Failure` that came of it, or yields a
:class:`Pause` and is sent nothing, and in the end returns the operation's result or raises one of
:mod:`~bloonio_chat.sdk.errors`. Both clients drive it. Every attempt is signed afresh: the relay's window is 30 s.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from bloonio_chat.sdk.decoding import decode
from bloonio_chat.sdk.errors import (
    LONGEST_BODY_KEPT,
    ChatRelayAnswerError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayStatusError,
    ChatRelayTimeoutError,
    error_for_status,
)
from bloonio_chat.sdk.operations import API_PATH, Operation
from bloonio_chat.sdk.retry import (
    TOO_MANY_REQUESTS,
    Outcome,
    RetryPolicy,
    outcome_of_status,
    parse_http_date,
    parse_retry_after,
)
from bloonio_chat.sdk.settings import ChatRelaySettings
from bloonio_chat.sdk.signing import RELAY_WINDOW_SECONDS, sign_headers

logger = logging.getLogger("bloonio_chat.sdk")

_T = TypeVar("_T")

# A list of a hundred of the longest messages stays far below; what is larger is no answer of the relay's.
LARGEST_ANSWER: Final = 16 * 1024 * 1024
USER_AGENT: Final = "django-bloonio-chat"
UNAUTHORIZED: Final = 401

# The key was refused, or may not have been looked at.
_SAYS_NOTHING_OF_THE_KEY: Final = (UNAUTHORIZED, TOO_MANY_REQUESTS)

# A signature is 64 hexadecimal digits, a token is a JWT; a gateway's page for debugging may quote either.
_NOT_TO_BE_SHOWN = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])|eyJ[\w-]{8,}(?:\.[\w-]*)*")


@dataclass(frozen=True)
class Request:
    """A signed request. Its ``repr`` shows neither headers nor body nor query."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A whole answer; the names of its headers are in lower case."""

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """An attempt without a whole answer.

    ``reached`` is false only where the connection was never made; ``reason`` is for people and must not quote the
    request. ``transient`` is false where another attempt would end the same way.
    """

    reason: str
    reached: bool
    timed_out: bool = False
    transient: bool = True
    too_large: bool = False


def failure(*, reached: bool, timed_out: bool = False, tls: bool = False, proxy: bool = False) -> Failure:
    """Return the failure of an attempt, described by its kind alone: what HTTP libraries say quotes the URL."""
    if timed_out:
        return Failure("no answer in time" if reached else "no connection in time", reached=reached, timed_out=True)
    if reached:
        return Failure("the connection was lost before the answer was whole", reached=True)
    if tls:
        return Failure("the relay's TLS certificate or handshake was refused", reached=False, transient=False)
    if proxy:
        return Failure("the proxy was not reached, or it refused", reached=False)
    return Failure("the relay was not reached: no such host, or nothing listens there", reached=False)


def causes(error: BaseException, *, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that led to it, up to ``outer``: what the caller was busy with before the attempt."""
    found: BaseException | None = error
    while found is not None and found is not outer:
        yield found
        found = found.__cause__ or found.__context__


def too_large() -> Failure:
    """Return the failure of an attempt whose answer passed the limit."""
    return Failure(f"the answer is larger than {LARGEST_ANSWER} bytes", reached=True, transient=False, too_large=True)


@dataclass(frozen=True)
class Pause:
    """Time to let pass before the next attempt, in seconds."""

    seconds: float


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
    timer: Callable[[], float] = time.perf_counter,
) -> Generator[Request | Pause, Answer | Failure | None, _T]:
    """Run one operation.

    See the module. ``clock`` gives the Unix time in seconds, ``timer`` any seconds that only grow.
    """
    url = f"{settings.base_url}{API_PATH}{operation.path}"
    if operation.query:
        url = f"{url}?{operation.query}"
    candidates = keyring.candidates()
    attempt = 0
    while True:
        attempt += 1
        started, signed_at = timer(), clock()
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
        _log(operation, attempt, result, timer() - started)
        if isinstance(result, Answer):
            if result.status_code not in _SAYS_NOTHING_OF_THE_KEY and result.status_code < 500:
                keyring.remember(candidates[0])
            if result.status_code < 300:
                return _parse(operation, result)
        error, outcome = _judge(operation, result, signed_at=signed_at, now=clock())
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


# ---- judging ---------------------------------------------------------------------------------------------------


def _judge(
    operation: Operation[Any], result: Answer | Failure, *, signed_at: float, now: float
) -> tuple[ChatRelayError, Outcome]:
    if isinstance(result, Failure):
        return _failed(operation, result)
    retry_after = parse_retry_after(result.headers.get("retry-after"), now=now)
    outcome = outcome_of_status(result.status_code, retry_after)
    skew = _clock_skew(result, signed_at=signed_at, now=now)
    return _status_error(operation, result, outcome, skew), outcome


def _failed(operation: Operation[Any], failure: Failure) -> tuple[ChatRelayError, Outcome]:
    kind: type[ChatRelayError] = ChatRelayConnectionError
    if failure.timed_out:
        kind = ChatRelayTimeoutError
    elif failure.too_large:
        kind = ChatRelayAnswerError
    maybe = failure.reached and operation.method != "GET"
    message = f"{operation.name}: {failure.reason}."
    if maybe:
        message += " The relay may have done the work all the same."
    error = kind(message, operation=operation.name, maybe_processed=maybe)
    return error, Outcome(None, processed=failure.reached, transient=failure.transient)


def _status_error(
    operation: Operation[Any], answer: Answer, outcome: Outcome, skew: float | None
) -> ChatRelayStatusError:
    status = answer.status_code
    # What fails on its way to a token may quote it.
    said = "" if operation.holds_token and status >= 500 else _what_it_said(answer)
    message = f"{operation.name}: the relay answered {status}{f': {said}' if said else ''}."
    if 300 <= status < 400:
        message += " Redirects are not followed, since they would carry the signature elsewhere: correct BASE_URL."
    elif status == UNAUTHORIZED:
        if skew is None:
            message += " Check BLOONIO_CHAT_TENANT_ID and BLOONIO_CHAT_TENANT_SECRET."
        else:
            ahead = "ahead of" if skew > 0 else "behind"
            message += f" This machine's clock is {abs(skew):.0f} s {ahead} the relay's: correct the clock."
    elif status == 403:
        message += " The relay refuses this tenant: it may be suspended."
    return error_for_status(status)(
        message,
        operation=operation.name,
        status_code=status,
        body=_excerpt(operation, answer),
        retry_after=outcome.retry_after,
        maybe_processed=outcome.processed and operation.method != "GET",
        clock_skew_seconds=skew,
    )


def _clock_skew(answer: Answer, *, signed_at: float, now: float) -> float | None:
    """Return how far our clock is ahead of the relay's, where a 401 is due to that; ``None`` else.

    The answer's ``Date`` was made at some time between the request and now, in whole seconds; only what lies outside
    the relay's window around that time is skew.
    """
    theirs = parse_http_date(answer.headers.get("date"))
    if theirs is None or answer.status_code != UNAUTHORIZED:
        return None
    if signed_at - (theirs + 1) > RELAY_WINDOW_SECONDS:
        return signed_at - theirs
    return now - theirs if theirs - now > RELAY_WINDOW_SECONDS else None


def _excerpt(operation: Operation[Any], answer: Answer) -> str:
    if operation.holds_token:
        return ""
    # Twice what is kept, in bytes: a token that stands across the end is seen for what it is.
    return _presentable(answer.body[: 2 * LONGEST_BODY_KEPT].decode("utf-8", "replace"))


def _presentable(text: str) -> str:
    return _NOT_TO_BE_SHOWN.sub("\N{HORIZONTAL ELLIPSIS}", text)


def _what_it_said(answer: Answer) -> str:
    """Return the ``message`` or ``detail`` of an error (protocol §3.1), in one bounded line.

    Empty for a gateway's page.
    """
    try:
        tree, _ = decode(answer.body)
    except ValueError:
        return ""
    if not isinstance(tree, dict):
        return ""
    said = tree.get("message") or tree.get("detail")
    if isinstance(said, list):
        said = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'] if part != 'body')}: {item.get('msg')}"
            if isinstance(item, dict) and isinstance(item.get("loc"), list)
            else str(item)
            for item in said
        )
    return _presentable(" ".join(said.split()))[:300].rstrip(".") if isinstance(said, str) else ""


def _parse(operation: Operation[_T], answer: Answer) -> _T:
    try:
        return operation.parse(_unwrap(decode(answer.body)[0]))
    except ValidationError as error:
        wrong = ", ".join(
            dict.fromkeys(
                ".".join(str(part) for part in p["loc"]) or "the answer" for p in error.errors(include_url=False)
            )
        )
        problem = f"is not what the protocol says it is ({wrong})"
    except (ValueError, RecursionError):
        problem = "is not JSON"
    # Raised out here: the errors that were caught quote the answer, which may hold a token.
    raise ChatRelayAnswerError(
        f"{operation.name}: the relay's answer {problem}.",
        operation=operation.name,
        status_code=answer.status_code,
        body=_excerpt(operation, answer),
        maybe_processed=operation.method != "GET",
    )


def _unwrap(tree: Any) -> Any:
    """Return what is in the envelope; an answer without one is the data itself (protocol §3.1)."""
    if isinstance(tree, dict) and "data" in tree and not tree.keys().isdisjoint({"status_code", "success", "message"}):
        return tree["data"]
    return tree
