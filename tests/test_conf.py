"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import override_settings

from bloonio_chat.conf import KNOWN_SETTINGS, Config, get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from tests.callbacks.tenants import SHOP_B
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, SECRET, TENANT_ID

FLAT = ("BASE_URL", "TENANT_ID", "TENANT_SECRET")


@pytest.fixture
def nothing_flat(settings: Any) -> None:
    for name in FLAT:
        setattr(settings, f"BLOONIO_CHAT_{name}", None)


def environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"BLOONIO_CHAT_{name}", value)


def problem() -> str:
    with pytest.raises(ChatRelayConfigurationError) as refused:
        get_config()
    assert MARK not in str(refused.value)
    return str(refused.value)


def secrets_of(alias: str | None = None) -> tuple[bytes, ...]:
    return get_config().tenant(alias).secrets()


# ---- settings, then environment, then default ------------------------------------------------------------------


def test_the_defaults() -> None:
    config = get_config()
    tenant = config.tenant(None)
    assert (tenant.request_timeout_seconds, tenant.max_attempts, tenant.timestamp_tolerance_seconds) == (10, 3, 30)
    assert tenant.tenant_secret_fallbacks == ()
    assert config.app.callback_max_body_bytes == config.callback_body_limit == 262_144
    assert (config.app.idempotency_cache, config.app.idempotency_ttl_seconds) == ("default", 86_400)
    assert (config.app.callback_base_url, config.app.tenants) == (None, None)


def test_a_setting_wins_over_the_environment_and_that_over_the_default(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_config().tenant(None).max_attempts == 3
    environment(monkeypatch, MAX_ATTEMPTS="5", IDEMPOTENCY_TTL_SECONDS="600")
    settings.BLOONIO_CHAT_MAX_ATTEMPTS = None
    assert get_config().tenant(None).max_attempts == 5
    assert get_config().app.idempotency_ttl_seconds == 600
    settings.BLOONIO_CHAT_MAX_ATTEMPTS = 7
    assert get_config().tenant(None).max_attempts == 7


@pytest.mark.usefixtures("nothing_flat")
def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem().count("is missing") == 3
    environment(monkeypatch, BASE_URL="https://r.example/", TENANT_ID=TENANT_ID.upper(), TENANT_SECRET=SECRET)
    tenant = get_config().tenant(None)
    assert (tenant.base_url, tenant.tenant_id, tenant.secrets()) == ("https://r.example", TENANT_ID, (SECRET.encode(),))


@pytest.mark.parametrize("name", FLAT)
def test_none_means_not_set(settings: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    setattr(settings, f"BLOONIO_CHAT_{name}", None)
    assert problem() == f"BLOONIO_CHAT_{name} is missing."


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"{OTHER_SECRET}, {FALLBACK_SECRET}", [OTHER_SECRET, FALLBACK_SECRET]),
        (json.dumps([OTHER_SECRET, FALLBACK_SECRET]), [OTHER_SECRET, FALLBACK_SECRET]),
        (OTHER_SECRET, [OTHER_SECRET]),
        ("", []),
    ],
    ids=["commas", "JSON", "one", "none"],
)
def test_a_list_in_the_environment_is_comma_separated_or_json(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: list[str]
) -> None:
    environment(monkeypatch, TENANT_SECRET_FALLBACKS=value)
    assert secrets_of() == tuple(secret.encode() for secret in [SECRET, *expected])


def test_a_list_in_the_settings(settings: Any) -> None:
    for value in ([OTHER_SECRET], (OTHER_SECRET,), OTHER_SECRET):
        settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = value
        assert secrets_of() == (SECRET.encode(), OTHER_SECRET.encode())


def test_override_settings_takes_effect_at_once_and_ends_at_once() -> None:
    before = get_config()
    assert get_config() is before, "it is built once"
    with override_settings(BLOONIO_CHAT_MAX_ATTEMPTS=9):
        assert get_config().tenant(None).max_attempts == 9
    assert get_config().tenant(None).max_attempts == 3


