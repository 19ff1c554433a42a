"""The system checks. An id is never used again for something else.

====  ==================================================================================================
E001  a setting is missing or wrong
E002  a secret or a base URL is a placeholder
E003  an extra that ``INSTALLED_APPS`` needs is not installed
E004  ``CALLBACK_BASE_URL`` does not lead to the mounted routes
E005  ``IDEMPOTENCY_CACHE`` is not in ``CACHES``
W001  an unknown ``BLOONIO_CHAT_*`` name
W002  the idempotency cache does not protect across processes
W003  (deploy) the relay's URL, or the callbacks' own, is without TLS
W004  (deploy) the sandbox is left in
====  ==================================================================================================
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from django.apps import AppConfig, apps
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # Django's own name
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.module_loading import import_string
from django.utils.translation import get_language_from_path, override

from bloonio_chat import conf
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

CALLBACKS_PATH: Final = "/api/v1/chat-callbacks/"
SANDBOX_SECRET_PREFIX: Final = "sk_sandbox_"  # noqa: S105  # how its secrets begin, not one of them

# Compared without case, dashes, underscores and spaces.
_PLACEHOLDERS: Final = frozenset(
    [
        "changeme",
        "replaceme",
        "yoursecret",
        "yoursecrethere",
        "yourtenantsecret",
        "mysecret",
        "tenantsecret",
        "secret",
        "placeholder",
        "example",
        "test",
        "todo",
        "tbd",
        "xxx",
        "none",
        "null",
    ]
)

# Apps that need an extra: what they import, and the extra that brings it.
_EXTRAS: Final = {"bloonio_chat.sandbox": ("werkzeug", "sandbox")}

# They forget at the end of a process, or keep nothing at all.
_LONELY_CACHES: Final = (DummyCache, LocMemCache, FileBasedCache)

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_Check = Callable[..., list[CheckMessage]]


def _with_config(check: Callable[[conf.Config], Iterator[CheckMessage]]) -> _Check:
    """Return a check that is silent where there is no configuration: E001 has said so."""

    def run(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
        try:
            config = conf.get_config()
        except ChatRelayConfigurationError:
            return []
        return list(check(config))

    return run


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """E001: a setting is missing, empty or wrong; two tenants have one id."""
    try:
        conf.get_config()
    except ChatRelayConfigurationError as error:
        return [
            Error(
                error.message,
                hint="Set it in the Django settings or in the environment, under the same name.",
                id="bloonio_chat.E001",
            )
        ]
    return []


@register(Tags.security)
@_with_config
def check_placeholders(config: conf.Config) -> Iterator[CheckMessage]:
    """E002: a secret or a base URL that was never filled in."""
    for alias, tenant in config.tenants.items():
        for secret in (tenant.tenant_secret, *tenant.tenant_secret_fallbacks):
            if _is_placeholder(secret.get_secret_value()):
                yield Error(
                    f"A secret of the tenant {alias!r} is a placeholder.",
                    hint="Set BLOONIO_CHAT_TENANT_SECRET to the secret that the relay's console shows for this tenant.",
                    id="bloonio_chat.E002",
                )
        if _is_placeholder(urlsplit(tenant.base_url).hostname or ""):
            yield Error(
                f"The base URL of the tenant {alias!r} is a placeholder.",
                hint="Set BLOONIO_CHAT_BASE_URL to the relay's public URL, such as https://chat-relay.example.com.",
                id="bloonio_chat.E002",
            )


@register(Tags.compatibility)
def check_extras(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """E003: an installed app whose extra is missing."""
    return [
        Error(
            f"{app} needs {module}, which is not installed.",
            hint=f'pip install "django-bloonio-chat[{extra}]"',
            id="bloonio_chat.E003",
        )
        for app, (module, extra) in _EXTRAS.items()
        if apps.is_installed(app) and importlib.util.find_spec(module) is None
    ]


@register(Tags.urls)
@_with_config
def check_callback_url(config: conf.Config) -> Iterator[CheckMessage]:
    """E004: the relay would post to where nothing listens."""
    base = config.app.callback_base_url
    if base is None or not conf.has_urls():
        return
    parts = _split(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield Error(
            "BLOONIO_CHAT_CALLBACK_BASE_URL is not an http(s) URL.",
            hint="Set the public URL of this project, such as https://shop.example.com, without a path.",
            id="bloonio_chat.E004",
        )
        return
    if parts.path.rstrip("/").endswith(CALLBACKS_PATH.rstrip("/")):
        yield Error(
            "BLOONIO_CHAT_CALLBACK_BASE_URL ends with the path that the relay adds by itself.",
            hint=f"Leave {CALLBACKS_PATH} out of it.",
            id="bloonio_chat.E004",
        )
        return
    for event in WebhookEventType:
        path = f"{parts.path.rstrip('/')}{CALLBACKS_PATH}{event.path}"
        if not _is_callback(path):
            yield Error(
                f"The relay will post to {path}, where this project's URLconf does not have the callback.",
                hint=f"Add path({_mount_hint(parts.path)!r}, include('bloonio_chat.urls')) to the root URLconf"
                f"{_mounted_elsewhere()}.",
                id="bloonio_chat.E004",
            )
            return


@register(Tags.caches)
@_with_config
def check_cache(config: conf.Config) -> Iterator[CheckMessage]:
    """E005, W002: the cache that tells repeats apart is missing, or each process has its own."""
    if apps.is_installed("bloonio_chat.inbox"):
        # Repeats are told apart by their rows, then.
        return
    alias = config.app.idempotency_cache
    backend = conf.cache_backend(alias)
    if backend is None:
        yield Error(
            f"BLOONIO_CHAT_IDEMPOTENCY_CACHE names {alias!r}, which is not in CACHES.",
            hint="Add it to CACHES, or name one that is there.",
            id="bloonio_chat.E005",
        )
    elif _is_lonely(backend):
        yield Warning(
            f"The idempotency cache {alias!r} ({backend}) does not protect across processes: an event that the relay "
            "sends twice can reach your receivers twice.",
            hint="Use Redis, Memcached or the database cache and name it in BLOONIO_CHAT_IDEMPOTENCY_CACHE.",
            id="bloonio_chat.W002",
        )


@register(Tags.compatibility)
def check_unknown_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """W001: a name that means nothing, most likely mistyped."""
    return [
        Warning(
            f"{name} is not a setting of django-bloonio-chat.",
            hint=f"Known are: {', '.join(sorted(conf.KNOWN_SETTINGS))}.",
            id="bloonio_chat.W001",
        )
        for name in conf.unknown_settings()
    ]


@register(Tags.security, deploy=True)
@_with_config
def check_tls(config: conf.Config) -> Iterator[CheckMessage]:
    """W003: what is signed is still readable, and answers can be forged."""
    urls = {f"the base URL of the tenant {alias!r}": tenant.base_url for alias, tenant in config.tenants.items()}
    if config.app.callback_base_url:
        urls["BLOONIO_CHAT_CALLBACK_BASE_URL"] = config.app.callback_base_url
    for name, url in urls.items():
        parts = _split(url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            yield Warning(
                f"{name[0].upper()}{name[1:]} is without TLS.",
                hint="Use https://: HMAC#1 signs what is sent, but hides nothing of it.",
                id="bloonio_chat.W003",
            )


@register(Tags.security, deploy=True)
@_with_config
def check_sandbox(config: conf.Config) -> Iterator[CheckMessage]:
    """W004: a relay for development, in production."""
    if apps.is_installed("bloonio_chat.sandbox"):
        yield Warning(
            "bloonio_chat.sandbox is in INSTALLED_APPS.",
            hint="Take it out of the settings that you deploy.",
            id="bloonio_chat.W004",
        )
    for alias, tenant in config.tenants.items():
        if tenant.tenant_secret.get_secret_value().startswith(SANDBOX_SECRET_PREFIX):
            yield Warning(
                f"The tenant {alias!r} talks to a sandbox, not to the relay.",
                hint="Set BLOONIO_CHAT_BASE_URL, _TENANT_ID and _TENANT_SECRET to what the relay's console shows.",
                id="bloonio_chat.W004",
            )


def _is_placeholder(text: str) -> bool:
    """Return whether a secret, or a URL's host, was never filled in: ``sk_...``, ``<your secret>``, ``${SECRET}``."""
    if re.search(r"[<{].*[>}]", text):
        return True
    bare = re.sub(r"[-_ .…*]", "", text.strip().lower().removeprefix("sk_"))
    return not bare.strip("x") or bare in _PLACEHOLDERS


def _is_lonely(backend: str) -> bool:
    try:
        return issubclass(import_string(backend), _LONELY_CACHES)
    except (ImportError, TypeError):
        # Django says what is wrong with it.
        return False


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_callback(path: str) -> bool:
    # Whether the name is still on the path when Django sees it is the server's business.
    return any(_leads_to_callback(seen) for seen in {path, _below_script_name(path)})


def _leads_to_callback(path: str) -> bool:
    # i18n_patterns() matches the active language alone, which a request takes from its path.
    with override(get_language_from_path(path)):
        try:
            match = resolve(path)
        except Resolver404:
            return False
    return match.app_names[-1:] == ["bloonio_chat"]


def _below_script_name(path: str) -> str:
    name = conf.script_name()
    return path.removeprefix(name) if path.startswith(f"{name}/") else path


def _mount_hint(prefix: str) -> str:
    return _below_script_name(f"{prefix.rstrip('/')}{CALLBACKS_PATH}").lstrip("/")


def _mounted_elsewhere() -> str:
    try:
        found = reverse("bloonio_chat:conversation-started")
    except NoReverseMatch:
        return ""
    return f" (it is mounted at {found.removesuffix('conversation-started')})"
