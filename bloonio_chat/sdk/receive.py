"""One callback, whatever the framework: method, body, headers and path in, an event or a rejection out (protocol §4.3).

The checks run in the protocol's order: :func:`check_method`, then :class:`BoundedBody` while the body is read, then
:func:`receive` with what was read. Each raises :class:`CallbackRejected`, which holds the whole answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bloonio_chat.sdk.errors import EventError, SignatureError
from bloonio_chat.sdk.events import WebhookEvent, idempotency_key, parse_event
from bloonio_chat.sdk.settings import canonical_tenant_id
from bloonio_chat.sdk.signing import check_timestamp, verify

logger = logging.getLogger("bloonio_chat.callbacks")

RECEIVED: Final[dict[str, Any]] = {"received": True}
RETRY_AFTER_SECONDS: Final = 5

# One and the same for every 401: it must not tell a stranger which check failed. The reason goes to the log.
_UNAUTHORIZED: Final = {
    "code": "unauthorized",
    "detail": "The request is not signed by a known tenant within the window.",
}


@dataclass(frozen=True)
class Tenant:
    """Who may sign callbacks: the project's alias for the tenant, its id, its secrets and the window in seconds."""

    alias: str
    tenant_id: str
    secrets: tuple[bytes, ...] = field(repr=False)
    tolerance_seconds: float = 30.0


@dataclass(slots=True)
class Received:
    """A verified callback.

    ``secret_place`` is 0 for the tenant's secret, else the place among its fallbacks, from 1.
    """

    event: WebhookEvent
    tenant: Tenant
    path: str
    timestamp: str
    signature: str = field(repr=False)
    body: bytes = field(repr=False)
    secret_place: int

    @property
    def key(self) -> str:
        """The idempotency key: 64 hexadecimal digits, the same for every delivery of this event."""
        return idempotency_key(self.event, tenant_id=self.tenant.tenant_id, body=self.body)


class CallbackRejected(Exception):  # noqa: N818  # it is an outcome with an answer, not a fault of this program
    """A callback that is not accepted, and the answer to give.

    ``reason`` is a stable word for logs and metrics; ``status``, ``payload`` and ``headers`` make the answer;
    ``tenant_id`` is the id that the request claims, if it claims a possible one and its headers were looked at.
    """

    def __init__(
        self,
        reason: str,
        status: int,
        detail: str,
        *,
        tenant_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, status, detail)
        self.reason = reason
        self.status = status
        self.detail = detail
        self.tenant_id = tenant_id
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.detail}"

    @property
    def payload(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return dict(_UNAUTHORIZED) if self.status == 401 else {"code": self.reason, "detail": self.detail}


def check_method(method: str) -> None:
    """Refuse everything but POST with 405 and ``Allow``."""
    if method != "POST":
        raise CallbackRejected("method_not_allowed", 405, "Callbacks are posted.", headers={"Allow": "POST"})


class BoundedBody:
    """A request's body, read piece by piece and never held beyond its limit.

    ``declared_length`` is the text of ``Content-Length``, ``None`` where the body comes in chunks; ``limit`` in bytes.
    ``wanted`` is how many bytes to read next at the most: enough to see that the limit is passed, 0 at the end.
    """

    __slots__ = ("_declared", "_limit", "_pieces", "wanted")

    def __init__(self, declared_length: str | None, *, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._declared: int | None = None
        self.wanted = limit + 1
        if declared_length is not None:
            if not (declared_length.isascii() and declared_length.isdecimal()):
                raise CallbackRejected("content_length_malformed", 400, "Content-Length is not a number.")
            self._declared = int(declared_length) if len(declared_length) <= 18 else limit + 1
            if self._declared > limit:
                raise self._too_large()
            self.wanted = self._declared

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; refuse with 413 as soon as there are too many."""
        self.wanted -= len(piece)
        if self._declared is None and self.wanted <= 0:
            raise self._too_large()
        self._pieces.append(piece)

    def whole(self) -> bytes:
        """Return the body; refuse with 400 one that ended before its declared length."""
        if self._declared is not None and self.wanted > 0:
            raise CallbackRejected("body_truncated", 400, "The body is shorter than its Content-Length.")
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def _too_large(self) -> CallbackRejected:
        return CallbackRejected("body_too_large", 413, f"The body is larger than {self._limit} bytes.")


def receive(
    path: str,
    *,
    tenant_id: str | None,
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    tenants: Mapping[str, Tenant],
    now_ms: int,
) -> Received:
    """Verify a callback on its raw bytes and parse it.

    ``path`` is the last part of the URL; the next three are the headers' texts as they came, ``None`` where missing;
    ``tenants`` are keyed by id in lower case; ``now_ms`` is this machine's Unix time in milliseconds. Raises
    :class:`CallbackRejected`. Protocol §4.3.
    """
    if not tenant_id or not timestamp or not signature:
        claimed = canonical_tenant_id(tenant_id or "")
        raise CallbackRejected("header_missing", 401, "A signature header is missing or empty.", tenant_id=claimed)
    tenant = tenants.get(tenant_id)
    if tenant is None:
        # Not the very text of a known id: in capitals, sent twice, or a stranger's.
        claimed = canonical_tenant_id(tenant_id)
        tenant = None if claimed is None else tenants.get(claimed)
        if tenant is None:
            raise CallbackRejected("unknown_tenant", 401, "No tenant of this project has this id.", tenant_id=claimed)
    try:
        timestamp_ms = check_timestamp(timestamp, now_ms=now_ms, tolerance_seconds=tenant.tolerance_seconds)
        place = verify(tenant.secrets, timestamp, signature, body)
        event = parse_event(body, path=path, tenant_id=tenant.tenant_id, timestamp_ms=timestamp_ms)
        return Received(event, tenant, path, timestamp, signature, body, place)
    except SignatureError as error:
        rejection = CallbackRejected(error.reason, 401, error.message, tenant_id=tenant.tenant_id)
    except EventError as error:
        rejection = CallbackRejected(error.code, 400, error.message, tenant_id=tenant.tenant_id)
    # Raised out here: the frames of what was caught hold the secret.
    raise rejection
