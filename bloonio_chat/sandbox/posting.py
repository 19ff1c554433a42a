"""One signed POST to the tenant, with what may go wrong on its way."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from bloonio_chat.sandbox import signatures

_PIECES = 10


class FaultError(OSError):
    """A fault that was asked for cut the connection, or lost the answer."""


class Posting:
    """A POST that another thread can :meth:`cut`. ``faults`` are those that strike it, with their values."""

    def __init__(self, url: str, timeout_seconds: float, faults: Mapping[str, float]) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._path = parts.path
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
        self._faults = faults
        self._cut = threading.Event()

    def cut(self) -> None:
        """End it now, from another thread: whatever it waits for fails."""
        self._cut.set()
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def post(self, body: bytes, tenant_id: str, secret: str, timestamp_ms: int) -> int:
        """Sign and post the body; return the answer's status.

        Raises ``OSError`` or ``http.client.HTTPException`` where there is none, and :class:`FaultError`.
        """
        connection = self._connection
        try:
            connection.connect()
            if self._cut.is_set():
                raise ConnectionAbortedError("the relay was stopped")
            if "drop_before" in self._faults:
                raise FaultError("drop_before")
            if "wrong_signature" in self._faults:
                secret = f"sk_sandbox_{secrets.token_hex(16)}"
            connection.putrequest("POST", self._path)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "User-Agent": "bloonio-chat-sandbox",
                "X-Bloonio-Tenant-Id": tenant_id,
                "X-Bloonio-Timestamp": str(timestamp_ms),
                "X-Bloonio-Signature": signatures.make(secret, timestamp_ms, body),
            }.items():
                connection.putheader(name, value)
            connection.endheaders()
            self._send(body)
            response = connection.getresponse()
            # The status is the answer; the body is read for politeness, and not for longer than the rest may take.
            ends = time.monotonic() + (connection.timeout or 0.0)
            while response.read1(65536) and time.monotonic() < ends:
                pass
            if "drop_after" in self._faults:
                raise FaultError("drop_after")
            return response.status
        finally:
            connection.close()

    def _send(self, body: bytes) -> None:
        if "truncate" in self._faults:
            self._connection.send(body[: len(body) // 2])
            raise FaultError("truncate")
        if "slow" not in self._faults:
            self._connection.send(body)
            return
        size = max(1, -(-len(body) // _PIECES))
        for start in range(0, len(body), size):
            self._connection.send(body[start : start + size])
            if self._cut.wait(self._faults["slow"] / _PIECES):
                raise ConnectionAbortedError("the relay was stopped")
