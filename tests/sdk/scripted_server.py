"""A server over real sockets that does what a script says, once per request, and keeps every request as it came.

``script`` holds what is done to the next requests, ``otherwise`` what is done when it is empty.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_REASONS = {200: "OK", 201: "Created", 204: "No Content", 302: "Found", 401: "Unauthorized", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire; ``connection`` counts from 1."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    connection: int

    def header(self, name: str) -> str | None:
        """Return a header that stands there once, or None; a repeated one is an error."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        query = urlsplit(self.target).query
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        assert len(dict(pairs)) == len(pairs), "a name stands twice in the query"
        return dict(pairs)


class Line:
    """The server's end of one connection, as a behaviour sees it."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the server is still to go on."""
        return not self.server.stopping.wait(seconds)


# Returns whether the connection is kept.
Behaviour = Callable[[Line, Received], bool]


def http(status: int, body: bytes, headers: Iterable[tuple[str, str]] = (), *, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Whatever')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answers(status: int = 200, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer whole; header names are written with underscores."""
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return sends(http(status, body, pairs), then_close=False)


def answers_json(tree: Any, status: int = 200, **headers: str) -> Behaviour:
    return answers(status, json.dumps(tree).encode(), Content_Type="application/json", **headers)


def answers_data(data: Any, status: int = 200, **headers: str) -> Behaviour:
    """Answer in the relay's envelope."""
    return answers_json({"status_code": status, "message": "done", "data": data}, status, **headers)


def sends(data: bytes, *, then_close: bool = True) -> Behaviour:
    """Send these very bytes."""

    def behaviour(line: Line, _request: Received) -> bool:
        line.send(data)
        return not then_close

    return behaviour


def hangs_up(line: Line, _request: Received) -> bool:
    """Close after reading the request, without a byte."""
    return False


def resets(line: Line, _request: Received) -> bool:
    """Tear the connection down after reading the request."""
    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def says_nothing(line: Line, _request: Received) -> bool:
    """Hold the request until the server is closed."""
    line.server.stopping.wait()
    return False


def trickles(start: bytes, drop: bytes, *, every: float = 0.02) -> Behaviour:
    """Send ``start``, then ``drop`` again and again, for ever."""

    def behaviour(line: Line, _request: Received) -> bool:
        line.send(start)
        while line.wait(every):
            line.send(drop)
        return False

    return behaviour


def tunnels_to(port: int) -> Behaviour:
    """Answer a CONNECT, and then carry bytes both ways."""

    def behaviour(line: Line, _request: Received) -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as target:
            line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ends = {line.sock: target, target: line.sock}
            while not line.server.stopping.is_set():
                # What TLS has unpacked already shows no more on the socket.
                unpacked = [end for end in ends if isinstance(end, ssl.SSLSocket) and end.pending()]
                for end in unpacked or select.select(list(ends), [], [], 0.05)[0]:
                    data = end.recv(65536)
                    if not data:
                        return False
                    ends[end].sendall(data)
        return False

    return behaviour


class ScriptedServer:
    """Listens from the start; ``close()`` ends every thread and connection that it has."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, otherwise: Behaviour | None = None) -> None:
        self.script: deque[Behaviour] = deque()
        self.otherwise = otherwise if otherwise is not None else answers(404, b"{}")
        # How many of the next connections are closed at once, before a request is read.
        self.slam = 0
        self.requests: list[Received] = []
        self.connections = 0
        self.open_connections = 0
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._socks: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait until it holds, a minute at the most, and tell whether it does."""
        with self.changed:
            return self.changed.wait_for(condition, timeout=60)

    def close(self) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.changed:
            socks = list(self._socks)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                self.connections += 1
                number = self.connections
                slam = self.slam > 0
                self.slam -= slam
                self.changed.notify_all()
            if slam:
                sock.close()
                continue
            self._start(self._serve, sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock.settimeout(10)
                sock = self._tls.wrap_socket(sock, server_side=True)
                sock.settimeout(None)
            with self.changed:
                self._socks.add(sock)
                self.open_connections += 1
            try:
                self._talk(sock, number)
            finally:
                with self.changed:
                    self._socks.discard(sock)
                    self.open_connections -= 1
                    self.changed.notify_all()
        except OSError:
            pass
        finally:
            sock.close()

    def _talk(self, sock: socket.socket, number: int) -> None:
        line = Line(self, sock, number)
        with sock.makefile("rb") as reader:
            while not self.stopping.is_set() and (request := _read(reader, number)) is not None:
                with self.changed:
                    self.requests.append(request)
                    behaviour = self.script.popleft() if self.script else self.otherwise
                    self.changed.notify_all()
                if not behaviour(line, request):
                    return


def _read(reader: Any, connection: int) -> Received | None:
    words = reader.readline().decode("latin-1").split()
    # One TLS greeting in ten has three words by chance.
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None  # closed, or TLS where there is none
    method, target, _version = words
    headers = []
    while (text := reader.readline().decode("latin-1").strip()) != "":
        name, _, value = text.partition(":")
        headers.append((name, value.strip()))
    length = sum(int(value) for name, value in headers if name.lower() == "content-length")
    assert not any(name.lower() == "transfer-encoding" for name, _ in headers)
    return Received(method, target, tuple(headers), reader.read(length), connection)
