"""The only reader of Django's settings: ``BLOONIO_CHAT_*`` from there, then from the environment, then the default.

Built when first asked for, and dropped when a setting changes (``override_settings``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.receive import Tenant
from bloonio_chat.sdk.settings import ENVIRONMENT_PREFIX, ChatRelaySettings, EnvironmentSettings

DEFAULT_TENANT: Final = "default"

# A tenant's own: never taken from the flat settings, which are another tenant's.
_OWN_KEYS: Final = ("TENANT_ID", "TENANT_SECRET", "TENANT_SECRET_FALLBACKS")
_SECRET_KEYS: Final = ("TENANT_SECRET", "TENANT_SECRET_FALLBACKS")
_TENANT_KEYS: Final = tuple(name.upper() for name in ChatRelaySettings.model_fields)
# What OPEN_IN_RELAY_URL may name.
LINK_PLACEHOLDERS: Final = ("conversation_id", "ticket_id", "tenant_id")


class AppSettings(EnvironmentSettings):
    """The settings that belong to no tenant; see the table in the README."""

    # Holds secrets, so it shows in no repr.
    tenants: Annotated[dict[str, dict[str, Any]] | str | None, NoDecode] = Field(default=None, repr=False)
    callback_base_url: str | None = None
    callback_max_body_bytes: int = Field(default=262_144, ge=1)
    idempotency_cache: str = "default"
    idempotency_ttl_seconds: int = Field(default=86_400, ge=60)
    inbox_runner: str = "inline"
    inbox_max_attempts: int = Field(default=10, ge=1)
    inbox_lease_seconds: int = Field(default=60, ge=5)
    inbox_retention_days: int | None = Field(default=None, ge=1)
    mirror_messages: bool = True
    mirror_retention_days: int | None = Field(default=None, ge=1)
    open_in_relay_url: str | None = None

    @field_validator("tenants", mode="before")
    @classmethod
    def _read_tenants(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                return json.loads(value)
            except ValueError:
                raise ValueError("is neither a JSON object nor a dotted path") from None
        return value

    @field_validator("open_in_relay_url")
    @classmethod
    def _require_web_link(cls, value: str | None) -> str | None:
        if value and not value.lower().startswith(("https://", "http://")):
            raise ValueError("begins with neither https:// nor http://")
        unknown = set(re.findall(r"{([^{}]*)}", value or "")) - set(LINK_PLACEHOLDERS)
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in LINK_PLACEHOLDERS)
            raise ValueError(f"names a placeholder that is none of {known}")
        return value


KNOWN_SETTINGS: Final = frozenset(
    ENVIRONMENT_PREFIX + name.upper() for name in (*ChatRelaySettings.model_fields, *AppSettings.model_fields)
)


@dataclass(frozen=True)
class Config:
    """Everything that the project has set, checked and typed.

    ``tenants`` by alias; ``callback_tenants`` by id, for the receiving side.
    """

    app: AppSettings
    tenants: Mapping[str, ChatRelaySettings]
    callback_tenants: Mapping[str, Tenant]
    callback_body_limit: int

    def tenant(self, alias: str | None) -> ChatRelaySettings:
        """Return a tenant's settings; raises ``ChatRelayConfigurationError`` for an alias that is not set."""
        found = self.tenants.get(alias or DEFAULT_TENANT)
        if found is None:
            raise ChatRelayConfigurationError(
                f"There is no tenant {alias or DEFAULT_TENANT!r}; set are: {', '.join(map(repr, self.tenants))}."
            )
        return found


_config: Config | None = None


def get_config() -> Config:
    """Return the project's configuration.

    Raises ``ChatRelayConfigurationError``, which names settings, never values.
    """
    global _config  # the one place where it is kept
    if _config is None:
        try:
            _config = _build()
        except ChatRelayConfigurationError as error:
            problem = error.message
        else:
            return _config
        # Raised out here: an error page shows local values, and those of the frames below are secrets.
        raise ChatRelayConfigurationError(problem)
    return _config


def get_secret_keys() -> list[str | bytes]:
    """Return the project's ``SECRET_KEY``, then those that it had before."""
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


@receiver(setting_changed, dispatch_uid="bloonio_chat.conf")
def reset(**_: Any) -> None:
    """Forget the configuration, so that the next call builds it anew."""
    global _config  # as above
    _config = None


def uses_time_zones() -> bool:
    """Return ``USE_TZ``. Much quicker than a look at what Django's ``now()`` gives."""
    return bool(settings.USE_TZ)


def is_debug() -> bool:
    """Return whether the project runs with ``DEBUG``."""
    return bool(settings.DEBUG)


def script_name() -> str:
    """Return the path below which the project is served, as ``FORCE_SCRIPT_NAME`` says; empty where it says nothing."""
    return (settings.FORCE_SCRIPT_NAME or "").rstrip("/")


def flat_texts() -> dict[str, str]:
    """Return the flat settings that are texts, by their full names, from Django's settings and else the environment."""
    names = {name: getattr(settings, name, None) or os.environ.get(name) for name in KNOWN_SETTINGS}
    return {name: value for name, value in names.items() if isinstance(value, str)}


def has_urls() -> bool:
    """Return whether the project has a root URLconf; one of workers alone has none."""
    return hasattr(settings, "ROOT_URLCONF")


