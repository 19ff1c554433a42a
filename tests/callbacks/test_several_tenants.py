"""Several tenants: where each one's settings come from, and what is said of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bloonio_chat.conf import get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from tests.callbacks.tenants import SHOP_B
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, OTHER_TENANT_ID, SECRET, TENANT_ID

CALLABLES = "tests.callbacks.tenants"
FLAT = ("BASE_URL", "TENANT_ID", "TENANT_SECRET")
THIRD_TENANT_ID = "01900000-0000-7000-8000-000000000003"


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


@pytest.mark.parametrize(
    "value",
    [{"shop-b": SHOP_B}, json.dumps({"shop-b": SHOP_B}), f"{CALLABLES}.tenants_from_a_callable"],
    ids=["dict", "JSON", "callable"],
)
@pytest.mark.parametrize("place", ["settings", "environment"])
def test_named_tenants_stand_beside_the_flat_one(
    settings: Any, monkeypatch: pytest.MonkeyPatch, value: Any, place: str
) -> None:
    if place == "settings":
        settings.BLOONIO_CHAT_TENANTS = value
    else:
        environment(monkeypatch, TENANTS=value if isinstance(value, str) else json.dumps(value))
    config = get_config()
    assert list(config.tenants) == ["default", "shop-b"]
    assert {alias: its.alias for alias, its in config.callback_tenants.items()} == {
        TENANT_ID: "default",
        OTHER_TENANT_ID: "shop-b",
    }
    assert config.callback_tenants[OTHER_TENANT_ID].secrets == (OTHER_SECRET.encode(),)


@pytest.mark.usefixtures("nothing_flat")
def test_without_a_flat_tenant_there_is_no_default(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {**SHOP_B, "BASE_URL": "https://b.example"}}
    assert list(get_config().tenants) == ["shop-b"]
    with pytest.raises(ChatRelayConfigurationError, match="no tenant 'default'; set are: 'shop-b'"):
        get_config().tenant(None)


@pytest.mark.parametrize("key", ["TENANT_ID", "TENANT_SECRET"])
@pytest.mark.parametrize("value", ["missing", None])
def test_a_named_tenants_own_keys_never_come_from_elsewhere(
    settings: Any, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    environment(monkeypatch, TENANT_ID=THIRD_TENANT_ID, TENANT_SECRET=FALLBACK_SECRET)
    own: dict[str, Any] = {**SHOP_B, key: value}
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {k: v for k, v in own.items() if v != "missing"}}
    assert problem() == f"BLOONIO_CHAT_TENANTS['shop-b'] lacks {key}; they are never taken from the flat settings."


@pytest.mark.parametrize("own", [{}, {"TENANT_SECRET_FALLBACKS": None}, {"TENANT_SECRET_FALLBACKS": []}])
def test_a_named_tenants_fallbacks_never_come_from_elsewhere(
    settings: Any, monkeypatch: pytest.MonkeyPatch, own: dict[str, Any]
) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = [FALLBACK_SECRET]
    environment(monkeypatch, TENANT_SECRET_FALLBACKS=FALLBACK_SECRET)
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {**SHOP_B, **own}}
    assert secrets_of("shop-b") == (OTHER_SECRET.encode(),)
    assert secrets_of() == (SECRET.encode(), FALLBACK_SECRET.encode())


def test_a_named_tenants_other_keys_fall_back_to_the_flat_ones_and_then_the_environment(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BLOONIO_CHAT_TIMESTAMP_TOLERANCE_SECONDS = 77
    environment(monkeypatch, MAX_ATTEMPTS="4")
    settings.BLOONIO_CHAT_TENANTS = {
        "shop-b": {**SHOP_B, "TENANT_SECRET_FALLBACKS": f"{FALLBACK_SECRET}", "REQUEST_TIMEOUT_SECONDS": 5},
    }
    shop, flat = get_config().tenant("shop-b"), get_config().tenant("default")
    assert (shop.base_url, shop.timestamp_tolerance_seconds, shop.max_attempts) == (flat.base_url, 77, 4)
    assert (shop.request_timeout_seconds, flat.request_timeout_seconds) == (5, 10)
    assert shop.secrets() == (OTHER_SECRET.encode(), FALLBACK_SECRET.encode())
    assert get_config().callback_tenants[OTHER_TENANT_ID].tolerance_seconds == 77


@pytest.mark.parametrize(
    ("tenants", "said"),
    [
        ({"default": SHOP_B}, "'default', which is the tenant of the flat settings"),
        ({"b": SHOP_B, "c": SHOP_B}, "'b' and 'c' have one and the same TENANT_ID"),
        ({"b": {**SHOP_B, "TENANT_ID": TENANT_ID.upper()}}, "'default' and 'b' have one and the same TENANT_ID"),
        ({"b": {**SHOP_B, "SECRET": MARK}}, r"\['b'\] has unknown keys: SECRET"),
        ({"b": {**SHOP_B, "tenant_id": MARK}}, r"\['b'\] has unknown keys: tenant_id"),
        ({"b": {**SHOP_B, "TENANT_SECRET": ""}}, r"\['b'\]: TENANT_SECRET is empty"),
        ({"b": {**SHOP_B, "BASE_URL": MARK}}, r"\['b'\]: BASE_URL is not an http"),
        (f"{CALLABLES}.tenants_that_raise", r"TENANTS names a callable that could not be called \(LookupError\)"),
        (f"{CALLABLES}.tenants_as_a_list", "TENANTS names a callable that did not return a dict of dicts"),
        (f"{CALLABLES}.tenants_of_texts", "TENANTS names a callable that did not return a dict of dicts"),
        (f"{CALLABLES}.tenants_without_names", "TENANTS names a callable that did not return a dict of dicts"),
        (f"{CALLABLES}.no_such_callable", r"could not be called \(ImportError\)"),
        (f"no.such.{MARK}", r"could not be called \(ModuleNotFoundError\)"),
        (MARK, r"could not be called \(ImportError\)"),
    ],
    ids=range(14),
)
def test_what_is_wrong_with_the_tenants_is_said(settings: Any, tenants: Any, said: str) -> None:
    settings.BLOONIO_CHAT_TENANTS = tenants
    with pytest.raises(ChatRelayConfigurationError, match=said):
        get_config()
    problem()


def test_an_unknown_alias_is_a_clear_error() -> None:
    with pytest.raises(ChatRelayConfigurationError, match="There is no tenant 'shop-c'; set are: 'default'"):
        get_config().tenant("shop-c")
