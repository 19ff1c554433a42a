"""The same answers from real servers: gunicorn's two kinds of worker, uvicorn, and Django's own."""

from __future__ import annotations

import re
import uuid

import pytest

from bloonio_chat.sdk.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER
from tests.callbacks.relay import ACKNOWLEDGED, HEADERS, envelope, now_ms, signed, with_raw, written
from tests.callbacks.servers import ANSWER_BEFORE_THE_BODY, COMMANDS, READ_CHUNKS, Answer, Server, Servers, chunk, head
from tests.secrets import MARK, OTHER_SECRET

LIMIT = 8192
every_kind = pytest.mark.parametrize("kind", COMMANDS)


def unique() -> tuple[str, bytes]:
    name = uuid.uuid4().hex[:16]
    return name, written(envelope(message_id=name))


def still_well(server: Server) -> None:
    """The next callback is answered as if nothing had happened, and the log shows neither a fault nor a secret."""
    _, body = unique()
    assert server.post(body, signed(body)).status == 200
    log = server.log()
    assert "Traceback" not in log
    assert "Internal Server Error" not in log
    assert MARK not in log
    assert not re.search(r"\b[0-9a-f]{64}\b", log)


@every_kind
def test_an_event_reaches_sync_and_async_receivers(servers: Servers, kind: str) -> None:
    server = servers(kind)
    name, body = unique()
    answer = server.post(body, signed(body))
    assert (answer.status, answer.tree()) == (200, ACKNOWLEDGED)
    assert server.post(body, signed(body)).status == 200, "a repeat"
    assert [seen for seen in server.seen() if seen[1] == name] == [["sync", name, False], ["async", name, True]]


