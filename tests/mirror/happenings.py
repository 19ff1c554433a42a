"""What may happen to a mirror: events of all types in both shapes, full objects, from few ids and few times.

Few, so that they meet: the same message in two events, two events at one time, an object as old as an event.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import Any, Final

from hypothesis import strategies as st

from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.mirror import folding
from bloonio_chat.mirror.folding import Erasure, Fetched
from bloonio_chat.mirror.models import FROM_FETCH, FROM_SYNC, Conversation, Mark, Message, MirrorModel, Ticket
from bloonio_chat.mirror.projection import merge, project
from bloonio_chat.mirror.rows import Rows
from bloonio_chat.sdk import types
from bloonio_chat.sdk.events import WebhookEvent, parse_event
from tests.callbacks.relay import AGENT_STATUS_BY_PATH, PATHS, written
from tests.secrets import TENANT_ID

TENANT: Final = "default"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

Heard = WebhookEvent | Fetched

# What a row is besides what was heard: its key in this database, and when it was written and marked.
NO_DATA: Final = ("id", "tenant", "synced_at", "synced_from", "marked_at", "waiting_since")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def event_of(path: str, tree: dict[str, Any], *, signed_at: datetime = NOON) -> WebhookEvent:
    """The event that a callback's body becomes."""
    body = {"tenant_id": TENANT_ID, **{name: value for name, value in tree.items() if value is not None}}
    for name, value in body.items():
        if isinstance(value, datetime):
            body[name] = value.isoformat()
    return parse_event(written(body), path=path, tenant_id=TENANT_ID, timestamp_ms=int(signed_at.timestamp() * 1000))


def envelope(path: str, time: datetime = NOON, **fields: Any) -> WebhookEvent:
    return event_of(path, {"event_type": path.replace("-", "_"), "occurred_at": time, **fields})


def takeover(path: str, time: datetime = NOON, **fields: Any) -> WebhookEvent:
    """The agent takeover body; ``time`` is that of the event."""
    name = {"agent-assigned": "claimed_at", "agent-released": "released_at", "agent-resolved": "resolved_at"}[path]
    return event_of(path, {"status": AGENT_STATUS_BY_PATH[path], name: time, **fields})


def conversation(relay_id: str = "c1", updated_at: datetime = NOON, **fields: Any) -> types.Conversation:
    return types.Conversation.model_validate(
        {
            "id": relay_id,
            "tenant_id": TENANT_ID,
            "visitor_user_id": "v1",
            "locale": "fr",
            "channel": "text",
            "status": "active",
            "created_at": at(-100),
            "updated_at": updated_at,
            **fields,
        }
    )


def ticket(relay_id: str = "t1", updated_at: datetime = NOON, **fields: Any) -> types.Ticket:
    return types.Ticket.model_validate(
        {
            "id": relay_id,
            "tenant_id": TENANT_ID,
            "ticket_number": "LOK-000001",
            "user_id": "v1",
            "subject": "Where is it?",
            "description": "It is late.",
            "priority": "p2",
            "status": "open",
            "created_at": at(-100),
            "updated_at": updated_at,
            **fields,
        }
    )


def message(relay_id: str = "m1", conversation_id: str = "c1", **fields: Any) -> types.Message:
    return types.Message.model_validate(
        {
            "id": relay_id,
            "conversation_id": conversation_id,
            "tenant_id": TENANT_ID,
            "role": "visitor",
            "content": "Où est ma commande ? 🙂",
            "created_at": NOON,
            **fields,
        }
    )


# ---- strategies ------------------------------------------------------------------------------------------------

# Made once, and then drawn from: making one takes a hundred times as long as drawing it.
_POOL: Final = 600
_MAKE: Final = random.Random(20261122)
_TIMES: Final = [at(seconds) for seconds in range(5)]


def _one(*items: Any) -> Any:
    return _MAKE.choice(items)


def _some(*items: Any) -> Any:
    """One of these, or nothing."""
    return _MAKE.choice([None, *items])


def _envelope() -> WebhookEvent:
    path = _one(*PATHS, "message-deleted")
    return envelope(
        path,
        _one(*_TIMES),
        conversation_id=_some("c1", "c1", "c2"),
        message_id=_some("m1", "m2", "m3"),
        ticket_id=None if path.startswith("agent") else _some("t1", "t2"),
        ticket_number=_some("LOK-1", "LOK-2"),
        escalation_id=_some("e1", "e2"),
        escalation_reason=_some("direct", "low_confidence", "a new reason"),
        visitor_user_id=_some("v1", "v2"),
        agent_user_id=_some("op1", "op2"),
    )


