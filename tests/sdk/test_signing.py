"""HMAC#1 (protocol §2): the known answers, and that nothing else passes."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk.errors import SignatureError
from bloonio_chat.sdk.signing import check_timestamp, sign, sign_headers, verify
from tests.secrets import FALLBACK_SECRET, OTHER_SECRET, SECRET, TENANT_ID

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "hmac1.json").read_text(encoding="utf-8")
)
KEY = SECRET.encode()
NOW = 1718966400000

fuzz = settings(deadline=None, database=None, max_examples=150)
keys = st.binary(min_size=1, max_size=100)
stamps = st.integers(min_value=0, max_value=10**16 - 1)


def reason_of(*arguments: Any) -> str:
    with pytest.raises(SignatureError) as refused:
        verify(*arguments)
    return refused.value.reason


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["body"][:12] or "no body")
def test_the_known_answers_hold(vector: dict[str, Any]) -> None:
    secret, body = vector["secret"].encode(), vector["body"].encode()
    assert sign(secret, vector["timestamp_ms"], body) == vector["signature"]
    assert verify([secret], str(vector["timestamp_ms"]), vector["signature"], body) == 0


def test_there_are_the_four_vectors_of_the_protocol() -> None:
    assert len(VECTORS) == 4


@fuzz
@given(secret=keys, timestamp_ms=stamps, body=st.binary())
def test_what_is_signed_verifies(secret: bytes, timestamp_ms: int, body: bytes) -> None:
    signature = sign(secret, timestamp_ms, body)
    assert len(signature) == 64
    assert set(signature) <= set("0123456789abcdef")
    assert verify([secret], str(timestamp_ms), signature, body) == 0


@fuzz
@given(
    secret=keys, timestamp_ms=stamps, body=st.binary(min_size=1), place=st.integers(min_value=0), bit=st.integers(0, 7)
)
def test_one_changed_bit_of_the_body_is_seen(
    secret: bytes, timestamp_ms: int, body: bytes, place: int, bit: int
) -> None:
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit
    signature = sign(secret, timestamp_ms, body)
    assert reason_of([secret], str(timestamp_ms), signature, bytes(changed)) == "signature_mismatch"


@fuzz
@given(timestamp_ms=stamps, other=stamps)
def test_another_timestamp_is_seen(timestamp_ms: int, other: int) -> None:
    signature = sign(KEY, timestamp_ms, b"{}")
    if other == timestamp_ms:
        assert verify([KEY], str(other), signature, b"{}") == 0
    else:
        assert reason_of([KEY], str(other), signature, b"{}") == "signature_mismatch"


@fuzz
@given(signature=st.text(max_size=80))
def test_no_guessed_text_is_a_signature(signature: str) -> None:
    assert reason_of([KEY], str(NOW), signature, b"{}") == "signature_mismatch"


def test_every_single_changed_character_of_a_signature_is_seen() -> None:
    signature = sign(KEY, NOW, b"{}")
    for place, digit in enumerate(signature):
        changed = signature[:place] + ("0" if digit != "0" else "1") + signature[place + 1 :]
        assert reason_of([KEY], str(NOW), changed, b"{}") == "signature_mismatch"


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda s: s[:-1], lambda s: s + "0", lambda s: f" {s}", lambda s: f"{s},{s}", lambda s: "é" + s[1:]],
    ids=["upper case", "short", "long", "space", "twice", "non-ASCII"],
)
def test_a_signature_is_its_64_lower_case_digits_and_nothing_else(change: Any) -> None:
    assert reason_of([KEY], str(NOW), change(sign(KEY, NOW, b"\xff")), b"\xff") == "signature_mismatch"


def test_a_lone_surrogate_is_a_wrong_signature_and_a_wrong_timestamp() -> None:
    assert reason_of([KEY], str(NOW), "\ud800" * 64, b"") == "signature_mismatch"
    assert reason_of([KEY], "\ud800", sign(KEY, NOW, b""), b"") == "signature_mismatch"


def test_the_place_tells_which_secret_signed() -> None:
    secrets = [SECRET.encode(), FALLBACK_SECRET.encode()]
    assert verify(secrets, str(NOW), sign(secrets[0], NOW, b""), b"") == 0
    assert verify(secrets, str(NOW), sign(secrets[1], NOW, b""), b"") == 1
    assert reason_of(secrets, str(NOW), sign(OTHER_SECRET.encode(), NOW, b""), b"") == "signature_mismatch"


def test_an_empty_secret_neither_signs_nor_verifies() -> None:
    with pytest.raises(ValueError, match="empty"):
        sign(b"", NOW, b"")
    with_empty_key = hmac.digest(b"", f"{NOW}.{hashlib.sha256(b'').hexdigest()}".encode(), "sha256").hex()
    assert reason_of([b""], str(NOW), with_empty_key, b"") == "signature_mismatch"
    assert reason_of([], str(NOW), with_empty_key, b"") == "signature_mismatch"


def test_the_three_headers_of_a_request() -> None:
    assert sign_headers(TENANT_ID, KEY, NOW, b"{}") == {
        "X-Bloonio-Tenant-Id": TENANT_ID,
        "X-Bloonio-Timestamp": str(NOW),
        "X-Bloonio-Signature": sign(KEY, NOW, b"{}"),
    }


@pytest.mark.parametrize("offset_ms", [0, 1, -1, 29_999, 30_000, -29_999, -30_000])
def test_the_window_is_open_to_its_edges_on_both_sides(offset_ms: int) -> None:
    assert check_timestamp(str(NOW + offset_ms), now_ms=NOW, tolerance_seconds=30) == NOW + offset_ms


@pytest.mark.parametrize(("offset_ms", "side"), [(30_001, "ahead of"), (-30_001, "behind"), (10**12, "ahead of")])
def test_outside_the_window_the_message_names_the_side(offset_ms: int, side: str) -> None:
    with pytest.raises(SignatureError, match=side) as refused:
        check_timestamp(str(NOW + offset_ms), now_ms=NOW, tolerance_seconds=30)
    assert refused.value.reason == "timestamp_outside_window"


def test_seconds_are_not_milliseconds() -> None:
    with pytest.raises(SignatureError) as refused:
        check_timestamp(str(NOW // 1000), now_ms=NOW, tolerance_seconds=30)
    assert refused.value.reason == "timestamp_outside_window"


@pytest.mark.parametrize(
    "text",
    ["", " ", "+1718966400000", "-1718966400000", " 1718966400000", "1718966400000 ", "1718966400000\n",
     "1_718_966_400_000", "1718966400000.0", "1.7e12", "0x19042a", "1718966400000,1718966400000",
     "١٧١٨٩٦٦٤٠٠٠٠٠", "\uff11718966400000", "²", "1" * 17, "9" * 100_000, "NaN", "\ud800"],
    ids=lambda text: repr(text[:20]).encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
def test_a_timestamp_is_plain_digits(text: str) -> None:
    with pytest.raises(SignatureError) as refused:
        check_timestamp(text, now_ms=NOW, tolerance_seconds=30)
    assert refused.value.reason == "timestamp_malformed"


@fuzz
@given(text=st.text(max_size=20) | st.from_regex(r"\A[0-9]{10,18}\Z"))
def test_a_timestamp_is_taken_or_refused_and_nothing_else_happens(text: str) -> None:
    with contextlib.suppress(SignatureError):
        assert abs(check_timestamp(text, now_ms=NOW, tolerance_seconds=30) - NOW) <= 30_000
