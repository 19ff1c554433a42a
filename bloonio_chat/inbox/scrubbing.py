"""What an error says, without the secrets that it may quote: for the log and for the row."""

from __future__ import annotations

import re
import traceback
from typing import Final

from bloonio_chat.conf import get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

LONGEST_ERROR: Final = 2000
HIDDEN: Final = "[hidden]"

_SECRETS: Final = re.compile(
    r"""
    \beyJ[\w-]{8,}(?:\.[\w-]+)*                                 # a JWT
    | \b[0-9a-fA-F]{64}\b                                       # a signature, or a key
    | \bsk_[\w-]+                                               # a tenant's secret
    | (?<=://)[^/\s]+(?=@)                                      # a URL's user and password, or either alone
    | (?P<kept>                                                 # what is called a secret, in code, JSON, or a header
        [Bb]earer\s+
        | (?i:password|passwd|secret(?:_key)?|token|api[_-]?key|authorization)["']?\s*[=:]\s*["']?
          (?:(?i:basic|bearer)\s+)?
      )
      [^\s&;,'"]+
    """,
    re.VERBOSE,
)
# No text column takes them.
_UNFIT: Final = re.compile(r"[\x00\ud800-\udfff]")


def describe(error: BaseException) -> str:
    """Return an error's type, message and place, scrubbed and at most 2000 characters long."""
    kind = type(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (in {frames[-1].name}, {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # the project's own error may fail at that too
        message = "(its message could not be had)"
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return scrub(f"{name}: {message}")[: LONGEST_ERROR - len(where)] + where


def scrub(text: str) -> str:
    """Return the text without the tenants' secrets, and without what looks like a secret, a signature or a token."""
    for secret in _known_secrets():
        text = text.replace(secret, HIDDEN)
    return _UNFIT.sub("\ufffd", _SECRETS.sub(lambda found: (found["kept"] or "") + HIDDEN, text))


def _known_secrets() -> list[str]:
    try:
        tenants = get_config().callback_tenants.values()
    except ChatRelayConfigurationError:
        return []
    return [secret.decode(errors="replace") for tenant in tenants for secret in tenant.secrets]
