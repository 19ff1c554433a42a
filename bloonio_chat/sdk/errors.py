"""Every error of the SDK.

::

    ChatRelayError
    ├── ChatRelayConfigurationError   a setting is missing or wrong; nothing was sent          (also a ValueError)
    ├── ChatRelayArgumentError        an argument was refused before anything was sent         (also a ValueError)
    ├── ChatRelayConnectionError      no answer: not reached, cut off, or TLS refused
    │   └── ChatRelayTimeoutError     no answer in time
    ├── ChatRelayAnswerError          an answer that can't be understood: not JSON, wrong types, cut short, too large
    ├── ChatRelayStatusError          the relay answered with an error
    │   ├── ChatRelayInputError           400, 422   the relay refused what was sent
    │   ├── ChatRelayAuthenticationError  401        wrong signature, or a clock that is off
    │   ├── ChatRelayForbiddenError       403        the tenant is suspended
    │   ├── ChatRelayNotFoundError        404        no such object, or a relay without this route
    │   ├── ChatRelayConflictError        409
    │   ├── ChatRelayTooLargeError        413
    │   ├── ChatRelayRateLimitError       429        see ``retry_after``
    │   └── ChatRelayServerError          5xx
    ├── SignatureError                HMAC#1 does not hold
    └── EventError                    a callback's body is not an event

Each can be pickled. None carries a secret, a signature or a token.
"""

from __future__ import annotations

from typing import Final

LONGEST_BODY_KEPT: Final = 2048


class ChatRelayError(Exception):
    """Anything that goes wrong between this tenant and the relay.

    - ``message``: what happened and how to mend it.
    - ``operation``: the name of the client's method, where one was called.
    - ``status_code``: the answer's HTTP status, where there was an answer.
    - ``body``: the answer's first 2048 characters; empty where the answer could hold a token.
    - ``retry_after``: seconds that the relay asked to wait, where it did.
    - ``maybe_processed``: true when the relay may have done the work although no good answer came.
    - ``clock_skew_seconds``: how far this machine's clock is ahead of the relay's, where that is what is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        status_code: int | None = None,
        body: str = "",
        retry_after: float | None = None,
        maybe_processed: bool = False,
        clock_skew_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.status_code = status_code
        self.body = body[:LONGEST_BODY_KEPT]
        self.retry_after = retry_after
        self.maybe_processed = maybe_processed
        self.clock_skew_seconds = clock_skew_seconds

    def __str__(self) -> str:
        return self.message


class ChatRelayConfigurationError(ChatRelayError, ValueError):
    """A setting is missing or wrong. Names the setting, never its value; nothing was sent."""


class ChatRelayArgumentError(ChatRelayError, ValueError):
    """An argument that the relay would refuse. Nothing was sent."""


class ChatRelayConnectionError(ChatRelayError):
    """The relay was not reached, or the connection was lost before its answer was whole."""


class ChatRelayTimeoutError(ChatRelayConnectionError):
    """No whole answer within ``request_timeout_seconds``."""


class ChatRelayAnswerError(ChatRelayError):
    """The relay's answer can't be understood."""


class ChatRelayStatusError(ChatRelayError):
    """The relay answered with an error status; see ``status_code``."""


class ChatRelayInputError(ChatRelayStatusError):
    """400 or 422: the relay refused what was sent."""


class ChatRelayAuthenticationError(ChatRelayStatusError):
    """401: the signature was refused. ``clock_skew_seconds`` is set when the clock is what is wrong."""


class ChatRelayForbiddenError(ChatRelayStatusError):
    """403: the tenant is suspended."""


class ChatRelayNotFoundError(ChatRelayStatusError):
    """404: no such object, or this relay has no such route."""


class ChatRelayConflictError(ChatRelayStatusError):
    """409: what was asked contradicts the relay's state."""


class ChatRelayTooLargeError(ChatRelayStatusError):
    """413: more was sent than the relay takes."""


class ChatRelayRateLimitError(ChatRelayStatusError):
    """429: the tenant's calls for this minute are used up; ``retry_after`` tells how long to wait."""


class ChatRelayServerError(ChatRelayStatusError):
    """5xx: the relay, or a gateway before it, failed."""


class SignatureError(ChatRelayError):
    """HMAC#1 does not hold; ``reason`` is a stable word for logs, never for the other side."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.args = (reason, message)
        self.reason = reason


class EventError(ChatRelayError):
    """A signed body that is not an event; ``code`` is a stable word, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.args = (code, message)
        self.code = code


_BY_STATUS: Final[dict[int, type[ChatRelayStatusError]]] = {
    400: ChatRelayInputError,
    401: ChatRelayAuthenticationError,
    403: ChatRelayForbiddenError,
    404: ChatRelayNotFoundError,
    409: ChatRelayConflictError,
    413: ChatRelayTooLargeError,
    422: ChatRelayInputError,
    429: ChatRelayRateLimitError,
}


def error_for_status(status_code: int) -> type[ChatRelayStatusError]:
    """Return the class of error for an answer's HTTP status (protocol §3.1)."""
    if status_code >= 500:
        return ChatRelayServerError
    return _BY_STATUS.get(status_code, ChatRelayStatusError)
