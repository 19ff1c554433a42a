"""Text from strangers, as pages may show it: one line that reads in the order in which it is written, and links that
lead to the web and nowhere else. Templates escape it all the same.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from django.utils.encoding import iri_to_uri

LONGEST_LINE: Final = 120
LONGEST_URL: Final = 2_048

# Control characters, what reorders the text around it, and what can't be seen. Joiners (U+200C, U+200D) are parts of
# words and emoji.
_TRICKS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

# A browser takes a host of these as it is written.
_NAME: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
# What ends so is an IPv4 address to a browser, in one of many notations.
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


class WebLink(NamedTuple):
    """A link that may be shown: the URL, and the host that it leads to, in ASCII, so that no letter feigns another."""

    url: str
    host: str


def one_line(text: Any, longest: int = LONGEST_LINE) -> str:
    """Return a text as one line of at most so many characters, its tricks shown as the replacement character."""
    line = _TRICKS.sub("\ufffd", " ".join(str(text).split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def web_link(url: Any) -> WebLink | None:
    """Return the link for a URL that leads to the web (http, https); ``None`` for any other, and for what is none.

    ``None`` also where a browser might go to another host than the one that is written: names are plain ASCII (the
    others have their ``xn--`` form), addresses are written the common way.
    """
    # A browser drops or turns what is refused here, and so may go elsewhere than the parser below says.
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isprintable() or set(url) & set(" \\"):
        return None
    try:
        parts = urlsplit(url)
        host = _plain_host(parts)
        is_sound = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not is_sound:
        return None
    return WebLink(iri_to_uri(url), host)


def _plain_host(parts: SplitResult) -> str:
    """Return the host, empty for one that is not plain; raises ``ValueError`` for an address that is none."""
    host = parts.hostname or ""
    # Before it was put into small letters: some of those are ASCII where the capital is not.
    if not parts.netloc.rpartition("@")[2].isascii():
        return ""
    if "[" in parts.netloc:
        IPv6Address(host)
        return "" if "%" in host else host
    if _NUMBER.fullmatch(host):
        IPv4Address(host)
    return host if _NAME.fullmatch(host) else ""
