"""A relay that does nothing but answer: a conversation in the envelope, to whatever is posted, over HTTP keep-alive.

It runs in a process of its own, so that its work is not counted as a client's, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.project import TENANT_ID

_CONVERSATION: Final[dict[str, object]] = {
    "id": "0193a1f0-5b1c-7d7e-9a52-0f6b8c3f1c11",
    "tenant_id": TENANT_ID,
    "visitor_user_id": "user-123",
    "visitor_display_name": None,
    "locale": "en",
    "channel": "text",
    "status": "active",
    "metadata": {},
    "created_at": "2026-11-22T14:03:09.120000Z",
    "updated_at": "2026-11-22T14:03:09.120000Z",
    "last_message_at": None,
    "closed_at": None,
}
_BODY: Final = json.dumps(
    {"status_code": 201, "message": "Conversation created", "data": _CONVERSATION}, separators=(",", ":")
).encode()
_ANSWER: Final = (
    b"HTTP/1.1 201 Created\r\n"
    b"date: Sun, 22 Nov 2026 14:03:09 GMT\r\n"
    b"server: loopback\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run the relay, and give its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    # Leaving closes its standard input, which is what it waits for.
    with process:
        assert process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


class _Answering(asyncio.Protocol):
    """Finds the end of each request by its ``Content-Length``, and answers. No more of HTTP than the clients need."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a socket's is
        self._transport = transport
        self._unread = b""

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            end += 4 + _content_length(self._unread[:end])
            if len(self._unread) < end:
                return
            self._unread = self._unread[end:]
            self._transport.write(_ANSWER)


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
