"""Signed callbacks of 500 bytes, no two alike."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from benchmarks.project import SECRET, TENANT_ID
from bloonio_chat.sdk.signing import sign

EVENT_PATH: Final = "message-received"
BODY_BYTES: Final = 500
EVENTS_EACH: Final = 5

# What stands in the template for an event's number and for its conversation's, of 12 digits each.
NUMBER: Final = b"<-a number->"
GROUP: Final = b"<-any five->"

_numbers = itertools.count()


@dataclass(frozen=True)
class SignedCallback:
    """What the relay posts."""

    timestamp_ms: int
    signature: str
    body: bytes


def make_callbacks(count: int) -> list[SignedCallback]:
    """Return that many callbacks, signed now: the window is 30 s, so they can't be made once for a whole run."""
    timestamp_ms = time.time_ns() // 1_000_000
    bodies = [make_body(next(_numbers)) for _ in range(count)]
    return [SignedCallback(timestamp_ms, sign(SECRET, timestamp_ms, body), body) for body in bodies]


def make_body(number: int) -> bytes:
    """Return the body of an event of that number; each five in a row are of one conversation and one visitor."""
    return TEMPLATE.replace(NUMBER, b"%012d" % number).replace(GROUP, b"%012d" % (number // EVENTS_EACH))


def _template() -> bytes:
    extra = {"channel": "text", "locale": "en", "page": "https://shop.example/orders/4711", "preview": ""}
    event: dict[str, object] = {
        "event_id": f"evt_{NUMBER.decode()}",
        "event_type": "message_received",
        "tenant_id": TENANT_ID,
        "occurred_at": datetime(2026, 11, 22, 14, 3, 9, 120_000, timezone.utc).isoformat(),
        "conversation_id": f"0193a1f0-5b1c-7d7e-9a52-{GROUP.decode()}",
        "message_id": "0193a1f0-5b1c-7d7e-9a52-0f6b8c3f1c12",
        "visitor_user_id": f"user-{GROUP.decode()}",
        "extra": extra,
    }
    extra["preview"] = "x" * (BODY_BYTES - len(_compact(event)))
    return _compact(event)


def _compact(event: dict[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


TEMPLATE: Final = _template()
