"""Answers as bytes: packed, oversized, with lengths that lie, and whatever a stranger may send instead of one."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from bloonio_chat.sdk import async_client, attempts, client
from bloonio_chat.sdk.errors import (
    ChatRelayAnswerError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayStatusError,
)
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import CONVERSATION, TICKET
from tests.sdk.scripted_server import ScriptedServer, answers, answers_json, http, sends

WHOLE = json.dumps({"message": "ok", "data": TICKET}).encode()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_answer_that_is_packed_though_nobody_asked_is_unpacked(
    server: ScriptedServer, client: Facade, coding: str
) -> None:
    packed = gzip.compress(WHOLE, mtime=0) if coding == "gzip" else zlib.compress(WHOLE)
    server.otherwise = answers(200, packed, Content_Encoding=coding)
    assert client.call("fetch_ticket", "t1").id == "t1"


@pytest.mark.parametrize(
    "packed", [b"nonsense", gzip.compress(WHOLE, mtime=0)[:-30], gzip.compress(WHOLE, mtime=0)[:12], b""]
)
def test_an_answer_that_is_packed_badly_is_an_error(server: ScriptedServer, client: Facade, packed: bytes) -> None:
    server.otherwise = answers(200, packed, Content_Encoding="gzip")
    assert isinstance(client.error_of("fetch_ticket", "t1"), ChatRelayError)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_over_the_limit_is_not_read_to_its_end(
    server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch, packed: bool, status: int
) -> None:
    for module in (client, async_client, attempts):
        monkeypatch.setattr(module, "LARGEST_ANSWER", 100_000)
    facade = make_client()
    large = json.dumps({**CONVERSATION, "padding": "x" * 5_000_000}).encode()
    server.script.append(
        answers(status, gzip.compress(large, mtime=0), Content_Encoding="gzip") if packed else answers(status, large)
    )
    error = facade.error_of("create_conversation", visitor_user_id="u")
    assert type(error) is ChatRelayAnswerError
    assert "larger than 100000 bytes" in str(error)
    assert error.maybe_processed
    assert len(server.requests) == 1
    server.otherwise = answers_json(CONVERSATION)
    facade.call("create_conversation", visitor_user_id="u")
    # A connection that holds the rest of it is not used again.
    assert packed or server.connections == 2


def test_an_answer_just_within_the_limit_is_taken(
    server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({**CONVERSATION, "padding": "x" * 200_000}).encode()
    for module in (client, async_client, attempts):
        monkeypatch.setattr(module, "LARGEST_ANSWER", len(body))
    server.otherwise = answers(200, body)
    assert make_client().call("fetch_conversation", "c1").model_extra["padding"]


def test_a_length_that_is_too_long_is_a_lost_connection(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = sends(http(200, WHOLE, length=len(WHOLE) + 1))
    error = client.error_of("send_message", "c1", content="x")
    assert type(error) is ChatRelayConnectionError
    assert error.maybe_processed


def test_a_length_that_is_too_short_is_an_answer_cut_off(server: ScriptedServer, client: Facade) -> None:
    server.script.append(sends(http(200, WHOLE, length=len(WHOLE) - 1), then_close=False))
    assert type(client.error_of("fetch_ticket", "t1")) is ChatRelayAnswerError
    # What was too much must not be taken for the next answer.
    server.otherwise = answers(200, WHOLE)
    assert client.call("fetch_ticket", "t1").id == "t1"


@pytest.mark.parametrize("length", [b"-5", b"many", b"5, 6", b"9" * 400, b"", b"0x10", b"1\r\nContent-Length: 2"])
def test_a_length_that_is_none_never_breaks_out(server: ScriptedServer, client: Facade, length: bytes) -> None:
    server.otherwise = sends(b"HTTP/1.1 500 Oops\r\nContent-Length: " + length + b"\r\n\r\n" + WHOLE)
    assert isinstance(client.error_of("create_conversation", visitor_user_id="u"), ChatRelayError)


def test_chunks_and_answers_without_a_length_are_read(server: ScriptedServer, client: Facade) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (WHOLE[:7], WHOLE[7:]))
    server.script.append(sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"))
    assert client.call("fetch_ticket", "t1").id == "t1"
    server.script.append(sends(b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE))
    assert client.call("fetch_ticket", "t1").id == "t1"


RAW = [
    b"\x00" * 100,
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n: empty name\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000 + b"\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 100_000,
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip, br, zstd, x-none\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=\xff\r\nX-\xe9: \xe9\r\n\r\n{}",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    b"HTTP/1.1 401 No\r\nDate: \xff\r\nWWW-Authenticate: Basic\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: =\x00; expires=never\r\n\r\n{}",
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_no_bytes_of_a_stranger_raise_anything_but_our_error(
    server: ScriptedServer, make_client: FacadeFactory, raw: bytes
) -> None:
    server.otherwise = sends(raw)
    error = make_client(max_attempts=1, request_timeout_seconds=2).error_of("create_conversation", visitor_user_id="u")
    assert isinstance(error, ChatRelayError), repr(error)
    assert error.maybe_processed or isinstance(error, ChatRelayStatusError)
