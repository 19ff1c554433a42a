"""The relay's HTTP, on the loopback interface: what comes in goes to the calls, or to the page."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from werkzeug.exceptions import HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

PAGE_PATH: Final = "/page/"

Answerer = Callable[[Request], Response]


class _Handler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # werkzeug's own name
        pass

    def send_response(self, code: int, message: str | None = None) -> None:
        # Without the Date that http.server would add: the relay's own clock has said it.
        self.send_response_only(code, message)
        self.send_header("Server", self.version_string())

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        # By the other side, or by a fault: then werkzeug would go on listening.
        self.close_connection = True
        _cut(self.connection)


class Server(ThreadedWSGIServer):
    """Listens on the loopback interface; :meth:`stop` leaves no thread and no socket behind."""

    def __init__(self, calls: Answerer, page: Answerer, port: int) -> None:
        self._calls = calls
        self._page = page
        self._open: dict[threading.Thread, socket.socket] = {}
        self._open_lock = threading.Lock()
        self._serving = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="sandbox-relay", daemon=True
        )
        # Bound here: werkzeug would end the whole process when the port is taken.
        with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
            super().__init__("127.0.0.1", port, self._answer, handler=_Handler, fd=listening.fileno())

    def start(self) -> None:
        """Answer from now on, in threads of its own."""
        self._serving.start()

    def stop(self) -> None:
        """Stop answering, cut what is being answered, and wait for all threads."""
        if self._serving.is_alive():
            self.shutdown()
            self._serving.join()
        self.server_close()
        with self._open_lock:
            still_open = dict(self._open)
        for thread, connection in still_open.items():
            _cut(connection)
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection in a thread that :meth:`stop` knows of."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="sandbox-call", daemon=True
        )
        with self._open_lock:
            self._open = {each: its for each, its in self._open.items() if each.is_alive()}
            thread.start()
            self._open[thread] = request

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = self._page if request.path == "/" or request.path.startswith(PAGE_PATH) else self._calls
        try:
            response = answer(request)
        except HTTPException as error:
            # What werkzeug itself refuses while it reads: a form that is too large, or ends early.
            response = Response(error.description, error.code)
        return response(environ, start_response)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
