"""What the admin's page of one event shows: its body, readable and bounded, what was signed, and its ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.sdk.signing import SIGNATURE_HEADER, TENANT_ID_HEADER, TIMESTAMP_HEADER

LONGEST_BODY: Final = 50_000
MOST_RECEIPTS: Final = 200

_OWN_LINK: Final = "bloonio_chat_inbox"
_SHOWN_OF_SIGNATURE: Final = 6
# They have the text around them read in another order than it is written.
_REORDERING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def body_of(event: InboxEvent) -> str:
    """Return the body as indented JSON, or as it is where it can't be read; at most 50,000 characters of it."""
    raw = bytes(event.body)
    if not raw:
        return "(erased)" if event.erased_at else "(empty)"
    try:
        text = _first(_pieces(raw))
    except (ValueError, RecursionError):
        text = raw[:LONGEST_BODY].decode("utf-8", "backslashreplace")
    # No page can be sent with lone surrogates.
    text = text.encode("utf-8", "backslashreplace").decode()
    text = _REORDERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text if len(text) <= LONGEST_BODY else f"{text[:LONGEST_BODY]}\n… (cut off; {len(raw):,} bytes in all)"


def _pieces(raw: bytes) -> Iterator[str]:
    # Piece by piece: deep nesting makes much of little.
    return json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(raw))


def _first(pieces: Iterator[str]) -> str:
    taken, length = [], 0
    for piece in pieces:
        taken.append(piece)
        length += len(piece)
        if length > LONGEST_BODY:
            break
    return "".join(taken)


def headers_of(event: InboxEvent) -> str:
    """Return the signed headers, a line each; of the signature only the beginning."""
    signature = f"{event.signature[:_SHOWN_OF_SIGNATURE]}…" if event.signature else "(erased)"
    return "\n".join(
        (
            f"{TENANT_ID_HEADER}: {event.signed_tenant_id}",
            f"{TIMESTAMP_HEADER}: {event.signed_timestamp}",
            f"{SIGNATURE_HEADER}: {signature}",
        )
    )


def skew_of(event: InboxEvent) -> str:
    """Return by how much our clock and the signed timestamp differed, in words."""
    side = "after" if event.skew_ms >= 0 else "before"
    return f"{abs(event.skew_ms) / 1000:g} s {side} the signed timestamp"


def ledger_of(event: InboxEvent) -> list[InboxReceipt]:
    """Return what became of the event at each receiver, failures first; at most 200 of them."""
    return list(event.receipts.order_by("succeeded", "receiver")[:MOST_RECEIPTS])


def links_of(event: InboxEvent) -> list[str]:
    """Return the other rooms' pages about the event's conversation."""
    if not event.conversation_id:
        return []
    urls = [
        link(event.tenant, event.conversation_id) for room, link in sorted(ports.links.items()) if room != _OWN_LINK
    ]
    return [url for url in urls if url is not None]


def page_of(event: InboxEvent) -> dict[str, Any]:
    """Return what the template needs beside the fields."""
    return {"ledger": ledger_of(event), "conversation_links": links_of(event)}
