"""What of the relay's objects belongs into the mirror: not who was erased, nor what is past its time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from django.db import router

from bloonio_chat.mirror.models import Conversation, HydratedModel
from bloonio_chat.mirror.projection import forgotten
from bloonio_chat.mirror.retention import oldest_kept
from bloonio_chat.mirror.rows import cut
from bloonio_chat.sdk import types

Thing = types.Conversation | types.Ticket


def left_out(tenant: str, things: Collection[Thing], rows: Mapping[str, HydratedModel], *, now: datetime) -> set[str]:
    """Return the ids of those objects that the mirror does without. ``rows`` are those that are here, by relay id.

    What is past its time and here all the same stays, as do the tickets of conversations that are here. What is here
    of somebody who was erased is not left out: merging it erases it.
    """
    visitors = {(tenant, visitor_of(thing)) for thing in things}
    since_forgotten = forgotten(visitors, router.db_for_write(Conversation))
    limit = oldest_kept(now)
    old = {thing.id: thing for thing in things if limit is not None and changed_at(thing) < limit}
    past = old.keys() - rows.keys() - _with_conversation(tenant, old.values())
    return {
        thing.id
        for thing in things
        if thing.id in past
        or _is_tombstone(rows.get(thing.id))
        or (thing.id not in rows and _is_before(thing, since_forgotten.get((tenant, visitor_of(thing)))))
    }


def changed_at(thing: Thing) -> datetime:
    """Return when something happened in it last."""
    last_message_at = getattr(thing, "last_message_at", None)
    return thing.updated_at if last_message_at is None else max(thing.updated_at, last_message_at)


def visitor_of(thing: Thing) -> str:
    """Return whose it is, as a row says it."""
    return cut(thing.visitor_user_id if isinstance(thing, types.Conversation) else thing.user_id)


def _with_conversation(tenant: str, things: Collection[Thing]) -> set[str]:
    """Return the ids of the tickets whose conversations are here."""
    tickets = {thing.id: thing.conversation_id for thing in things if isinstance(thing, types.Ticket)}
    wanted = {conversation_id for conversation_id in tickets.values() if conversation_id}
    if not wanted:
        return set()
    rows = Conversation.objects.using(router.db_for_write(Conversation)).filter(tenant=tenant, relay_id__in=wanted)
    here = set(rows.values_list("relay_id", flat=True))
    return {relay_id for relay_id, conversation_id in tickets.items() if conversation_id in here}


def _is_tombstone(row: HydratedModel | None) -> bool:
    return row is not None and row.forgotten_at is not None


def _is_before(thing: Thing, forgotten_at: datetime | None) -> bool:
    return forgotten_at is not None and thing.created_at <= forgotten_at
