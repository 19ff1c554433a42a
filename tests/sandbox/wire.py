"""The other side of the wire, written for these tests: signed raw HTTP to the relay, and a receiver of callbacks."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

from bloonio_chat.sandbox import SandboxRelay

API = "/api/v1/relay"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC#1 as protocol §2 writes it down."""
    text = f"{timestamp}.{hashlib.sha256(body).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def wrong(self) -> list[list[str]]:
        """Where FastAPI's list says that the input is wrong."""
        return [each["loc"] for each in self.json["detail"]]


class Wire:
    """Calls a relay as a tenant would, or as a wrong one would."""

    def __init__(self, relay: SandboxRelay) -> None:
        self.relay = relay

    def call(
        self,
        method: str,
        path: str,
        fields: Any = None,
        *,
        body: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        secret: str | None = None,
        tenant_id: str | None = None,
        skew_ms: int = 0,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Make a signed call; ``headers`` replace what would be sent, ``None`` leaves one out."""
        if body is None:
            body = b"" if fields is None else json.dumps(fields).encode()
        timestamp = str(self.relay.clock.now_ms() + skew_ms)
        sent: dict[str, str | None] = {
            "X-Bloonio-Tenant-Id": tenant_id or self.relay.tenant_id,
            "X-Bloonio-Timestamp": timestamp,
            "X-Bloonio-Signature": sign(secret or self.relay.tenant_secret, timestamp, body),
            "Content-Type": "application/json" if body else None,
            **(headers or {}),
        }
        target = f"{API}{path}" + (f"?{urlencode(query)}" if query else "")
        return raw(self.relay.base_url, method, target, body, sent)

    def open(self, visitor_user_id: str = "user-1", **fields: Any) -> Any:
        """Open a conversation and return it."""
        return self.call("POST", "/create/conversation", {"visitor_user_id": visitor_user_id, **fields}).data

    def say(self, conversation_id: str, content: str, **fields: Any) -> Answer:
        """Add a message."""
        return self.call(
            "POST", "/add/message", {"content": content, **fields}, query={"conversation_id": conversation_id}
        )


def raw(base_url: str, method: str, target: str, body: bytes, headers: Mapping[str, str | None]) -> Answer:
    """Send a request as it stands."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=60)
    try:
        sent = {name: value for name, value in headers.items() if value is not None}
        connection.request(method, target, body or None, sent)
        response = connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): ", ".join(response.headers.get_all(name) or ()) for name in response.headers},
            response.read(),
        )
    finally:
        connection.close()


@dataclass
class Posted:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    # Five, the default, would reset connections when many conversations call back at once.
    request_queue_size = 128


class Receiver:
    """A tenant's project: keeps what is posted, answers with ``statuses`` and then with 200."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.statuses: deque[int] = deque()
        # Conversations whose callbacks are held until the event is set.
        self.held: dict[str, threading.Event] = {}
        self.arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        for event in self.held.values():
            event.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def events(self) -> list[str]:
        with self.arrived:
            return [posted.event for posted in self.posted]

    def wait_for(self, count: int) -> None:
        """Return once so many callbacks have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.posted) >= count, timeout=60), self.posted

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return
                with receiver.arrived:
                    receiver.posted.append(Posted(self.path, dict(self.headers.items()), body))
                    status = receiver.statuses.popleft() if receiver.statuses else 200
                    receiver.arrived.notify_all()
                for conversation_id, event in receiver.held.items():
                    if conversation_id.encode() in body:
                        event.wait(10)
                try:
                    self.send_response(status)
                    self.end_headers()
                except ConnectionError:
                    pass

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
