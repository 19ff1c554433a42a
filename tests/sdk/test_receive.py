"""One callback, framework-neutral (protocol §4.3): the order of the checks, and the whole answer of each rejection."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk.receive import BoundedBody, CallbackRejected, Received, Tenant, check_method, receive
from bloonio_chat.sdk.signing import sign
from tests.callbacks.relay import PATHS, agent_body, envelope, written
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, OTHER_TENANT_ID, SECRET, TENANT_ID

NOW = 1718966400000
TENANTS = {
    TENANT_ID: Tenant("default", TENANT_ID, (SECRET.encode(), FALLBACK_SECRET.encode())),
    OTHER_TENANT_ID: Tenant("other", OTHER_TENANT_ID, (OTHER_SECRET.encode(),), tolerance_seconds=1.5),
}
GOOD = written(envelope())
UNAUTHORIZED = {"code": "unauthorized", "detail": "The request is not signed by a known tenant within the window."}

fuzz = settings(deadline=None, database=None, max_examples=200)
headers = st.none() | st.text(max_size=70) | st.sampled_from([TENANT_ID, OTHER_TENANT_ID, str(NOW), "0" * 64])


def take(body: bytes = GOOD, path: str = "message-received", /, **changes: Any) -> Received:
    """Receive a callback that is signed well but for what is changed."""
    secret = changes.pop("secret", SECRET)
    arguments: dict[str, Any] = {"tenant_id": TENANT_ID, "timestamp": str(NOW), "tenants": TENANTS, "now_ms": NOW}
    arguments.update(changes)
    if "signature" not in arguments:
        message = f"{arguments['timestamp']}.{hashlib.sha256(body).hexdigest()}"
        arguments["signature"] = hmac.digest(secret.encode(), message.encode(), "sha256").hex()
    return receive(path, body=body, **arguments)


def rejection(body: bytes = GOOD, path: str = "message-received", /, **changes: Any) -> CallbackRejected:
    with pytest.raises(CallbackRejected) as refused:
        take(body, path, **changes)
    return refused.value


def test_what_is_received_is_the_event_and_all_that_proves_it() -> None:
    received = take()
    assert received.event.conversation_id == "c1"
    assert received.tenant is TENANTS[TENANT_ID]
    assert (received.path, received.timestamp, received.body) == ("message-received", str(NOW), GOOD)
    assert received.signature == sign(SECRET.encode(), NOW, GOOD)
    assert received.secret_place == 0
    assert len(received.key) == 64


def test_a_fallback_secret_is_as_good_and_said() -> None:
    assert take(secret=FALLBACK_SECRET).secret_place == 1


def test_a_tenants_id_is_compared_as_a_uuid() -> None:
    assert take(tenant_id=TENANT_ID.upper()).tenant is TENANTS[TENANT_ID]


def test_what_is_received_shows_neither_secret_nor_signature_nor_body() -> None:
    shown = repr(take())
    assert MARK not in shown
    assert sign(SECRET.encode(), NOW, GOOD) not in shown
    assert "occurred_at" in shown, "the event itself is there to be seen"
    assert "body=" not in shown


@pytest.mark.parametrize("header", ["tenant_id", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_header_missing_or_empty_is_401(header: str, value: str | None) -> None:
    refused = rejection(**{"signature": "0" * 64, header: value})
    claimed = None if header == "tenant_id" else TENANT_ID
    assert (refused.status, refused.reason, refused.tenant_id) == (401, "header_missing", claimed)


UNAUTHORIZED_CASES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"tenant_id": "01900000-0000-7000-8000-00000000dead"}, "unknown_tenant", "01900000-0000-7000-8000-00000000dead"),
    ({"tenant_id": f"{TENANT_ID},{TENANT_ID}"}, "unknown_tenant", None),
    ({"tenant_id": "tenant-☃"}, "unknown_tenant", None),
    ({"tenant_id": "0" * 100_000}, "unknown_tenant", None),
    ({"timestamp": f"{NOW},{NOW}"}, "timestamp_malformed", TENANT_ID),
    ({"timestamp": "١٧١٨٩٦٦٤٠٠٠٠٠"}, "timestamp_malformed", TENANT_ID),
    ({"timestamp": str(NOW - 30_001)}, "timestamp_outside_window", TENANT_ID),
    ({"timestamp": str(NOW + 30_001)}, "timestamp_outside_window", TENANT_ID),
    ({"timestamp": str(NOW // 1000)}, "timestamp_outside_window", TENANT_ID),
    ({"signature": "0" * 64}, "signature_mismatch", TENANT_ID),
    ({"signature": "é" * 64}, "signature_mismatch", TENANT_ID),
    ({"signature": sign(SECRET.encode(), NOW, GOOD).upper()}, "signature_mismatch", TENANT_ID),
    ({"secret": OTHER_SECRET}, "signature_mismatch", TENANT_ID),
]


@pytest.mark.parametrize(("changes", "reason", "claimed"), UNAUTHORIZED_CASES, ids=lambda case: str(case)[:30])
def test_every_401_is_the_same_answer_and_only_the_reason_differs(
    changes: dict[str, Any], reason: str, claimed: str | None
) -> None:
    refused = rejection(**changes)
    assert (refused.status, refused.payload, refused.headers) == (401, UNAUTHORIZED, {})
    assert (refused.reason, refused.tenant_id) == (reason, claimed)


def test_the_window_is_the_tenants_own() -> None:
    body = written(envelope(tenant_id=OTHER_TENANT_ID))
    theirs: dict[str, Any] = {"tenant_id": OTHER_TENANT_ID, "secret": OTHER_SECRET}
    assert take(body, **theirs, timestamp=str(NOW - 1500)).tenant.alias == "other"
    assert rejection(body, **theirs, timestamp=str(NOW - 1501)).reason == "timestamp_outside_window"


def test_the_checks_run_in_the_protocols_order() -> None:
    wrong: dict[str, Any] = {"tenant_id": "x", "timestamp": "x", "signature": "x"}
    reasons = []
    for mend in (
        {"signature": ""},
        {"signature": "x"},
        {"tenant_id": TENANT_ID},
        {"timestamp": "1"},
        {"timestamp": str(NOW)},
    ):
        wrong.update(mend)
        reasons.append(rejection(b"no json", **wrong).reason)
    reasons.append(rejection(b"no json").reason)
    assert reasons == [
        "header_missing", "unknown_tenant", "timestamp_malformed", "timestamp_outside_window", "signature_mismatch",
        "not_json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        (b"", "message-received", "not_json"),
        (GOOD[:-1], "message-received", "not_json"),
        (b"[]", "message-received", "not_an_object"),
        (b"{}", "message-received", "field_missing"),
        (b"{}", "agent-assigned", "field_missing"),
        (GOOD, "ticket-created", "event_type_mismatch"),
        (written(agent_body()), "agent-released", "status_mismatch"),
        (written(envelope(message_id="x" * 256)), "message-received", "id_too_long"),
        (written(envelope(tenant_id=OTHER_TENANT_ID)), "message-received", "tenant_mismatch"),
        (written(envelope(extra=1)), "message-received", "field_invalid"),
    ],
)
def test_signed_well_but_no_event_is_400_with_a_code_and_a_detail(body: bytes, path: str, code: str) -> None:
    refused = rejection(body, path)
    assert (refused.status, refused.reason, refused.tenant_id, refused.headers) == (400, code, TENANT_ID, {})
    assert refused.payload == {"code": code, "detail": refused.detail}
    assert str(refused) == f"400 {code}: {refused.detail}"


def test_what_one_tenant_signs_is_no_event_of_another() -> None:
    assert rejection(GOOD, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET).reason == "tenant_mismatch"


def test_every_flipped_byte_of_the_body_is_seen() -> None:
    signature = sign(SECRET.encode(), NOW, GOOD)
    for place in range(len(GOOD)):
        flipped = bytearray(GOOD)
        flipped[place] ^= 0x01
        assert rejection(bytes(flipped), signature=signature).reason == "signature_mismatch"


@fuzz
@given(
    body=st.binary(max_size=60), path=st.sampled_from(PATHS), tenant_id=headers, timestamp=headers, signature=headers
)
def test_unsigned_bytes_are_always_401(
    body: bytes, path: str, tenant_id: str | None, timestamp: str | None, signature: str | None
) -> None:
    refused = rejection(body, path, tenant_id=tenant_id, timestamp=timestamp, signature=signature)
    assert (refused.status, refused.payload) == (401, UNAUTHORIZED)


@fuzz
@given(
    body=st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(sorted(envelope())), st.none() | st.text() | st.floats()).map(
        lambda changes: json.dumps({**envelope(), **changes}).encode()
    ),
    path=st.sampled_from([*PATHS, "conversation-archived"]),
)
def test_signed_bytes_are_an_event_or_400(body: bytes, path: str) -> None:
    try:
        received = take(body, path)
    except CallbackRejected as refused:
        assert refused.status == 400  # noqa: PT017  # either outcome is good
    else:
        assert received.event.event_type.path == path


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", ""])
def test_another_method_than_post_is_405_with_allow(method: str) -> None:
    check_method("POST")
    with pytest.raises(CallbackRejected) as refused:
        check_method(method)
    assert (refused.value.status, refused.value.headers) == (405, {"Allow": "POST"})


def status_of(declared: str | None, *pieces: bytes, limit: int = 10) -> int:
    """Feed a body and return 200, or the status of its rejection."""
    try:
        body = BoundedBody(declared, limit=limit)
        for piece in pieces:
            assert len(piece) <= body.wanted, "a reader never gives more than it is asked for"
            body.feed(piece)
        assert body.whole() == b"".join(pieces)
    except CallbackRejected as refused:
        return refused.status
    return 200


def test_a_body_up_to_the_limit_is_taken() -> None:
    assert status_of("10", b"x" * 10) == status_of("10", b"x" * 4, b"x" * 6) == status_of(None, b"x" * 10) == 200
    assert status_of("0") == status_of(None) == 200


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    for declared in ("11", "9" * 18, "9" * 19, "9" * 100_000):
        assert status_of(declared) == 413


def test_without_a_declared_length_the_first_byte_too_many_is_413() -> None:
    assert status_of(None, b"x" * 4, b"x" * 7) == 413
    assert BoundedBody(None, limit=10).wanted == 11


def test_a_body_shorter_than_declared_is_400() -> None:
    assert status_of("10", b"x" * 9) == 400
    assert status_of("1") == 400


@pytest.mark.parametrize("declared", ["", "-1", "+1", " 1", "1 ", "1_0", "0x1", "1,1", "\u0661", "x"])
def test_a_declared_length_is_plain_digits(declared: str) -> None:
    assert status_of(declared) == 400


def test_a_reader_never_wants_more_than_declared() -> None:
    body = BoundedBody("8", limit=10)
    assert body.wanted == 8
    body.feed(b"x" * 5)
    assert body.wanted == 3
