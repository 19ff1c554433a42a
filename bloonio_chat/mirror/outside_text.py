"""Text from strangers, as pages may show it: one line that reads in the order in which it is written, and links that
lead to the web and nowhere else. Templates escape it all the same.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from django.utils.encoding import iri_to_uri

LONGEST_LINE: Final = 120
LONGEST_URL: Final = 2_048

# Control characters, what reorders the text around it, and what can't be seen. Joiners (U+200C, U+200D) are parts of
# words and emoji.
_TRICKS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class WebLink(NamedTuple):
    """A link that may be shown: the URL, and the host that it leads to, in ASCII, so that no letter feigns another."""

    url: str
    host: str


def one_line(text: Any, longest: int = LONGEST_LINE) -> str:
    """Return a text as one line of at most so many characters, its tricks shown as the replacement character."""
    line = _TRICKS.sub("\ufffd", " ".join(str(text).split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def web_link(url: Any) -> WebLink | None:
    """Return the link for a URL that leads to the web (http, https); ``None`` for any other, and for what is none."""
    # A browser drops or turns what is refused here, and so may go elsewhere than the parser below says.
    if not isinstance(url, str) or len(url) > LONGEST_URL or not url.isprintable() or set(url) & set(" \\"):
        return None
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        is_sound = parts.port is None or parts.port > 0
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not is_sound:
        return None
    return WebLink(iri_to_uri(url), host)
