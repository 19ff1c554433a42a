"""The relay's own side of HMAC#1 (protocol §2), written apart from the SDK's so that it can't repeat its mistakes."""

from __future__ import annotations

import hashlib
import hmac

WINDOW_MS = 30_000


def make(secret: str, timestamp_ms: int | str, body: bytes) -> str:
    """Return the signature of a body, in lower-case hexadecimal digits.

    ``timestamp_ms`` is Unix time in milliseconds. Protocol §2.
    """
    signed_text = str(timestamp_ms) + "." + hashlib.sha256(body).hexdigest()
    return hmac.new(secret.encode("utf-8"), signed_text.encode("ascii"), hashlib.sha256).hexdigest()


def holds(secret: str, timestamp: str, signature: str, body: bytes, *, now_ms: int) -> bool:
    """Return whether a call is signed with the secret, within 30 s of the relay's clock (``now_ms``). Protocol §2.

    ``timestamp`` and ``signature`` are the headers' texts as they came.
    """
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 15:
        return False
    if abs(now_ms - int(timestamp)) > WINDOW_MS:
        return False
    return hmac.compare_digest(make(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))
