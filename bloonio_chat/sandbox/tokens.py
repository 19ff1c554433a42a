"""The tokens that the relay hands out (protocol §3.2): JWTs, signed with HS256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any


def make_token(key: bytes, **claims: Any) -> str:
    """Return a JWT with these claims, signed with ``key`` (the relay's own, never a tenant's secret)."""
    head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{head}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
