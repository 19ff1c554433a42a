"""An attempt ends within about its time, whatever the other side does with it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from bloonio_chat.sdk.errors import ChatRelayTimeoutError
from tests.sdk.conftest import FacadeFactory
from tests.sdk.samples import TICKET
from tests.sdk.scripted_server import (
    Behaviour,
    Line,
    Received,
    ScriptedServer,
    answers_json,
    http,
    says_nothing,
    trickles,
)

# Long enough for a connection, and for the server to read the request.
SECONDS = 0.6
# For a machine under load: what is slow here is slow for minutes.
AT_THE_MOST = 20

HEAD = b"HTTP/1.1 200 OK\r\n"

SLOW: dict[str, Behaviour] = {
    "says nothing": says_nothing,
    "trickles its status line": trickles(b"", b"H"),
    "sends a byte before each wait is over": trickles(b"", b"H", every=0.8 * SECONDS),
    "trickles one header": trickles(HEAD + b"X-Long: ", b"x"),
    "trickles many headers": trickles(HEAD, b"X: y\r\n", every=0.05),
    "trickles interim answers": trickles(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trickles its body": trickles(http(200, b"{", length=10_000), b" "),
    "trickles a body without a length": trickles(b"HTTP/1.0 200 OK\r\n\r\n", b" "),
    "trickles chunks": trickles(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trickles a chunk's size": trickles(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trickles an error page": trickles(http(503, b"", length=10_000), b" "),
    "stops in the headers": trickles(HEAD + b"Content-", b"", every=60),
    "stops in the body": trickles(http(200, b"{", length=100), b"", every=60),
}


@pytest.mark.parametrize("behaviour", SLOW)
def test_a_slow_answer_ends_in_time(server: ScriptedServer, make_client: FacadeFactory, behaviour: str) -> None:
    client = make_client(request_timeout_seconds=SECONDS, max_attempts=10)
    server.otherwise = SLOW[behaviour]
    started = time.monotonic()
    error = client.error_of("send_message", "c1", content="x")
    assert time.monotonic() - started < AT_THE_MOST
    assert type(error) is ChatRelayTimeoutError
    assert error.maybe_processed
    assert error.__cause__ is error.__context__ is None
    # The connection is given up, not kept with half an answer in it.
    [given_up] = server.requests
    server.otherwise = answers_json(TICKET)
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert server.requests[-1].connection > given_up.connection


def test_an_answer_that_is_slow_but_in_time_is_taken(server: ScriptedServer, make_client: FacadeFactory) -> None:
    answer = http(200, b"", length=2) + b"[]"

    def drop_by_drop(line: Line, _request: Received) -> bool:
        for place in range(len(answer)):
            line.wait(0.002)
            line.send(answer[place : place + 1])
        return True

    server.otherwise = drop_by_drop
    assert make_client().call("list_tickets") == []


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """Listen, accept no one, and have the queue full, so that nobody's connection is ever made."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_connection_that_is_never_made_ends_in_time(make_client: FacadeFactory, full_backlog: str) -> None:
    client = make_client(full_backlog, request_timeout_seconds=SECONDS, max_attempts=2)
    started = time.monotonic()
    error = client.error_of("send_message", "c1", content="x")
    assert time.monotonic() - started < AT_THE_MOST
    assert type(error) is ChatRelayTimeoutError
    assert not error.maybe_processed
    assert "no connection in time" in str(error)
    # It surely was not processed, so even this one was tried again.
    assert client.sleeps == [0.25]


def test_a_tls_handshake_that_never_ends_ends_in_time(make_client: FacadeFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make_client(
            f"https://127.0.0.1:{silent.getsockname()[1]}", request_timeout_seconds=SECONDS, max_attempts=1
        )
        started = time.monotonic()
        error = client.error_of("send_message", "c1", content="x")
        assert time.monotonic() - started < AT_THE_MOST
        assert type(error) is ChatRelayTimeoutError
        assert not error.maybe_processed
        # The connection is closed at once, and not some day by the garbage collector.
        accepted, _ = silent.accept()
        with accepted:
            accepted.settimeout(5)
            while accepted.recv(65536):
                pass


def test_a_relay_that_never_reads_ends_in_time(make_client: FacadeFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make_client(
            f"http://127.0.0.1:{silent.getsockname()[1]}", request_timeout_seconds=SECONDS, max_attempts=3
        )
        started = time.monotonic()
        error = client.error_of("ingest_knowledge", title="t", body="x" * 30_000_000)
        assert time.monotonic() - started < AT_THE_MOST
        assert type(error) is ChatRelayTimeoutError
        assert error.maybe_processed
        assert client.sleeps == []


def test_the_time_is_each_attempts_own(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(request_timeout_seconds=SECONDS, max_attempts=10)
    server.script.extend([says_nothing, says_nothing])
    server.otherwise = answers_json(TICKET)
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert client.sleeps[:2] == [0.25, 0.5]


def test_trickling_over_tls_ends_in_time(
    tls_server: ScriptedServer, make_client: FacadeFactory, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    client = make_client(tls_server.url, request_timeout_seconds=SECONDS + 0.5, max_attempts=1)
    for behaviour in (SLOW["trickles one header"], SLOW["trickles its body"]):
        tls_server.otherwise = behaviour
        started = time.monotonic()
        error = client.error_of("send_message", "c1", content="x")
        assert time.monotonic() - started < AT_THE_MOST
        assert type(error) is ChatRelayTimeoutError
        assert error.maybe_processed
