"""Every system check by its id: when it speaks, when it is silent, and that Django runs it."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from bloonio_chat import checks
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, OTHER_TENANT_ID, SECRET

REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379"}}
SANDBOX = "bloonio_chat.sandbox"


ROOMS = ("bloonio_chat.inbox", "bloonio_chat.mirror")


@pytest.fixture(autouse=True)
def a_project_without_faults(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHES = REDIS
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app not in ROOMS]
    settings.BLOONIO_CHAT_BASE_URL = "https://relay.example"
    monkeypatch.delenv("BLOONIO_CHAT_REQUIRE_SERVICES", raising=False)


def found(identity: str, *, deploy: bool = False) -> list[CheckMessage]:
    """The messages of one check; each has a hint, and none shows a secret."""
    every = run_checks(include_deployment_checks=deploy, databases=["default"])
    ours = [message for message in every if str(message.id).startswith("bloonio_chat.")]
    for message in ours:
        assert message.hint
        assert MARK not in f"{message.msg}{message.hint}"
    return [message for message in ours if message.id == f"bloonio_chat.{identity}"]


def said(identity: str, *, deploy: bool = False) -> str:
    (message,) = found(identity, deploy=deploy)
    return f"{message.msg} {message.hint}"


def all_ids() -> list[str]:
    return re.findall(r"^([EW]\d{3})  ", checks.__doc__ or "", flags=re.MULTILINE)


def test_a_project_without_faults_hears_nothing() -> None:
    assert all_ids() == ["E001", "E002", "E003", "E004", "E005", "W001", "W002", "W003", "W004"]
    for identity in all_ids():
        assert found(identity, deploy=True) == []
    call_command("check", databases=["default"], fail_level="WARNING", stderr=StringIO(), stdout=StringIO())


# ---- that Django runs them -------------------------------------------------------------------------------------

FAULTS: dict[str, dict[str, Any]] = {
    "E001": {"BLOONIO_CHAT_TENANT_SECRET": None},
    "E002": {"BLOONIO_CHAT_TENANT_SECRET": "changeme"},
    "E004": {"BLOONIO_CHAT_CALLBACK_BASE_URL": "https://shop.example/elsewhere"},
    "E005": {"BLOONIO_CHAT_IDEMPOTENCY_CACHE": "nowhere"},
    "W001": {"BLOONIO_CHAT_TENNANT_ID": "x"},
    "W002": {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}},
    "W003": {"BLOONIO_CHAT_BASE_URL": "http://relay.example"},
    "W004": {"BLOONIO_CHAT_TENANT_SECRET": f"sk_sandbox_{MARK}"},
}
DEPLOY = ("W003", "W004")


@pytest.mark.parametrize("identity", FAULTS)
def test_the_check_command_fails_on_errors_and_warns_of_the_rest(settings: Any, identity: str) -> None:
    for name, value in FAULTS[identity].items():
        setattr(settings, name, value)
    told = StringIO()
    if identity.startswith("E"):
        with pytest.raises(SystemCheckError, match=rf"\(bloonio_chat\.{identity}\)"):
            call_command("check", databases=["default"], stderr=told)
    else:
        call_command("check", databases=["default"], deploy=identity in DEPLOY, stderr=told, stdout=told)
        assert f"(bloonio_chat.{identity})" in told.getvalue()
    assert len(found(identity, deploy=True)) == 1
    assert (found(identity) == []) is (identity in DEPLOY)


# ---- one by one ------------------------------------------------------------------------------------------------


def test_e001_names_every_setting_that_is_wrong_and_silences_the_checks_that_need_them(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    settings.BLOONIO_CHAT_TENANT_ID = "x"
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "nonsense"
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = "nowhere"
    assert "BLOONIO_CHAT_TENANT_SECRET is empty" in said("E001")
    assert "BLOONIO_CHAT_TENANT_ID is not a UUID" in said("E001")
    assert [found(identity, deploy=True) for identity in all_ids() if identity != "E001"] == [[]] * 8


@pytest.mark.parametrize(
    "tenants",
    [
        {"b": {"TENANT_ID": OTHER_TENANT_ID}},
        {"b": {"SECRET": SECRET}},
        "no.such.callable",
        "tests.callbacks.tenants.tenants_that_raise",
    ],
)
def test_e001_is_said_of_tenants_too(settings: Any, tenants: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = tenants
    assert "BLOONIO_CHAT_TENANTS" in said("E001")


@pytest.mark.parametrize(
    "secret", ["changeme", "CHANGE-ME", "sk_", "sk_xxx", "sk_…", "<your-secret>", "sk_changeme", "todo", "***"]
)
def test_e002_knows_a_placeholder(settings: Any, secret: str) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = secret
    assert "'default' is a placeholder" in said("E002")


def test_e002_looks_at_every_tenants_secrets_and_fallbacks(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = [FALLBACK_SECRET, "placeholder"]
    settings.BLOONIO_CHAT_TENANTS = {"b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": "secret"}}
    assert [message.msg for message in found("E002")] == [
        "A secret of the tenant 'default' is a placeholder.",
        "A secret of the tenant 'b' is a placeholder.",
    ]


@pytest.mark.parametrize("entry", [SANDBOX, "tests.callbacks.sandbox_config.NamedSandboxConfig"])
def test_e003_names_the_extra_of_an_installed_app(settings: Any, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setattr("bloonio_chat.checks.importlib.util.find_spec", lambda name: None)
    assert found("E003") == [], "the app is not installed"
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, entry]
    assert said("E003") == (
        'bloonio_chat.sandbox needs werkzeug, which is not installed. pip install "django-bloonio-chat[sandbox]"'
    )
    monkeypatch.undo()
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS]
    assert found("E003") == []


@pytest.mark.parametrize("alias", ["default", "claims"])
def test_e005_wants_the_named_cache_in_caches(settings: Any, alias: str) -> None:
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = alias
    if alias == "default":
        assert found("E005") == []
    else:
        assert "names 'claims', which is not in CACHES" in said("E005")
        settings.CACHES = {**REDIS, "claims": REDIS["default"]}
        assert found("E005") == []


@pytest.mark.parametrize("place", ["settings", "environment"])
def test_w001_finds_a_mistyped_name_in_either_place(settings: Any, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    if place == "settings":
        settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACK = SECRET
    else:
        monkeypatch.setenv("BLOONIO_CHAT_TENANT_SECRET_FALLBACK", SECRET)
    assert "BLOONIO_CHAT_TENANT_SECRET_FALLBACK is not a setting" in said("W001")
    assert "BLOONIO_CHAT_TENANT_SECRET_FALLBACKS" in said("W001"), "the known ones are told"


@pytest.mark.parametrize(
    ("backend", "lonely"),
    [("dummy.DummyCache", True), ("locmem.LocMemCache", True), ("filebased.FileBasedCache", True),
     ("redis.RedisCache", False), ("db.DatabaseCache", False)],
)  # fmt: skip
def test_w002_warns_of_caches_that_do_not_protect_across_processes(settings: Any, backend: str, lonely: bool) -> None:
    settings.CACHES = {**REDIS, "claims": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "x"}}
    assert found("W002") == []
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = "claims"
    assert len(found("W002")) == lonely


@pytest.mark.django_db
def test_with_the_inbox_no_cache_matters(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert len(found("W002")) == 1
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "bloonio_chat.inbox"]
    assert found("W002") == []
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = "nowhere"
    assert found("E005") == []


def test_w003_wants_tls_both_ways_but_not_on_this_machine(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {
        "b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET, "BASE_URL": "http://relay.example"}
    }
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "http://shop.example"
    assert [message.msg for message in found("W003", deploy=True)] == [
        "The base URL of the tenant 'b' is without TLS.",
        "BLOONIO_CHAT_CALLBACK_BASE_URL is without TLS.",
    ]
    settings.BLOONIO_CHAT_TENANTS = None
    for base in ("https://shop.example", "http://localhost:8000", "http://[::1]", "http://127.0.0.1"):
        settings.BLOONIO_CHAT_CALLBACK_BASE_URL = base
        assert found("W003", deploy=True) == []


@pytest.mark.parametrize("entry", [SANDBOX, "tests.callbacks.sandbox_config.NamedSandboxConfig"])
def test_w004_warns_of_the_sandbox_among_the_apps(settings: Any, entry: str) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, entry]
    assert "bloonio_chat.sandbox is in INSTALLED_APPS" in said("W004", deploy=True)


def test_w004_lets_a_relay_behind_a_local_proxy_be(settings: Any) -> None:
    settings.BLOONIO_CHAT_BASE_URL = "http://127.0.0.1:8901"
    assert found("W004", deploy=True) == []


def test_w004_warns_of_a_tenant_that_talks_to_a_sandbox(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = f"sk_sandbox_{MARK}"
    assert "'default' talks to a sandbox" in said("W004", deploy=True)


@pytest.mark.parametrize(
    "secret",
    ["sk_…", "sk_your_secret", "<your secret>", "CHANGE ME", "replace-me", "${SECRET}", "sk_test", "sk_xxxx"],
)
def test_e002_knows_a_placeholder_however_it_is_written(settings: Any, secret: str) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = secret
    assert len(found("E002")) == 1


@pytest.mark.parametrize("base_url", ["https://...", "https://changeme", "https://<your-relay>"])
def test_e002_or_e001_knows_a_base_url_that_was_never_filled_in(settings: Any, base_url: str) -> None:
    settings.BLOONIO_CHAT_BASE_URL = base_url
    assert len(found("E002") + found("E001")) == 1


def test_w002_knows_a_cache_by_its_kind_and_not_by_its_name(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "tests.callbacks.caches.NotingCache"}}
    assert len(found("W002")) == 1


def test_e004_says_what_to_leave_out_of_the_base_url(settings: Any) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example/api/v1/chat-callbacks/"
    [error] = found("E004")
    assert error.hint == "Leave /api/v1/chat-callbacks/ out of it."


def test_e004_has_nothing_to_say_where_there_are_no_urls(settings: Any) -> None:
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "https://shop.example"
    del settings.ROOT_URLCONF
    assert found("E004") == []