# ---- wrong values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANT_SECRET", ""), ("TENANT_SECRET", "  "), ("TENANT_SECRET", f" {SECRET}"), ("TENANT_SECRET", 17),
        ("TENANT_SECRET", f"{MARK}\ud800"), ("TENANT_SECRET_FALLBACKS", [""]),
        ("TENANT_SECRET_FALLBACKS", [SECRET, None]),
        ("TENANT_SECRET_FALLBACKS", f'["{SECRET}"'), ("TENANT_SECRET_FALLBACKS", {MARK: 1}),
        ("TENANT_ID", MARK), ("TENANT_ID", ""), ("TENANT_ID", TENANT_ID.replace("-", "")),
        ("BASE_URL", f"ftp://{MARK}"), ("BASE_URL", f"https://user:{MARK}@r.example"), ("BASE_URL", f"http://[{MARK}"),
        ("BASE_URL", f"https://r.example/?key={MARK}"), ("BASE_URL", f"https://r.example:{MARK}"), ("BASE_URL", ""),
        ("REQUEST_TIMEOUT_SECONDS", MARK), ("REQUEST_TIMEOUT_SECONDS", 0), ("REQUEST_TIMEOUT_SECONDS", float("nan")),
        ("MAX_ATTEMPTS", 0), ("MAX_ATTEMPTS", MARK), ("TIMESTAMP_TOLERANCE_SECONDS", float("inf")),
        ("CALLBACK_MAX_BODY_BYTES", 0), ("CALLBACK_MAX_BODY_BYTES", MARK), ("IDEMPOTENCY_TTL_SECONDS", 1),
        ("IDEMPOTENCY_CACHE", [MARK]), ("CALLBACK_BASE_URL", [MARK]), ("TENANTS", [MARK]), ("TENANTS", {MARK}),
        ("OPEN_IN_RELAY_URL", f"javascript:{MARK}"), ("OPEN_IN_RELAY_URL", f"relay.example/{MARK}"),
        ("OPEN_IN_RELAY_URL", f"https://relay.example/{{{MARK}}}"),
        ("TENANTS", {"shop-b": MARK}), ("TENANTS", f'{{"shop-b": "{MARK}"'),
    ],
    ids=lambda value: repr(value).replace(MARK, "…").encode("ascii", "backslashreplace").decode()[:40],
)  # fmt: skip
def test_a_wrong_value_is_named_and_never_shown(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"BLOONIO_CHAT_{name}", value)
    said = problem()
    assert said.startswith(f"BLOONIO_CHAT_{name} ")
    assert said.endswith(".")


def test_all_that_is_wrong_is_said_at_once(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    settings.BLOONIO_CHAT_MAX_ATTEMPTS = 0
    assert "BLOONIO_CHAT_TENANT_SECRET" in problem()
    assert "BLOONIO_CHAT_MAX_ATTEMPTS" in problem()


# ---- nothing secret in what can be shown -----------------------------------------------------------------------


def test_no_repr_shows_a_secret(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = [FALLBACK_SECRET]
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": SHOP_B}
    config: Config = get_config()
    for shown in (config, config.app, config.tenants, config.callback_tenants):
        assert MARK not in repr(shown) + str(shown)


def test_every_known_name_is_one_of_the_documented_table() -> None:
    assert {
        "BLOONIO_CHAT_" + name
        for name in (
            "BASE_URL", "TENANT_ID", "TENANT_SECRET", "TENANT_SECRET_FALLBACKS", "CALLBACK_BASE_URL", "TENANTS",
            "REQUEST_TIMEOUT_SECONDS", "MAX_ATTEMPTS", "TIMESTAMP_TOLERANCE_SECONDS", "CALLBACK_MAX_BODY_BYTES",
            "IDEMPOTENCY_CACHE", "IDEMPOTENCY_TTL_SECONDS",
        )
    } <= KNOWN_SETTINGS  # fmt: skip
