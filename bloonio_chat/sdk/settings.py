"""What a client has to know: from keywords first, then from the environment, then the default."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.operations import API_PATH

ENVIRONMENT_PREFIX: Final = "BLOONIO_CHAT_"

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def canonical_tenant_id(value: str) -> str | None:
    """Return a tenant's id in the form in which two can be compared as UUIDs, or ``None`` for what is no UUID."""
    return value.lower() if _UUID.fullmatch(value) else None


def split_list(value: Any) -> Any:
    """Return the list that a setting's text holds: JSON when it starts with ``[``, else comma-separated."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is neither a JSON list nor comma-separated") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def ca_bundle() -> str | None:
    """Return the file or directory of certificates that the environment names, as ``requests`` reads it.

    Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` if there is none of that name.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = os.environ.get(name)
        if bundle:
            if not os.path.exists(bundle):
                raise ChatRelayConfigurationError(f"{name} names no file or directory: set it to a CA bundle.")
            return bundle
    return None


def describe_problems(error: ValidationError) -> list[str]:
    """Return one line for each setting that is wrong. Names settings, never values: those may be secrets."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = ENVIRONMENT_PREFIX + str(problem["loc"][0]).upper() if problem["loc"] else "the settings"
        missing = problem["type"] == "missing"
        unknown = problem["type"] == "extra_forbidden"
        reason = problem["msg"].removeprefix("Value error, ")
        lines.append(
            f"{name} {'is missing' if missing else 'is not a setting' if unknown else reason[:1].lower() + reason[1:]}"
        )
    return list(dict.fromkeys(lines))


class EnvironmentSettings(BaseSettings):
    """Settings whose names are ``BLOONIO_CHAT_*`` in the environment; ``None`` means not set."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        # A variable that is set to nothing, as compose files do, is not set.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    def __init__(self, **values: Any) -> None:
        problems = None
        try:
            super().__init__(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            problems = describe_problems(error)
        if problems:
            # Raised out here, and with nothing left in this frame: an error page shows causes and local values.
            values.clear()
            raise ChatRelayConfigurationError("; ".join(problems) + ".")


class ChatRelaySettings(EnvironmentSettings):
    """One tenant's access to the relay.

    Each argument may be left out; it is then read from the environment under its name in capitals after
    ``BLOONIO_CHAT_`` (``BLOONIO_CHAT_BASE_URL``). Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError`.

    - ``base_url``: the relay's public URL, without ``/api/v1/relay``.
    - ``tenant_id``: the tenant's UUID.
    - ``tenant_secret``: its secret, ``sk_…``.
    - ``tenant_secret_fallbacks``: other secrets that hold during a rotation: they verify callbacks too, and are tried
      when the relay refuses the first. A list, or comma-separated text.
    - ``request_timeout_seconds``: how long one attempt may take (default 10).
    - ``max_attempts``: how often one call is tried at the most (default 3).
    - ``timestamp_tolerance_seconds``: how far two clocks may differ, in either direction (default 30).
    """

    base_url: str
    tenant_id: str
    tenant_secret: SecretStr
    tenant_secret_fallbacks: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    request_timeout_seconds: float = Field(default=10.0, gt=0, le=3600, allow_inf_nan=False)
    max_attempts: int = Field(default=3, ge=1, le=20)
    timestamp_tolerance_seconds: float = Field(default=30.0, gt=0, le=3600, allow_inf_nan=False)

    # Written out for editors and type checkers: pydantic would ask for what may come from the environment.
    def __init__(
        self,
        *,
        base_url: str | None = None,
        tenant_id: str | None = None,
        tenant_secret: str | SecretStr | None = None,
        tenant_secret_fallbacks: str | Sequence[str | SecretStr] | None = None,
        request_timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        timestamp_tolerance_seconds: float | None = None,
    ) -> None:
        values = {name: value for name, value in locals().items() if name in type(self).model_fields}
        problem = None
        try:
            super().__init__(**values)
        except ChatRelayConfigurationError as error:
            problem = error.message
        # As above: what is left in a frame is shown, and a secret may have been given under a wrong name.
        del values, base_url, tenant_id, tenant_secret, tenant_secret_fallbacks
        del request_timeout_seconds, max_attempts, timestamp_tolerance_seconds
        if problem is not None:
            raise ChatRelayConfigurationError(problem)

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f]", value):
            raise ValueError("is not an http(s) URL such as https://chat-relay.example.com")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must have no user, query or fragment in it")
        url = value.rstrip("/")
        if url.endswith(API_PATH):
            raise ValueError(f"is to be set without {API_PATH}, which is added to it")
        return url

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant_id(cls, value: str) -> str:
        canonical = canonical_tenant_id(value)
        if canonical is None:
            raise ValueError("is not a UUID such as 01900000-0000-7000-8000-000000000001")
        return canonical

    @field_validator("tenant_secret_fallbacks", mode="before")
    @classmethod
    def _split_fallbacks(cls, value: Any) -> Any:
        return split_list(value)

    @field_validator("tenant_secret", "tenant_secret_fallbacks")
    @classmethod
    def _check_secrets(cls, value: SecretStr | tuple[SecretStr, ...]) -> SecretStr | tuple[SecretStr, ...]:
        for secret in (value,) if isinstance(value, SecretStr) else value:
            text = secret.get_secret_value()
            if not text.strip():
                raise ValueError("is empty: an empty secret would accept what anyone signs")
            if text != text.strip():
                raise ValueError("starts or ends with white space")
            if text.encode(errors="replace") != text.encode(errors="ignore"):
                raise ValueError("is not text in UTF-8")
        return value

    def secrets(self) -> tuple[bytes, ...]:
        """Return the secret and then its fallbacks, as the bytes that sign (protocol §2: UTF-8)."""
        return tuple(s.get_secret_value().encode() for s in (self.tenant_secret, *self.tenant_secret_fallbacks))
