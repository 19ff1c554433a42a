"""Settings of the SDK: keywords first, then the environment, then the default; what is wrong is named, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.settings import ChatRelaySettings
from tests.secrets import FALLBACK_SECRET, OTHER_SECRET, OTHER_TENANT_ID, SECRET, TENANT_ID

RIGHT: dict[str, Any] = {"base_url": "https://relay.test", "tenant_id": TENANT_ID, "tenant_secret": SECRET}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ChatRelaySettings.model_fields:
        monkeypatch.delenv(f"BLOONIO_CHAT_{name.upper()}", raising=False)


def test_the_defaults_are_the_designs() -> None:
    settings = ChatRelaySettings(**RIGHT)
    assert settings.request_timeout_seconds == 10
    assert settings.max_attempts == 3
    assert settings.timestamp_tolerance_seconds == 30
    assert settings.secrets() == (SECRET.encode(),)


def test_everything_can_come_from_the_environment_and_keywords_win(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BASE_URL": "https://env.test",
        "TENANT_ID": TENANT_ID.upper(),
        "TENANT_SECRET": SECRET,
        "TENANT_SECRET_FALLBACKS": f"{FALLBACK_SECRET}, {OTHER_SECRET},",
        "REQUEST_TIMEOUT_SECONDS": "2.5",
        "MAX_ATTEMPTS": "7",
        "TIMESTAMP_TOLERANCE_SECONDS": "60",
    }.items():
        monkeypatch.setenv(f"BLOONIO_CHAT_{name}", value)
    settings = ChatRelaySettings()
    assert settings.base_url == "https://env.test"
    assert settings.tenant_id == TENANT_ID
    assert settings.secrets() == (SECRET.encode(), FALLBACK_SECRET.encode(), OTHER_SECRET.encode())
    assert (settings.request_timeout_seconds, settings.max_attempts) == (2.5, 7)
    assert settings.timestamp_tolerance_seconds == 60
    assert ChatRelaySettings(tenant_id=OTHER_TENANT_ID, max_attempts=1).tenant_id == OTHER_TENANT_ID
    # None means not set.
    assert ChatRelaySettings(tenant_id=None, max_attempts=None) == settings


@pytest.mark.parametrize("text", [f'["{FALLBACK_SECRET}"]', FALLBACK_SECRET, f" {FALLBACK_SECRET} ,"])
def test_a_list_in_the_environment_is_json_or_comma_separated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BLOONIO_CHAT_TENANT_SECRET_FALLBACKS", text)
    assert ChatRelaySettings(**RIGHT).secrets() == (SECRET.encode(), FALLBACK_SECRET.encode())


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"base_url": None}, "BLOONIO_CHAT_BASE_URL is missing"),
        ({"base_url": "relay.test"}, "BLOONIO_CHAT_BASE_URL is not an http(s) URL"),
        ({"base_url": "ftp://relay.test"}, "is not an http(s) URL"),
        ({"base_url": "https://"}, "is not an http(s) URL"),
        ({"base_url": "https://relay.test/\r\nX: y"}, "is not an http(s) URL"),
        ({"base_url": "https://relay.test:99999"}, "is not a URL"),
        ({"base_url": "https://["}, "is not a URL"),
        ({"base_url": "https://me@relay.test"}, "must have no user"),
        ({"base_url": "https://relay.test?a=b"}, "must have no user, query or fragment"),
        ({"base_url": "https://relay.test#a"}, "must have no user, query or fragment"),
        ({"base_url": "https://relay.test/api/v1/relay/"}, "is to be set without /api/v1/relay"),
        ({"tenant_id": "shop"}, "BLOONIO_CHAT_TENANT_ID is not a UUID"),
        ({"tenant_id": f"{TENANT_ID}\n"}, "is not a UUID"),
        ({"tenant_secret": ""}, "BLOONIO_CHAT_TENANT_SECRET is empty"),
        ({"tenant_secret": "  "}, "is empty"),
        ({"tenant_secret": f"{SECRET}\n"}, "starts or ends with white space"),
        ({"tenant_secret": f"{SECRET}\udc00"}, "BLOONIO_CHAT_TENANT_SECRET"),
        ({"tenant_secret_fallbacks": [""]}, "BLOONIO_CHAT_TENANT_SECRET_FALLBACKS is empty"),
        ({"tenant_secret_fallbacks": "[x"}, "is neither a JSON list nor comma-separated"),
        ({"request_timeout_seconds": 0}, "BLOONIO_CHAT_REQUEST_TIMEOUT_SECONDS"),
        ({"request_timeout_seconds": float("inf")}, "BLOONIO_CHAT_REQUEST_TIMEOUT_SECONDS"),
        ({"request_timeout_seconds": float("nan")}, "BLOONIO_CHAT_REQUEST_TIMEOUT_SECONDS"),
        ({"max_attempts": 0}, "BLOONIO_CHAT_MAX_ATTEMPTS"),
        ({"max_attempts": 21}, "BLOONIO_CHAT_MAX_ATTEMPTS"),
        ({"timestamp_tolerance_seconds": -1}, "BLOONIO_CHAT_TIMESTAMP_TOLERANCE_SECONDS"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ChatRelayConfigurationError) as caught:
        ChatRelaySettings(**{**RIGHT, **wrong})
    assert expected in str(caught.value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ChatRelayConfigurationError) as caught:
        ChatRelaySettings()
    assert [
        name for name in ("BASE_URL", "TENANT_ID", "TENANT_SECRET") if f"{name} is missing" in str(caught.value)
    ] == [
        "BASE_URL",
        "TENANT_ID",
        "TENANT_SECRET",
    ]


def test_settings_can_not_be_changed() -> None:
    settings = ChatRelaySettings(**RIGHT)
    with pytest.raises(ValueError, match="frozen"):
        settings.max_attempts = 5  # type: ignore[misc]  # that is what is tested


def test_a_keyword_that_is_no_setting_is_refused() -> None:
    wrong: dict[str, Any] = {"colour": "red"}
    with pytest.raises(TypeError, match="colour"):
        ChatRelaySettings(**wrong)


def test_a_variable_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOONIO_CHAT_MAX_ATTEMPTS", "")
    given = ChatRelaySettings(base_url="https://relay.test", tenant_id=TENANT_ID, tenant_secret=SECRET)
    assert given.max_attempts == 3
    monkeypatch.setenv("BLOONIO_CHAT_TENANT_SECRET", "")
    with pytest.raises(ChatRelayConfigurationError, match="BLOONIO_CHAT_TENANT_SECRET is missing"):
        ChatRelaySettings(base_url="https://relay.test", tenant_id=TENANT_ID)
