"""What an answer means: a result, or one of :mod:`~bloonio_chat.sdk.errors` (protocol §3.1)."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from bloonio_chat.sdk.attempts import Answer, Failure
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
from bloonio_chat.sdk.operations import Operation
from bloonio_chat.sdk.retry import Outcome, outcome_of_status, parse_http_date, parse_retry_after
from bloonio_chat.sdk.signing import RELAY_WINDOW_SECONDS

_T = TypeVar("_T")

UNAUTHORIZED: Final = 401

# A signature is 64 hexadecimal digits, a token is a JWT; a gateway's page for debugging may quote either.
_NOT_TO_BE_SHOWN = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])|eyJ[\w-]{8,}(?:\.[\w-]*)*")


def judge(
    operation: Operation[Any], result: Answer | Failure, *, signed_at: float, now: float
) -> tuple[ChatRelayError, Outcome]:
    """Return the error that an attempt without success amounts to, and how it bears on another one.

    ``signed_at`` and ``now`` are our Unix time in seconds, before the request and after what came of it.
    """
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


def parse(operation: Operation[_T], answer: Answer) -> _T:
    """Return what a good answer holds; raises ``ChatRelayAnswerError``."""
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
