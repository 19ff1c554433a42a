"""What a callback costs: whole requests in process, beside a bare Django view, and the pure functions within them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

from benchmarks import project
from benchmarks.callbacks import EVENT_PATH, SignedCallback, make_callbacks
from benchmarks.rounds import Contender, Race, Target, require, seconds_each
from bloonio_chat import signals
from bloonio_chat.callbacks.ports import ACCEPTED, Acceptance, ports
from bloonio_chat.sdk.receive import Received, Tenant, receive
from bloonio_chat.sdk.signing import check_timestamp, verify

REQUESTS_PER_SLICE: Final = 100
FUNCTIONS_PER_SLICE: Final = 1000


def races() -> Iterator[Race]:
    """Yield what is to be compared."""
    yield _requests()
    yield _functions()


# ---- whole requests --------------------------------------------------------------------------------------------


def _requests() -> Race:
    project.configure()
    signals.message_received.connect(_receiver)
    handler = WSGIHandler()
    bare = functools.partial(_run_requests, handler, "benchmarks.bare_view")
    ours = functools.partial(_run_requests, handler, "benchmarks.project")
    return Race(
        "A request through Django and its default middleware",
        [
            Contender("a bare view", bare),
            Contender("verified and parsed", lambda: _accepting(_accept, ours), Target(0.75)),
            Contender("guarded by the cache, one receiver", lambda: _accepting(None, _called_once(ours)), Target(0.65)),
        ],
        turns=20,
        compares_rates=True,
    )


def _run_requests(handler: WSGIHandler, urlconf: str) -> float:
    # Django looks it up on every request. Each view has one to itself, so neither is searched for among the other's.
    settings.ROOT_URLCONF = urlconf
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        statuses.append(status)

    def serve(environ: dict[str, Any]) -> None:
        response = handler(environ, start_response)
        b"".join(response)
        response.close()

    seconds = seconds_each(serve, (_environ(callback) for callback in make_callbacks(REQUESTS_PER_SLICE)))
    require(statuses == ["200 OK"] * REQUESTS_PER_SLICE, f"{urlconf} answered {set(statuses)}")
    return seconds


def _environ(callback: SignedCallback) -> dict[str, Any]:
    """Return what a WSGI server hands over, with the headers of a plain HTTP client and the relay's three."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": project.CALLBACK_PATH,
        "QUERY_STRING": "",
        "SERVER_NAME": project.HOST,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(callback.body)),
        "HTTP_HOST": project.HOST,
        "HTTP_ACCEPT": "*/*",
        "HTTP_USER_AGENT": "relay",
        "HTTP_X_BLOONIO_TENANT_ID": project.TENANT_ID,
        "HTTP_X_BLOONIO_TIMESTAMP": str(callback.timestamp_ms),
        "HTTP_X_BLOONIO_SIGNATURE": callback.signature,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(callback.body),
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _accepting(accept: Callable[[Received], Acceptance] | None, run_slice: Callable[[], float]) -> float:
    """Run a slice with that plugged in; ``None`` is the app's own guard."""
    ports.accept = accept
    try:
        return run_slice()
    finally:
        ports.accept = None


def _accept(received: Received) -> Acceptance:
    return ACCEPTED


def _called_once(run_slice: Callable[[], float]) -> Callable[[], float]:
    """Return the slice with a check that each of its events was new to the guard and reached the receiver."""

    def checked() -> float:
        global _calls  # the receiver's only way to be seen
        _calls = 0
        seconds = run_slice()
        require(_calls == REQUESTS_PER_SLICE, f"the receiver was called {_calls} times")
        return seconds

    return checked


_calls = 0


def _receiver(**_: Any) -> None:
    global _calls  # as above
    _calls += 1


# ---- pure functions --------------------------------------------------------------------------------------------


def _functions() -> Race:
    tenants = {project.TENANT_ID: Tenant("default", project.TENANT_ID, (project.SECRET,))}
    secrets = (project.SECRET,)

    def check_signature(callback: SignedCallback) -> None:
        timestamp = str(callback.timestamp_ms)
        check_timestamp(timestamp, now_ms=callback.timestamp_ms, tolerance_seconds=30.0)
        verify(secrets, timestamp, callback.signature, callback.body)

    def verify_and_parse(callback: SignedCallback) -> None:
        receive(
            EVENT_PATH,
            tenant_id=project.TENANT_ID,
            timestamp=str(callback.timestamp_ms),
            signature=callback.signature,
            body=callback.body,
            tenants=tenants,
            now_ms=callback.timestamp_ms,
        )

    def slice_of(function: Callable[[SignedCallback], None]) -> Callable[[], float]:
        return lambda: seconds_each(function, make_callbacks(FUNCTIONS_PER_SLICE))

    return Race(
        "Functions, a body of 500 bytes",
        [
            Contender("the signature check", slice_of(check_signature)),
            Contender("verify and parse", slice_of(verify_and_parse), Target(2.5)),
        ],
        turns=20,
    )