@every_kind
def test_unsigned_and_wrongly_signed_get_one_and_the_same_401(servers: Servers, kind: str) -> None:
    server = servers(kind)
    _, body = unique()
    good = signed(body)
    variants = [
        {},
        signed(b"{}"),
        signed(body, secret=OTHER_SECRET),
        signed(body, timestamp=now_ms() - 60_000),
        signed(body, timestamp=now_ms() + 60_000),
        signed(body, timestamp=now_ms() // 1000),
        {**good, SIGNATURE_HEADER: good[SIGNATURE_HEADER].upper()},
        {**good, TIMESTAMP_HEADER: f"+{good[TIMESTAMP_HEADER]}"},
        *({**good, name: ""} for name in HEADERS),
        *({**good, name: f"{good[name]}é"} for name in HEADERS),
        *({other: good[other] for other in HEADERS if other != name} for name in HEADERS),
    ]
    answers = [server.post(body, headers) for headers in variants]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert (
        len({tuple(sorted((k, v) for k, v in answer.headers.items() if k.lower() != "date")) for answer in answers})
        == 1
    )


@every_kind
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_was_sent_twice_is_401(servers: Servers, kind: str, name: str) -> None:
    server = servers(kind)
    _, body = unique()
    good = [*signed(body).items(), ("Content-Length", str(len(body)))]
    twice = server.send(head("message-received", [*good, (name, dict(good)[name])]), body)
    assert twice is not None
    assert twice.status == 401


@every_kind
def test_signed_well_but_no_event_is_400(servers: Servers, kind: str) -> None:
    server = servers(kind)
    for body, code in (
        (b"[", "not_json"),
        (b"[]", "not_an_object"),
        ("{}".encode("utf-16"), "not_json"),
        (with_raw("claim_count", "9" * 5000), "not_json"),
        (with_raw("message_id", "NaN"), "field_invalid"),
        (written(envelope("ticket-created")), "event_type_mismatch"),
    ):
        answer = server.post(body, signed(body))
        assert (answer.status, answer.tree()["code"]) == (400, code)
    still_well(server)


@every_kind
def test_names_slashes_and_methods(servers: Servers, kind: str) -> None:
    server = servers(kind)
    _, body = unique()
    assert server.post(body, signed(body), "message-received/").status == 200
    archived = written(envelope("conversation-archived"))
    assert server.post(archived, signed(archived), "conversation-archived").status == 200
    for path in ("message-received%0A", "message_received", "Message-received", "message-received//"):
        assert server.post(body, signed(body), path).status == 404
    got = server.send(head("message-received", {}).replace(b"POST", b"GET", 1))
    assert got is not None
    assert (got.status, got.headers["Allow"]) == (405, "POST")


# ---- sizes and chunks ------------------------------------------------------------------------------------------


@every_kind
def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_413(servers: Servers, kind: str) -> None:
    server = servers(kind)
    name, bare = unique()
    body = bare[:-1] + b" " * (LIMIT - len(bare)) + b"}"
    assert server.post(body, signed(body)).status == 200
    assert any(seen[1] == name for seen in server.seen())
    assert server.post(body + b" ", signed(body + b" ")).status == 413


@pytest.mark.parametrize("kind", ANSWER_BEFORE_THE_BODY)
def test_a_declared_length_over_the_limit_is_413_before_the_body_is_sent(servers: Servers, kind: str) -> None:
    server = servers(kind)
    answer = server.send(head("message-received", {"Content-Length": "1000000000"}))
    assert answer is not None
    assert answer.status == 413
    still_well(server)


@pytest.mark.parametrize("kind", READ_CHUNKS)
def test_a_body_in_chunks_is_read(servers: Servers, kind: str) -> None:
    server = servers(kind)
    name, body = unique()
    pieces = [chunk(body[:7]), chunk(body[7:30]), chunk(body[30:]), chunk(b"")]
    answer = server.send(head("message-received", {**signed(body), "Transfer-Encoding": "chunked"}), *pieces)
    assert answer is not None
    assert (answer.status, answer.tree()) == (200, ACKNOWLEDGED)
    assert any(seen[1] == name for seen in server.seen())


def test_a_server_that_can_not_read_chunks_says_so_with_411(servers: Servers) -> None:
    server = servers("runserver")
    _, body = unique()
    # Without a chunk: the server hangs up on what it does not read, which could take its answer with it.
    answer = server.send(head("message-received", {**signed(body), "Transfer-Encoding": "chunked"}))
    assert answer is not None
    assert (answer.status, answer.tree()["code"]) == (411, "length_required")
    still_well(server)


@pytest.mark.parametrize("kind", ["gunicorn sync", "gunicorn gthread"])
def test_chunks_beyond_the_limit_are_413_although_no_end_is_in_sight(servers: Servers, kind: str) -> None:
    server = servers(kind)
    opening = head("message-received", {**signed(b""), "Transfer-Encoding": "chunked"})
    answer = server.send(opening, chunk(b"x" * LIMIT), chunk(b"x"))
    assert answer is not None
    assert answer.status == 413
    still_well(server)


def test_under_asgi_chunks_beyond_the_limit_are_413_at_their_end(servers: Servers) -> None:
    server = servers("uvicorn")
    opening = head("message-received", {**signed(b""), "Transfer-Encoding": "chunked"})
    answer = server.send(opening, chunk(b"x" * (LIMIT + 1)), chunk(b""))
    assert answer is not None
    assert answer.status == 413


# ---- senders that hang up --------------------------------------------------------------------------------------


def refused_or_silent(answer: Answer | None) -> bool:
    return answer is None or answer.status == 400


@every_kind
def test_a_sender_that_hangs_up_in_mid_body_harms_nobody(servers: Servers, kind: str) -> None:
    server = servers(kind)
    name, body = unique()
    opening = head("message-received", {**signed(body), "Content-Length": str(len(body))})
    assert refused_or_silent(server.send(opening, body[:20], end=True))
    with server.connect() as connection:
        connection.sendall(opening + body[:20])
    still_well(server)
    assert not any(seen[1] == name for seen in server.seen())


@pytest.mark.parametrize("kind", READ_CHUNKS)
def test_a_sender_that_hangs_up_between_chunks_harms_nobody(servers: Servers, kind: str) -> None:
    server = servers(kind)
    _, body = unique()
    opening = head("message-received", {**signed(body), "Transfer-Encoding": "chunked"})
    assert refused_or_silent(server.send(opening, chunk(body), end=True))
    assert refused_or_silent(server.send(opening, b"zz\r\nnonsense", end=True))
    still_well(server)
