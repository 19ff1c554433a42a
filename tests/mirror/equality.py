"""The mirror and the sandbox, row by row and field by field; knows nothing of how the mirror compares by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox.objects import wire

# What the relay calls otherwise, or what is a text here and nothing there.
_OF_KEY = ("id", "tenant_id", "conversation_id")


def of_relay(thing: Any) -> dict[str, Any]:
    return {name: value for name, value in wire(thing).items() if name not in _OF_KEY}


def of_mirror(row: Any, names: list[str]) -> dict[str, Any]:
    found = {}
    for name in names:
        value = getattr(row, name)
        if isinstance(value, datetime):
            value = value.astimezone(None).timestamp()
        found[name] = value or None
    return found


def comparable(fields: dict[str, Any]) -> dict[str, Any]:
    """As of_mirror: times as numbers, and nothing for what is empty."""
    return {
        name: (datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp() if _is_time(name) and value else value)
        or None
        for name, value in fields.items()
    }


def differing(relay: SandboxRelay, *, tenant: str = "default", operators: bool = True) -> list[str]:
    """Every difference there is, for people; ``operators``: also what events alone tell."""
    return [
        *_differing(relay.conversations.values(), Conversation.objects.filter(tenant=tenant)),
        *_differing(relay.messages, Message.objects.filter(tenant=tenant).select_related("conversation")),
        *_differing(relay.tickets.values(), Ticket.objects.filter(tenant=tenant).select_related("conversation")),
        *(_differing_operators(relay, tenant) if operators else ()),
    ]


def _differing(things: Any, rows: Any) -> list[str]:
    theirs = {thing.id: thing for thing in things}
    ours = {row.relay_id: row for row in rows}
    found = [f"only there: {one}" for one in theirs.keys() - ours.keys()]
    found += [f"only here: {one}" for one in ours.keys() - theirs.keys()]
    for one in sorted(theirs.keys() & ours.keys()):
        expected = comparable(of_relay(theirs[one]))
        actual = of_mirror(ours[one], list(expected))
        found += [
            f"{type(ours[one]).__name__} {one}: {name} is {actual[name]!r}, not {expected[name]!r}"
            for name in expected
            if actual[name] != expected[name]
        ]
        parent = getattr(ours[one], "conversation", None)
        if parent is not None and parent.relay_id != theirs[one].conversation_id:
            found.append(f"{one} belongs to {parent.relay_id}")
        if getattr(ours[one], "marked_at", None) is not None:
            found.append(f"{one} is marked still")
        if ours[one].fetched_at is None:
            found.append(f"{one} was never fetched")
    return found


def _differing_operators(relay: SandboxRelay, tenant: str) -> list[str]:
    found = []
    for conversation_id, escalation in relay.escalations.items():
        row = Conversation.objects.get(tenant=tenant, relay_id=conversation_id)
        held = escalation.operator_id or ""
        expected = {
            "agent_status": escalation.status,
            "operator_id": held,
            "operator_display_name": relay.operators[held].display_name if held else "",
            "escalation_id": escalation.id,
            "escalation_reason": escalation.reason,
            "claimed_at": escalation.claimed_at,
            "released_at": escalation.released_at,
            "agent_resolved_at": escalation.resolved_at,
            "claim_count": escalation.claim_count or None,
        }
        found += [
            f"{conversation_id}: {name} is {getattr(row, name)!r}, not {value!r}"
            for name, value in expected.items()
            if getattr(row, name) != value
        ]
    return found


def _is_time(name: str) -> bool:
    return name.endswith("_at")
