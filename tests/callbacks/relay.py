"""What the relay would send: bodies of both shapes, the headers that sign them, and the post itself."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, cast

from django.http import HttpResponse
from django.test import Client

from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.signing import SIGNATURE_HEADER, TENANT_ID_HEADER, TIMESTAMP_HEADER, sign
from tests.secrets import SECRET, TENANT_ID

PREFIX = "/api/v1/chat-callbacks/"
PATHS = [event_type.path for event_type in WebhookEventType]
AGENT_STATUS_BY_PATH = {"agent-assigned": "ASSIGNED", "agent-released": "WAITING", "agent-resolved": "RESOLVED"}
ACKNOWLEDGED = {"received": True}
HEADERS = (TENANT_ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def envelope(path: str = "message-received", /, **fields: Any) -> dict[str, Any]:
    """The event envelope; ``None`` leaves a field out."""
    tree = {
        "event_type": path.replace("-", "_"),
        "tenant_id": TENANT_ID,
        "occurred_at": "2026-01-02T03:04:05Z",
        "conversation_id": "c1",
        **fields,
    }
    return {name: value for name, value in tree.items() if value is not None}


def agent_body(path: str = "agent-assigned", /, **fields: Any) -> dict[str, Any]:
    """The agent takeover body; ``None`` leaves a field out."""
    tree = {
        "conversation_id": "c1",
        "tenant_id": TENANT_ID,
        "status": AGENT_STATUS_BY_PATH.get(path, "ASSIGNED"),
        "operator_id": "op1",
        **fields,
    }
    return {name: value for name, value in tree.items() if value is not None}


def written(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode()


def with_raw(field: str, raw: str, path: str = "message-received") -> bytes:
    """An envelope with one more field, whose value is written just so."""
    return written(envelope(path))[:-1] + f', "{field}": {raw}}}'.encode()


def signed(
    body: bytes, *, timestamp: int | str | None = None, tenant_id: str = TENANT_ID, secret: str = SECRET
) -> dict[str, str]:
    stamp = str(now_ms() if timestamp is None else timestamp)
    return {
        TENANT_ID_HEADER: tenant_id,
        TIMESTAMP_HEADER: stamp,
        SIGNATURE_HEADER: sign(secret.encode(), stamp if stamp.isascii() else 0, body),
    }


def post(
    client: Client, path: str, body: bytes | Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Post a callback, signed well unless the headers are given."""
    raw = body if isinstance(body, bytes) else written(dict(body))
    response = client.post(
        PREFIX + path, raw, "application/json", headers=dict(signed(raw) if headers is None else headers)
    )
    return cast("HttpResponse", response)


def answer(response: HttpResponse) -> dict[str, Any]:
    """The JSON of an answer."""
    tree = json.loads(response.content)
    assert isinstance(tree, dict)
    return tree
