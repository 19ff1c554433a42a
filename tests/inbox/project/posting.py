"""The relay's part: signed callbacks over a connection that stays open."""

from __future__ import annotations

import http.client
import time
from types import TracebackType
from typing import Final

from tests.callbacks.relay import ACKNOWLEDGED, PREFIX, envelope, signed, written

PATIENCE_SECONDS: Final = 30


def body_of(message_id: str, *, conversation_id: str | None = None, seconds: float = 0, is_held: bool = False) -> bytes:
    """Return the body of an event on which the receiver works for so many seconds; one that is held, till let go."""
    return written(
        envelope(
            event_id=message_id,
            message_id=message_id,
            # Of all that the row keeps of an event in columns, what else could say which one it is.
            visitor_user_id=message_id,
            conversation_id=conversation_id,
            extra={"seconds": seconds, "is_held": is_held} if seconds or is_held else None,
        )
    )


class Poster:
    """One connection to a server. Not for several threads."""

    def __init__(self, port: int, *, timeout: float = PATIENCE_SECONDS) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.status = 0

    def __enter__(self) -> Poster:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next post connects anew."""
        self._connection.close()

    @property
    def is_connected(self) -> bool:
        """Whether the server has left the connection open."""
        return self._connection.sock is not None

    def post(self, body: bytes) -> float:
        """Post a callback, and return the seconds until the whole answer was read; ``status`` is then its status.

        Raises ``OSError`` or ``http.client.HTTPException`` where no answer came; the connection is closed then.
        """
        started = time.perf_counter()
        try:
            self._connection.request("POST", f"{PREFIX}message-received", body, signed(body))
            response = self._connection.getresponse()
            answer = response.read()
        except BaseException:
            self.close()
            raise
        self.status = response.status
        if self.status == 200 and answer.replace(b" ", b"") != written(ACKNOWLEDGED).replace(b" ", b""):
            raise ValueError("a 200 that is no acknowledgement")
        return time.perf_counter() - started