def cache_backend(alias: str) -> str | None:
    """Return the dotted path of a cache's backend; ``None`` for an alias that ``CACHES`` lacks."""
    found = settings.CACHES.get(alias)
    return None if found is None else str(found.get("BACKEND", ""))


def unknown_settings() -> list[str]:
    """Return the ``BLOONIO_CHAT_*`` names, in the settings or the environment, that mean nothing."""
    names = {*dir(settings), *os.environ}
    return sorted(name for name in names if name.startswith(ENVIRONMENT_PREFIX) and name not in KNOWN_SETTINGS)


# ---- building --------------------------------------------------------------------------------------------------


def _build() -> Config:
    app = AppSettings(**_from_django(AppSettings))
    tenants = _build_tenants(app)
    limits: tuple[int | None, ...] = (app.callback_max_body_bytes, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return Config(
        app=app,
        tenants=tenants,
        callback_tenants=_by_id(tenants),
        # None means no limit of Django's own, 0 the smallest.
        callback_body_limit=min(limit for limit in limits if limit is not None),
    )


def _from_django(kind: type[EnvironmentSettings]) -> dict[str, Any]:
    found = {name: getattr(settings, ENVIRONMENT_PREFIX + name.upper(), None) for name in kind.model_fields}
    return {name: _hidden(name.upper(), value) for name, value in found.items() if value is not None}


def _hidden(key: str, value: Any) -> Any:
    """Return a secret's value in a form that shows nothing: an error page prints local variables."""
    if key in _SECRET_KEYS:
        if isinstance(value, str) and key == "TENANT_SECRET":
            return SecretStr(value)
        if isinstance(value, (list, tuple)):
            return [SecretStr(item) if isinstance(item, str) else item for item in value]
    return value


def _build_tenants(app: AppSettings) -> dict[str, ChatRelaySettings]:
    named = _call(app.tenants) if isinstance(app.tenants, str) else dict(app.tenants or {})
    flat = _from_django(ChatRelaySettings)
    tenants: dict[str, ChatRelaySettings] = {}
    if not named or _has_flat_tenant(flat):
        tenants[DEFAULT_TENANT] = ChatRelaySettings(**flat)
    for alias, own in named.items():
        if alias in tenants:
            raise ChatRelayConfigurationError(
                f"BLOONIO_CHAT_TENANTS has {alias!r}, which is the tenant of the flat settings: rename it."
            )
        tenants[alias] = _named_tenant(alias, own, flat)
    return tenants


def _call(dotted_path: str) -> dict[str, dict[str, Any]]:
    """Return what the project's own callable says the tenants are."""
    problem = "did not return a dict of dicts"
    try:
        named = import_string(dotted_path)()
        if isinstance(named, dict) and all(
            isinstance(alias, str) and isinstance(own, dict) for alias, own in named.items()
        ):
            return named
    except Exception as error:  # noqa: BLE001  # the project's code may raise anything, and a callback must not be a 500
        problem = f"could not be called ({type(error).__name__})"
    # Raised out here: what was caught may quote a secret.
    raise ChatRelayConfigurationError(f"BLOONIO_CHAT_TENANTS names a callable that {problem}.")


def _has_flat_tenant(flat: Mapping[str, Any]) -> bool:
    return any(
        name.lower() in flat or ENVIRONMENT_PREFIX + name in os.environ for name in ("TENANT_ID", "TENANT_SECRET")
    )


def _named_tenant(alias: str, own: Mapping[str, Any], flat: Mapping[str, Any]) -> ChatRelaySettings:
    where = f"BLOONIO_CHAT_TENANTS[{alias!r}]"
    unknown = [str(key) for key in own if key not in _TENANT_KEYS]
    if unknown:
        raise ChatRelayConfigurationError(f"{where} has unknown keys: {', '.join(unknown)}.")
    missing = [key for key in ("TENANT_ID", "TENANT_SECRET") if own.get(key) is None]
    if missing:
        raise ChatRelayConfigurationError(
            f"{where} lacks {' and '.join(missing)}; they are never taken from the flat settings."
        )
    values = {name: value for name, value in flat.items() if name.upper() not in _OWN_KEYS}
    values.update((key.lower(), _hidden(key, value)) for key, value in own.items() if value is not None)
    # Said, even when empty, so that the environment is not asked for it.
    values.setdefault("tenant_secret_fallbacks", [])
    try:
        return ChatRelaySettings(**values)
    except ChatRelayConfigurationError as error:
        problem = error.message.replace(ENVIRONMENT_PREFIX, "")
    raise ChatRelayConfigurationError(f"{where}: {problem}")


def _by_id(tenants: Mapping[str, ChatRelaySettings]) -> dict[str, Tenant]:
    found: dict[str, Tenant] = {}
    for alias, its in tenants.items():
        if its.tenant_id in found:
            raise ChatRelayConfigurationError(
                f"The tenants {found[its.tenant_id].alias!r} and {alias!r} have one and the same TENANT_ID: "
                "a callback could not tell them apart."
            )
        found[its.tenant_id] = Tenant(alias, its.tenant_id, its.secrets(), its.timestamp_tolerance_seconds)
    return found
