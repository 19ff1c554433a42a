"""HMAC#1, the signature between tenant and relay, the same in both directions (protocol §2).

Bytes, a clock's reading and the secrets go in; a signature, or the place of the secret that made it, comes out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from bloonio_chat.sdk.errors import SignatureError

TENANT_ID_HEADER: Final = "X-Bloonio-Tenant-Id"
TIMESTAMP_HEADER: Final = "X-Bloonio-Timestamp"
SIGNATURE_HEADER: Final = "X-Bloonio-Signature"

# The relay's own window, which is not ours to set (protocol §2).
RELAY_WINDOW_SECONDS: Final = 30

# A millisecond timestamp has 13 digits until the year 2286. The limit keeps int() away from hostile lengths.
_LONGEST_TIMESTAMP: Final = 16


def sign(secret: bytes, timestamp_ms: int | str, body: bytes) -> str:
    """Return the HMAC#1 signature of a body: 64 lower-case hexadecimal digits.

    ``secret`` is the tenant's secret in UTF-8, ``timestamp_ms`` the Unix time in milliseconds, ``body`` the very bytes
    that are sent (``b""`` for a request without one). Raises ``ValueError`` for an empty secret. Protocol §2.
    """
    if not secret:
        raise ValueError("The secret is empty: an empty key signs for everyone. Set the tenant's secret.")
    message = f"{timestamp_ms}.{hashlib.sha256(body).hexdigest()}"
    return hmac.digest(secret, message.encode("ascii"), "sha256").hex()


def sign_headers(tenant_id: str, secret: bytes, timestamp_ms: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a signed request (protocol §2). Arguments as for :func:`sign`."""
    return {
        TENANT_ID_HEADER: tenant_id,
        TIMESTAMP_HEADER: str(timestamp_ms),
        SIGNATURE_HEADER: sign(secret, timestamp_ms, body),
    }


def check_timestamp(timestamp: str, *, now_ms: int, tolerance_seconds: float) -> int:
    """Return the timestamp in milliseconds if it is plain ASCII digits and within the window, on either side.

    Raises :class:`SignatureError` (``timestamp_malformed`` or ``timestamp_outside_window``). Protocol §2.
    """
    # isdecimal() alone would let other scripts' digits through, int() alone signs, spaces and underscores.
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise SignatureError("timestamp_malformed", "The timestamp is not a number of milliseconds in plain digits.")
    timestamp_ms = int(timestamp)
    skew_ms = timestamp_ms - now_ms
    if abs(skew_ms) > tolerance_seconds * 1000:
        raise SignatureError(
            "timestamp_outside_window",
            f"The timestamp is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} this machine's "
            f"clock; {tolerance_seconds:g} s are allowed. Check both clocks.",
        )
    return timestamp_ms


def verify(secrets: Sequence[bytes], timestamp: str, signature: str, body: bytes) -> int:
    """Return the place in ``secrets`` of the one that signed ``timestamp`` and ``body``.

    ``timestamp`` is the header's text as it came, ``signature`` likewise. Raises :class:`SignatureError`
    (``signature_mismatch``) when no secret made it; a signature in upper case is wrong. Protocol §2 and §4.3.
    """
    # compare_digest() raises TypeError for text outside ASCII, so it is given bytes.
    given = signature.encode("utf-8", "surrogatepass")
    message = f"{timestamp}.{hashlib.sha256(body).hexdigest()}".encode("utf-8", "surrogatepass")
    for place, secret in enumerate(secrets):
        if secret and hmac.compare_digest(hmac.digest(secret, message, "sha256").hex().encode("ascii"), given):
            return place
    raise SignatureError("signature_mismatch", "No secret of this tenant made this signature for this body.")
