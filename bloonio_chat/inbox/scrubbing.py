"""What an error says, without the secrets that it may quote: for the log and for the row."""

from __future__ import annotations

import re
import traceback
from typing import Final

from bloonio_chat.conf import get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

LONGEST_ERROR: Final = 2000
HIDDEN: Final = "[hidden]"
# So much of a text is looked at, and of that all is shown but so much at its end.
_LONGEST_READ: Final = 10 * LONGEST_ERROR
_LEFT_OUT: Final = LONGEST_ERROR

_SECRETS: Final = re.compile(
    r"""
    \beyJ[\w-]{8,}(?:\.[\w-]+)*                                 # a JWT
    | \b[0-9a-fA-F]{64}\b                                       # a signature, or a key
    | \bsk_[\w-]+                                               # a tenant's secret
    | (?<=://)[^/\s]+(?=@)                                      # a URL's user and password, or either alone
    | (?P<kept>                                                 # what is called a secret, in code, JSON, or a header
        [Bb]earer\s+
        | (?i:(?P<line>authorization|cookie)                    # of these, all of the line: schemes and names differ
            | password|passwd|pwd|passphrase|secret(?:[_-](?:access[_-])?key)?|token|api[_-]?key|private[_-]key)
          (?:\\?["']\s*,\s*(?=b?["'])|(?:\\?["'])?\s*[=:]\s*(?!(?:None|null|True|False)\b))
          [\[(]?[bBuUrRfF]?(?P<quote>\\?["'])?
      )
      # Looking behind has a run of backslashes read once, and not again from each of them.
      (?(quote)(?:(?<!\\)\\{3,}["']|(?!(?P=quote))(?:\\.|[^\\\r\n]))+  # up to the same quote, if that is no escaped one
        | (?(line)[^\r\n]+ | [^\s&;,'"]+))
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
    """Return the text without the tenants' secrets, and without what looks like a secret, a signature or a token.

    Of a long one, only the beginning.
    """
    for secret in _known_secrets():
        text = text.replace(secret, HIDDEN)
    # A secret that the cut goes through does not look like one any more.
    end = len(text) if len(text) <= _LONGEST_READ else _LONGEST_READ - _LEFT_OUT
    shown, done = [], 0
    for found in _SECRETS.finditer(text[:_LONGEST_READ]):
        if found.start() >= end:
            break
        shown += [text[done : found.start()], found["kept"] or "", HIDDEN]
        done = found.end()
    return _UNFIT.sub("\ufffd", "".join([*shown, text[done:end]]))


def _known_secrets() -> list[str]:
    try:
        tenants = get_config().callback_tenants.values()
    except ChatRelayConfigurationError:
        return []
    return [secret.decode(errors="replace") for tenant in tenants for secret in tenant.secrets]
