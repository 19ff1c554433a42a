"""Who is let in (protocol §2 and §3.1): route, method, size, signature, suspension, rate."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from bloonio_chat.sandbox import SandboxRelay, choices, signatures
from tests.sandbox.wire import API, Wire, raw
from tests.secrets import MARK

INFO = ("GET", "/fetch/tenant-info")


@pytest.mark.parametrize(
    ("secret", "timestamp_ms", "body", "signature"),
    [
        ("sk_test_secret", 1718966400000, "", "c145d4a094002cef19eba21d470a89e098595f3d1a5bf6fa39b7d6941d18f5cc"),
        (
            "sk_test_secret",
            1718966400000,
            '{"example":"value"}',
            "cadbaf8a3837d3ee5428b598d8859477801bc8e987f68474088f244fd263e2d1",
        ),
        (
            "sk_test_secret",
            1718966400123,
            '{"content":"Où est ma commande ? 🙂"}',
            "41d4d7d067359b6f4cfdb8ad6ed2b162a2a2734fe23bf9bf4739eab7045a98b0",
        ),
        ("sécret-☃", 1718966400000, "{}", "1bace9b1a0a98c776b4291702f5c9a4a96c4771c2635f337a81bfe0720ed0ad8"),
    ],
)
def test_known_answers(secret: str, timestamp_ms: int, body: str, signature: str) -> None:
    assert signatures.make(secret, timestamp_ms, body.encode()) == signature
    assert signatures.holds(secret, str(timestamp_ms), signature, body.encode(), now_ms=timestamp_ms)


def test_a_signed_call_is_answered_in_the_envelope(wire: Wire) -> None:
    answer = wire.call(*INFO)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["status_code"] == 200
    assert answer.json["message"]
    assert answer.data["tenant_id"] == wire.relay.tenant_id


def test_a_signature_is_checked_on_a_body_in_utf_8(wire: Wire) -> None:
    body = '{"visitor_user_id": "Zoë ☃"}'.encode()
    answer = wire.call("POST", "/create/conversation", body=body)
    assert (answer.status, answer.data["visitor_user_id"]) == (201, "Zoë ☃")


@pytest.mark.parametrize("name", ["X-Bloonio-Tenant-Id", "X-Bloonio-Timestamp", "X-Bloonio-Signature"])
@pytest.mark.parametrize("value", [None, "", "nonsense"])
def test_a_call_without_a_right_header_is_401(wire: Wire, name: str, value: str | None) -> None:
    answer = wire.call(*INFO, headers={name: value})
    assert answer.status == 401
    # One answer for all of them.
    assert answer.json == {"status_code": 401, "message": "Invalid signature or timestamp", "data": None}


def test_another_secret_is_401(wire: Wire) -> None:
    assert wire.call(*INFO, secret="sk_sandbox_another").status == 401


def test_an_unknown_tenant_is_401(wire: Wire) -> None:
    assert wire.call(*INFO, tenant_id="01900000-0000-7000-8000-00000000000f").status == 401


def test_another_body_than_the_signed_one_is_401(wire: Wire) -> None:
    timestamp = str(wire.relay.clock.now_ms())
    signed = signatures.make(wire.relay.tenant_secret, int(timestamp), b'{"visitor_user_id": "a"}')
    headers = {"X-Bloonio-Timestamp": timestamp, "X-Bloonio-Signature": signed}
    assert wire.call("POST", "/create/conversation", {"visitor_user_id": "b"}, headers=headers).status == 401


def test_a_signature_in_upper_case_is_401(wire: Wire) -> None:
    timestamp = str(wire.relay.clock.now_ms())
    signature = signatures.make(wire.relay.tenant_secret, int(timestamp), b"")
    headers: dict[str, str | None] = {"X-Bloonio-Timestamp": timestamp, "X-Bloonio-Signature": signature}
    assert wire.call(*INFO, headers=headers).status == 200
    assert wire.call(*INFO, headers={**headers, "X-Bloonio-Signature": signature.upper()}).status == 401


@pytest.mark.parametrize(("skew_ms", "status"), [(-30_001, 401), (-30_000, 200), (30_000, 200), (30_001, 401)])
def test_the_window_is_30_seconds_on_either_side(still_wire: Wire, skew_ms: int, status: int) -> None:
    assert still_wire.call(*INFO, skew_ms=skew_ms).status == status


@pytest.mark.parametrize("write", ["{}.0", "+{}", " {}0", "{}\N{ARABIC-INDIC DIGIT ZERO}", "0x{}", "{}" + "0" * 5000])
def test_a_timestamp_is_plain_digits(wire: Wire, write: str) -> None:
    timestamp = write.format(wire.relay.clock.now_ms())
    assert not signatures.holds("s", timestamp, "0" * 64, b"", now_ms=wire.relay.clock.now_ms())
    assert wire.call(*INFO, headers={"X-Bloonio-Timestamp": timestamp.encode().decode("latin-1")}).status == 401


def test_a_repeated_header_is_401(wire: Wire) -> None:
    twice = f"{wire.relay.tenant_id},{wire.relay.tenant_id}"
    assert wire.call(*INFO, headers={"X-Bloonio-Tenant-Id": twice}).status == 401


def test_a_rotated_secret_stops_at_once(wire: Wire) -> None:
    old = wire.relay.tenant_secret
    new = wire.relay.rotate_secret(f"sk_sandbox_new_{MARK}")
    assert wire.relay.tenant_secret == new
    assert wire.call(*INFO, secret=old).status == 401
    assert wire.call(*INFO, secret=new).status == 200


def test_a_suspended_tenant_is_403_once_its_signature_holds(wire: Wire) -> None:
    wire.relay.tenant.suspended = True
    assert wire.call(*INFO).status == 403
    assert wire.call(*INFO, secret="sk_sandbox_another").status == 401
    wire.relay.tenant.suspended = False
    assert wire.call(*INFO).status == 200


def test_tenants_do_not_see_each_others_objects(wire: Wire) -> None:
    other = wire.relay.add_tenant(tenant_secret=f"sk_sandbox_other_{MARK}")
    conversation = wire.open()
    theirs = {"secret": other.secret, "tenant_id": other.tenant_id}
    query = {"conversation_id": conversation["id"]}
    assert wire.call("GET", "/fetch/conversation", query=query).status == 200
    assert wire.call("GET", "/fetch/conversation", query=query, **theirs).status == 404  # type: ignore[arg-type]  # texts
    assert wire.call("GET", "/fetch/conversations", **theirs).data["items"] == []  # type: ignore[arg-type]  # texts
    assert wire.call(*INFO, secret=other.secret).status == 401


# ---- route, method, size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nothing", "/create/conversation/", "/create", "", "/add/Message"])
def test_another_path_is_404_as_fastapi_says_it(wire: Wire, path: str) -> None:
    answer = wire.call("POST", path, {"visitor_user_id": "a"})
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


def test_a_path_without_the_prefix_is_404(relay: SandboxRelay) -> None:
    answer = raw(relay.base_url, "POST", "/create/conversation", b"{}", {})
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", "/add/message", "POST"), ("POST", INFO[1], "GET")])
def test_another_method_is_405_with_allow(wire: Wire, method: str, path: str, allow: str) -> None:
    answer = wire.call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


def test_an_operation_that_this_relay_lacks_is_404(make_relay: Callable[..., SandboxRelay]) -> None:
    wire = Wire(make_relay(missing_operations=("fetch_ticket",)))
    answer = wire.call("GET", "/fetch/ticket", query={"ticket_id": "t"})
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


def test_too_large_a_body_is_413(wire: Wire) -> None:
    most = choices.LARGEST_BODY_BYTES
    # Who goes on to send it may find the connection closed.
    head = HEAD + f"Content-Length: {most + 1}\r\n\r\n".encode()
    assert _sent(wire.relay, head).startswith(b"HTTP/1.1 413 ")
    assert wire.call("POST", "/create/conversation", body=b" " * most).status == 422


def _sent(relay: SandboxRelay, *pieces: bytes) -> bytes:
    """Send bytes as they stand, then no more; return the beginning of what comes back."""
    parts = urlsplit(relay.base_url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)


HEAD = f"POST {API}/create/conversation HTTP/1.1\r\nHost: a\r\n".encode()
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_too_large_a_body_in_chunks_is_413(relay: SandboxRelay) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    many = [chunk] * (choices.LARGEST_BODY_BYTES // 0x10000 + 1)
    assert _sent(relay, CHUNKED, *many, b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_malformed_chunks_are_400(relay: SandboxRelay) -> None:
    assert _sent(relay, CHUNKED, b"not a length\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_body_that_ends_early_is_400(relay: SandboxRelay) -> None:
    assert _sent(relay, HEAD + b"Content-Length: 10\r\n\r\n{").startswith(b"HTTP/1.1 400 ")


# ---- rate ------------------------------------------------------------------------------------------------------


def test_the_rate_limit_answers_429_with_the_seconds_to_wait(still_wire: Wire) -> None:
    assert [still_wire.call(*INFO).status for _ in range(3)] == [200] * 3
    still_wire.relay.clock.advance(20)
    refused = still_wire.call(*INFO)
    assert (refused.status, refused.headers["retry-after"]) == (429, "40")
    still_wire.relay.clock.advance(39)
    assert still_wire.call(*INFO).status == 429
    still_wire.relay.clock.advance(1)
    assert still_wire.call(*INFO).status == 200


def test_calls_that_are_refused_do_not_count(make_relay: Callable[..., SandboxRelay]) -> None:
    wire = Wire(make_relay(rate_limit_per_min=1))
    assert [wire.call(*INFO, secret="sk_sandbox_x").status for _ in range(3)] == [401] * 3
    assert [wire.call(*INFO).status for _ in range(3)] == [200, 429, 429]
    wire.relay.clock.advance(60)
    assert wire.call(*INFO).status == 200


def test_each_tenant_has_its_own_rate_and_none_means_no_limit(make_relay: Callable[..., SandboxRelay]) -> None:
    wire = Wire(make_relay(rate_limit_per_min=1))
    other = wire.relay.add_tenant(tenant_secret=f"sk_sandbox_other_{MARK}")
    assert wire.call(*INFO).status == 200
    other.rate_limit_per_min = None
    for _ in range(3):
        assert wire.call(*INFO, secret=other.secret, tenant_id=other.tenant_id).status == 200


def test_60_calls_a_minute_are_the_default(wire: Wire) -> None:
    assert wire.relay.tenant.rate_limit_per_min == 60