def _takeover() -> WebhookEvent:
    path = _one(*AGENT_STATUS_BY_PATH)
    return event_of(
        path,
        {
            "conversation_id": _one("c1", "c1", "c2"),
            "status": _one(AGENT_STATUS_BY_PATH[path], "PARKED"),
            "operator_id": _some("op1", "op2"),
            "operator_display_name": _some("Ann", "Bo"),
            "escalation_reason": _some("direct", "a new reason"),
            "claim_count": _some(0, 1, 2, 3),
            "claimed_at": _some(*_TIMES),
            "released_at": _some(*_TIMES),
            "resolved_at": _some(*_TIMES),
        },
        signed_at=_one(*_TIMES),
    )


def _fetched() -> Fetched:
    thing: types.Conversation | types.Message | types.Ticket = _one(_a_conversation, _a_message, _a_ticket)()
    return Fetched(
        TENANT,
        thing,
        _one(*_TIMES[:2]),
        source=_one(FROM_FETCH, FROM_SYNC),
        mark=_some(Mark(_some(*_TIMES), _some(*_TIMES))),
        has_messages=_one(True, False),
        messages_truncated=_one(True, False),
    )


def _a_conversation() -> types.Conversation:
    return conversation(
        _one("c1", "c1", "c2"),
        _one(*_TIMES[2:]),
        status=_one("active", "closed", "parked"),
        closed_at=_some(*_TIMES),
        last_message_at=_some(*_TIMES),
        visitor_user_id=_one("v1", "v2"),
    )


def _a_message() -> types.Message:
    return message(_one("m1", "m2", "m3"), _one("c1", "c2"), content=_one("Hello", "Good evening"))


def _a_ticket() -> types.Ticket:
    return ticket(
        _one("t1", "t1", "t2"),
        _one(*_TIMES),
        status=_one("open", "resolved", "closed", "waiting_on_user"),
        assignee_user_id=_some("op1", "op2"),
        resolved_at=_some(*_TIMES),
        conversation_id=_some("c1", "c2"),
        escalation_id=_some("e1", "e2"),
        user_id=_one("v1", "v2"),
    )


ALL_EVENTS: Final = [_one(_envelope, _takeover)() for _ in range(_POOL)]
ALL_OBJECTS: Final = [_fetched() for _ in range(_POOL // 2)]
EVENTS: Final = st.sampled_from(ALL_EVENTS)
HEARD: Final = st.sampled_from([*ALL_EVENTS, *ALL_OBJECTS])


def reordered(heard: Sequence[Any], seed: int) -> list[Any]:
    """The same things in another order, some of them more than once."""
    chance = random.Random(seed)
    again = [*heard, *(each for each in heard if chance.random() < 0.4)]
    chance.shuffle(again)
    return again


SEEDS: Final = st.integers(0, 2**32)


# ---- folding without a database, and looking at rows -----------------------------------------------------------


def fold(heard: Iterable[Heard | Erasure], rows: Rows | None = None) -> Rows:
    rows = Rows(now=NOON) if rows is None else rows
    for each in heard:
        folding.fold(rows, TENANT, each)
    return rows


def seen(row: MirrorModel) -> dict[str, Any]:
    """A row's data, by column; not the row that it points to."""
    return {
        column.name: getattr(row, column.attname)
        for column in row._meta.concrete_fields
        if column.name not in NO_DATA and not column.generated and not column.is_relation
    }


def all_seen(rows: Rows) -> dict[Any, dict[str, Any]]:
    """The data of all rows, and where they belong."""
    return {
        (type(row).__name__, row.relay_id): {**seen(row), "conversation": rows.links.get((type(row), key))}
        for table in (rows.conversations, rows.tickets, rows.messages)
        for key, row in table.items()
    }


# ---- the same in the database ----------------------------------------------------------------------------------


def write(heard: Iterable[Heard], tenant: str = TENANT) -> None:
    """Write all of it as one batch of each kind at a time, in its order."""
    for is_fetched, some in groupby(heard, lambda each: isinstance(each, Fetched)):
        if is_fetched:
            merge([replace(each, tenant=tenant) for each in some if isinstance(each, Fetched)])
        else:
            project([Projectable(tenant, each) for each in some if isinstance(each, WebhookEvent)])


def stored(tenant: str = TENANT) -> dict[Any, dict[str, Any]]:
    """The data of all rows of a tenant, as :func:`all_seen` has it."""
    found = {}
    for row in Conversation.objects.filter(tenant=tenant):
        found["Conversation", row.relay_id] = {**seen(row), "conversation": None}
    for model in (Ticket, Message):
        for child in model._default_manager.filter(tenant=tenant).select_related("conversation"):
            parent = None if child.conversation is None else child.conversation.relay_id
            found[model.__name__, child.relay_id] = {**seen(child), "conversation": parent}
    return found
