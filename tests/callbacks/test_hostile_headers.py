"""Hostile headers: each is 401, and all 401s are one and the same answer."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.sdk.signing import SIGNATURE_HEADER, TENANT_ID_HEADER, TIMESTAMP_HEADER
from tests.callbacks.relay import HEADERS, answer, envelope, now_ms, post, signed, written
from tests.secrets import OTHER_SECRET, SECRET

BODY = written(envelope())
Change = Callable[[dict[str, str]], dict[str, str]]

# Not "\r\n": no server lets a line end into a header.
EVERY_HEADER: dict[str, Callable[[str], str | None]] = {
    "missing": lambda value: None,
    "empty": lambda value: "",
    "blank": lambda value: "   ",
    "twice": lambda value: f"{value},{value}",
    "twice with a space": lambda value: f"{value}, {value}",
    "followed by an empty one": lambda value: f"{value},",
    "non-ASCII": lambda value: f"{value}é",
    "latin-1 of UTF-8": lambda value: "☃".encode().decode("latin-1") + value[1:],
    "overlong": lambda value: value * 5000,
    "leading space": lambda value: f" {value}",
    "trailing tab": lambda value: f"{value}\t",
    "quoted": lambda value: f'"{value}"',
    "with NUL": lambda value: f"{value}\0",
}


def restamped(timestamp: Callable[[], object]) -> Change:
    """Another timestamp, signed as it stands: only its form can be what is wrong."""

    def change(_: dict[str, str]) -> dict[str, str]:
        text = str(timestamp())
        message = f"{text}.{hashlib.sha256(BODY).hexdigest()}".encode()
        return {TIMESTAMP_HEADER: text, SIGNATURE_HEADER: hmac.digest(SECRET.encode(), message, "sha256").hex()}

    return change


CASES: dict[str, tuple[str, Change]] = {
    **{
        f"timestamp {name}": ("timestamp_malformed", restamped(timestamp))
        for name, timestamp in {
            "with plus": lambda: f"+{now_ms()}",
            "with minus": lambda: -now_ms(),
            "with underscores": lambda: f"{now_ms():_}",
            "with commas": lambda: f"{now_ms():,}",
            "with a fraction": lambda: f"{now_ms()}.0",
            "with an exponent": lambda: "1.8e12",
            "in hexadecimal": lambda: hex(now_ms()),
            "with Arabic digits": lambda: str(now_ms()).translate({48 + digit: 0x660 + digit for digit in range(10)}),
            "with fullwidth digits": lambda: str(now_ms()).translate({48 + n: 0xFF10 + n for n in range(10)}),
            "with superscripts": lambda: "¹²³",
            "of 17 digits": lambda: f"{now_ms():017}",
            "of 5000 digits": lambda: "1" * 5000,
            "in words": lambda: "now",
        }.items()
    },
    **{
        f"timestamp {name}": ("timestamp_outside_window", restamped(timestamp))
        for name, timestamp in {
            "in seconds": lambda: now_ms() // 1000,
            "in microseconds": lambda: now_ms() * 1000,
            "of zero": lambda: 0,
            "a minute behind": lambda: now_ms() - 60_000,
            "a minute ahead": lambda: now_ms() + 60_000,
        }.items()
    },
    "signature in capitals": ("signature_mismatch", lambda h: {SIGNATURE_HEADER: h[SIGNATURE_HEADER].upper()}),
    "signature cut short": ("signature_mismatch", lambda h: {SIGNATURE_HEADER: h[SIGNATURE_HEADER][:-1]}),
    "signature not hexadecimal": ("signature_mismatch", lambda h: {SIGNATURE_HEADER: "z" * 64}),
    "signature with a scheme": ("signature_mismatch", lambda h: {SIGNATURE_HEADER: f"v1={h[SIGNATURE_HEADER]}"}),
    "signature of nothing": ("signature_mismatch", lambda h: {SIGNATURE_HEADER: "0" * 64}),
    "signature of another body": ("signature_mismatch", lambda h: signed(b"{}")),
    "signature of another secret": ("signature_mismatch", lambda h: signed(BODY, secret=OTHER_SECRET)),
    "unknown tenant": ("unknown_tenant", lambda h: {TENANT_ID_HEADER: "01900000-0000-7000-8000-00000000dead"}),
    "tenant's alias": ("unknown_tenant", lambda h: {TENANT_ID_HEADER: "default"}),
    "tenant's id without hyphens": (
        "unknown_tenant",
        lambda h: {TENANT_ID_HEADER: h[TENANT_ID_HEADER].replace("-", "")},
    ),
    "tenant's id in braces": ("unknown_tenant", lambda h: {TENANT_ID_HEADER: f"{{{h[TENANT_ID_HEADER]}}}"}),
}


def refused_alike(relay: Client, headers: dict[str, str]) -> None:
    """The answer is what a request without any header gets, to the last header."""
    response, reference = post(relay, "message-received", BODY, headers), post(relay, "message-received", BODY, {})
    assert response.status_code == 401
    assert response.content == reference.content
    assert dict(response.items()) == dict(reference.items())
    assert answer(response)["code"] == "unauthorized"
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("case", EVERY_HEADER)
def test_each_header_in_each_wrong_form_is_401(
    relay: Client, events: list[WebhookEvent], header: str, case: str
) -> None:
    headers = signed(BODY)
    value = EVERY_HEADER[case](headers.pop(header))
    refused_alike(relay, headers if value is None else {**headers, header: value})
    assert events == []


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_401_and_only_the_signal_tells_why(
    relay: Client, rejections: list[dict[str, Any]], events: list[WebhookEvent], case: str
) -> None:
    reason, change = CASES[case]
    headers = signed(BODY)
    refused_alike(relay, {**headers, **change(headers)})
    assert [rejection["reason"] for rejection in rejections] == [reason, "header_missing"]
    assert events == []


def test_every_flipped_digit_of_a_signature_is_401(relay: Client, events: list[WebhookEvent]) -> None:
    headers = signed(BODY)
    signature = headers[SIGNATURE_HEADER]
    for place, digit in enumerate(signature):
        flipped = signature[:place] + format(int(digit, 16) ^ 1, "x") + signature[place + 1 :]
        assert post(relay, "message-received", BODY, {**headers, SIGNATURE_HEADER: flipped}).status_code == 401
    assert events == []
    assert post(relay, "message-received", BODY, headers).status_code == 200


def test_a_timestamp_just_inside_the_window_is_taken(relay: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: moment)
    for place, (offset, status) in enumerate(((-30_001, 401), (-30_000, 200), (30_000, 200), (30_001, 401))):
        body = written(envelope(event_id=f"e{place}"))
        assert post(relay, "message-received", body, signed(body, timestamp=now_ms() + offset)).status_code == status


def test_a_timestamp_with_leading_zeros_is_what_was_signed(relay: Client) -> None:
    text = f"{now_ms():016}"
    headers = {**signed(BODY), TIMESTAMP_HEADER: text}
    assert post(relay, "message-received", BODY, headers).status_code == 401, "the digits are signed, not the number"
    assert post(relay, "message-received", BODY, signed(BODY, timestamp=text)).status_code == 200


def test_the_window_is_a_setting(relay: Client, settings: Any) -> None:
    settings.BLOONIO_CHAT_TIMESTAMP_TOLERANCE_SECONDS = 120
    assert post(relay, "message-received", BODY, signed(BODY, timestamp=now_ms() - 60_000)).status_code == 200


def test_the_log_tells_which_check_failed(relay: Client, caplog: pytest.LogCaptureFixture) -> None:
    post(relay, "message-received", BODY, {**signed(BODY), TIMESTAMP_HEADER: str(now_ms() - 90_000)})
    (record,) = [record for record in caplog.records if record.name == "bloonio_chat.callbacks"]
    assert vars(record)["reason"] == "timestamp_outside_window"
    assert "behind this machine's clock" in record.getMessage()


def test_the_headers_names_are_case_insensitive(relay: Client) -> None:
    headers = {name.lower(): value for name, value in signed(BODY).items()}
    assert post(relay, "message-received", BODY, headers).status_code == 200
