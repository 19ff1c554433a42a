"""Real servers, each a process of its own on a free port, and a client that can be as rude as a stranger."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final

from tests.callbacks.relay import PREFIX

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 30

GUNICORN: Final = ["gunicorn", "django.core.wsgi:get_wsgi_application()", "--bind", "127.0.0.1:{port}"]
COMMANDS: Final = {
    "gunicorn sync": [*GUNICORN, "--worker-class", "sync"],
    "gunicorn gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "4"],
    "uvicorn": ["uvicorn", "--factory", "django.core.asgi:get_asgi_application", "--port", "{port}"],
    "runserver": ["django", "runserver", "--noreload", "--skip-checks", "127.0.0.1:{port}"],
}
READ_CHUNKS: Final = ("gunicorn sync", "gunicorn gthread", "uvicorn")
# Under ASGI Django takes the whole body before any view runs.
ANSWER_BEFORE_THE_BODY: Final = ("gunicorn sync", "gunicorn gthread", "runserver")


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def tree(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    port: int
    log_path: Path
    process: subprocess.Popen[bytes]

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, *pieces: bytes, end: bool = False) -> Answer | None:
        """Send bytes and read the answer; ``end`` hangs up for writing first. ``None`` where none came."""
        with self.connect() as connection:
            # A server may answer, and hang up, before it has read everything.
            with suppress(ConnectionError):
                for piece in pieces:
                    connection.sendall(piece)
            if end:
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection)
            try:
                response.begin()
                body = response.read()
            except ConnectionError:
                return None
            finally:
                response.close()
            return Answer(response.status, dict(response.getheaders()), body)

    def post(self, body: bytes, headers: Mapping[str, str], path: str = "message-received") -> Answer:
        answer = self.send(head(path, {**headers, "Content-Length": str(len(body))}), body)
        assert answer is not None
        return answer

    def seen(self) -> list[list[Any]]:
        answer = self.send(b"GET /seen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer is not None
        tree = answer.tree()
        assert isinstance(tree, list)
        return tree


def head(path: str, headers: Mapping[str, str] | list[tuple[str, str]]) -> bytes:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"POST {PREFIX}{path} HTTP/1.1", "Host: localhost", "Connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in pairs), "", ""]).encode()


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


@dataclass
class Servers:
    """Starts each kind when it is first asked for."""

    logs: Path
    running: dict[str, Server] = field(default_factory=dict)

    def __call__(self, kind: str) -> Server:
        if kind not in self.running:
            self.running[kind] = self._start(kind)
        return self.running[kind]

    def _start(self, kind: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log_path = self.logs / f"{kind}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *(part.format(port=port) for part in COMMANDS[kind])],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "tests.callbacks.server_settings",
                    "PYTHONPATH": str(ROOT),
                    "PYTHONUNBUFFERED": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        server = Server(port, log_path, process)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                server.connect().close()
            except OSError:
                assert process.poll() is None, f"{kind} ended: {server.log()}"
                assert time.monotonic() < deadline, f"{kind} does not listen: {server.log()}"
                time.sleep(0.05)
            else:
                return server

    def stop(self) -> None:
        for server in self.running.values():
            server.process.terminate()
        for server in self.running.values():
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait(10)
