"""The project's own site, to which the relay posts, on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

# As many requests at once as gunicorn's 2 x 4 takes. What comes beyond waits for its turn, and does not add to what
# the others wait for: a relay that repeats what took too long would bring everything to a stop.
REQUESTS_AT_ONCE: Final = 8


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class _BoundedServer(ThreadedWSGIServer):
    free = threading.BoundedSemaphore(REQUESTS_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            # Where a client resets its connection, this server does not close the response, which would do it.
            connections.close_all()
            self.free.release()


@pytest.fixture
def site() -> Iterator[str]:
    """Serve the project, and give the address."""
    server = _BoundedServer("127.0.0.1", 0, WSGIHandler(), _QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    # What is in work still, for a client that has gone, must not write into the next test's database.
    for _ in range(REQUESTS_AT_ONCE):
        assert server.free.acquire(timeout=60)
    server.free.release(REQUESTS_AT_ONCE)
