"""Events and fetched objects become rows: locked, folded in Python, and written, all of a batch or none of it.

Rows are locked in one order everywhere: conversations before tickets before messages, each in the order of their
keys. A conversation's lock also guards its messages and tickets, so that those need no rows to lock before they exist.
Where two writers make one all the same (a ticket whose event names no conversation), the database refuses the second,
which starts again.

Who is forgotten while a batch is written is looked up twice: once the rows are locked, and once they are committed.
Whoever forgets writes that down before looking for rows, so that one of the two sees what the other has done.
No call to the relay is made here.
"""

from __future__ import annotations

import logging
import random as random_numbers
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

from django.db import connections, router, transaction

from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.conf import get_config
from bloonio_chat.mirror.contention import StaleReadError, retrying
from bloonio_chat.mirror.folding import Erasure, Fetched, fold
from bloonio_chat.mirror.models import (
    Conversation,
    ForgottenVisitor,
    Message,
    MirrorModel,
    Ticket,
    visitor_digests,
)
from bloonio_chat.mirror.rows import BARE, Key, Rows, cut, key_of
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.writable import writable
from bloonio_chat.sdk import types
from bloonio_chat.sdk.events import LONGEST_ID, WebhookEvent

logger = logging.getLogger("bloonio_chat.mirror")

_Row = TypeVar("_Row", bound=MirrorModel)
_Item = TypeVar("_Item")

# As many rows go into one statement: its parameters stay below what the databases take.
STATEMENT_ROWS: Final = 500


def project(
    batch: Sequence[Projectable],
    *,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_numbers.random,
) -> None:
    """Write what events say, all of the batch or, by raising, none of it. For ``ports.project``.

    ``sleep`` and ``random`` space the attempts where writers meet (:func:`~bloonio_chat.mirror.contention.retrying`).
    """
    _write([(tenant, event) for tenant, event in batch], sleep, random)


def merge(
    batch: Sequence[Fetched],
    *,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_numbers.random,
) -> None:
    """Write what was fetched from the relay, all of the batch or, by raising, none of it; arguments as ``project``.

    An object whose id is longer than any of the relay's is left out, with a warning. Merge a conversation's messages
    before or with the conversation itself: that clears its mark.
    """
    storable = [fetched for fetched in batch if len(fetched.object.id) <= LONGEST_ID]
    if len(storable) < len(batch):
        logger.warning("Left out %d objects: their ids are over %d characters.", len(batch) - len(storable), LONGEST_ID)
    _write([(fetched.tenant, fetched) for fetched in storable], sleep, random)


def erase(
    batch: Sequence[tuple[str, Erasure]],
    *,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_numbers.random,
) -> None:
    """Erase what is a person's, each with the alias of its tenant; arguments and errors as ``project``."""
    _write(batch, sleep, random)


_Heard = tuple[str, "WebhookEvent | Fetched | Erasure"]


def _write(batch: Sequence[_Heard], sleep: Callable[[float], None], random: Callable[[], float]) -> None:
    using = router.db_for_write(Conversation)

    def look_again(known: Mapping[Key, datetime]) -> None:
        """Write once more what names those who were forgotten meanwhile: that erases it."""
        meanwhile = {key for key, at in forgotten(_visitors_of(batch), using).items() if known.get(key) != at}
        _write([each for each in batch if _visitor_of(each) in meanwhile], sleep, random)

    if batch:
        retrying(lambda: _write_once(batch, using, look_again), using=using, sleep=sleep, random=random)


def _write_once(batch: Sequence[_Heard], using: str, look_again: Callable[[Mapping[Key, datetime]], None]) -> None:
    """Write a batch; ``look_again`` is called once it is committed, with who was known to be forgotten."""
    with writable(), transaction.atomic(using=using):
        if not connections[using].features.has_select_for_update:
            lock_all(using)
        rows = _load(batch, using)
        for tenant, heard in batch:
            fold(rows, tenant, heard)
        _save(rows, using)
        transaction.on_commit(lambda: look_again(rows.forgotten), using=using)


# ---- loading ---------------------------------------------------------------------------------------------------


def _load(batch: Sequence[_Heard], using: str) -> Rows:
    """Return the rows that the batch tells of, locked, and those that these bring along."""
    conversations: set[Key] = set()
    tickets: set[Key] = set()
    messages: set[Key] = set()
    for tenant, heard in batch:
        named = _named_by(heard)
        for keys, relay_id in zip((conversations, tickets, messages), named, strict=True):
            if relay_id and len(relay_id) <= LONGEST_ID:
                keys.add((tenant, relay_id))
    rows = Rows(now=aware_now(), keeps_messages=get_config().app.mirror_messages)
    rows.conversations = _lock_or_make(conversations, using)
    ids = {row.pk: row.relay_id for row in rows.conversations.values()}
    tickets.update(_keys_of_tickets(list(ids), using))
    rows.tickets = _lock(Ticket, tickets, using)
    rows.messages = _lock(Message, messages, using)
    children: list[Ticket | Message] = [*rows.tickets.values(), *rows.messages.values()]
    others = {each.conversation_id for each in children if each.conversation_id is not None} - ids.keys()
    for some in in_parts(others, STATEMENT_ROWS):
        ids.update(Conversation.objects.using(using).filter(pk__in=some).values_list("pk", "relay_id"))
    if not others <= ids.keys():
        # Under REPEATABLE READ: their rows are younger than what this transaction sees.
        raise StaleReadError("a conversation that was made meanwhile")
    for child in children:
        if child.conversation_id is not None:
            rows.link(child, ids[child.conversation_id])
    # Read after all locks, since they were waited for.
    rows.forgotten = forgotten(_visitors_of(batch), using)
    return rows


def _named_by(heard: WebhookEvent | Fetched | Erasure) -> tuple[str | None, str | None, str | None]:
    """Return the ids of the conversation, the ticket and the message."""
    if isinstance(heard, Erasure):
        return heard.conversation_id, heard.ticket_id, None
    if isinstance(heard, WebhookEvent):
        return heard.conversation_id, heard.ticket_id, heard.message_id if heard.conversation_id else None
    thing = heard.object
    if isinstance(thing, types.Conversation):
        return thing.id, None, None
    if isinstance(thing, types.Ticket):
        return thing.conversation_id, thing.id, None
    return thing.conversation_id, None, thing.id


def _visitors_of(batch: Iterable[_Heard]) -> set[Key]:
    return {visitor for visitor in map(_visitor_of, batch) if visitor is not None}


def _visitor_of(told: _Heard) -> Key | None:
    """Return the visitor whom it names, as rows say it; ``None`` where it names nobody."""
    tenant, heard = told
    about = heard.object if isinstance(heard, Fetched) else heard
    if isinstance(about, (WebhookEvent, types.Conversation)):
        visitor = about.visitor_user_id
    else:
        visitor = about.user_id if isinstance(about, types.Ticket) else None
    return (tenant, cut(visitor)) if visitor else None


def forgotten(visitors: Collection[Key], using: str) -> dict[Key, datetime]:
    """Return when visitors were forgotten, those that were, by the tenant's alias and the visitor's id (of a row)."""
    digests = {
        (tenant, digest): (tenant, visitor)
        for tenant, visitor in visitors
        for digest in visitor_digests(tenant, visitor)
    }
    found: dict[Key, datetime] = {}
    for tenant, some in _by_tenant(digests):
        rows = ForgottenVisitor.objects.using(using).filter(tenant=tenant, digest__in=some)
        for digest, forgotten_at in rows.values_list("digest", "forgotten_at"):
            # Perhaps twice, under an old key and under the new one.
            visitor = digests[tenant, digest]
            found[visitor] = max(forgotten_at, found.get(visitor, forgotten_at))
    return found


def lock_all(using: str) -> None:
    """Keep other writers out where rows can't be locked one by one: on SQLite, by a write that changes nothing.

    A transaction that reads first, and finds that somebody has written when it comes to write, can only start again.
    Raises what the database does where it takes no write.
    """
    ForgottenVisitor.objects.using(using).filter(pk=0).update(digest="")


def _lock_or_make(keys: Collection[Key], using: str) -> dict[Key, Conversation]:
    """Return these conversations, locked until the transaction ends; those that are not there are made, bare."""
    found = _lock(Conversation, keys, using)
    missing = sorted(set(keys) - found.keys())
    if missing:
        # An update that changes nothing: it locks a row that another writer has made in the meantime.
        stubs = [Conversation(tenant=tenant, relay_id=relay_id, synced_from=BARE) for tenant, relay_id in missing]
        _upsert(Conversation, stubs, ("tenant", "relay_id"), ("relay_id",), using)
        found.update(_lock(Conversation, missing, using))
    return found


def _lock(model: type[_Row], keys: Collection[Key], using: str) -> dict[Key, _Row]:
    """Return those of the rows that are there, locked until the transaction ends."""
    found = {}
    for tenant, some in _by_tenant(keys):
        rows = _rows_of(model, using).select_for_update().filter(tenant=tenant, relay_id__in=some).order_by("relay_id")
        found.update({key_of(row): row for row in rows})
    return found


def _keys_of_tickets(conversations: Sequence[int], using: str) -> Iterator[Key]:
    for some in in_parts(conversations, STATEMENT_ROWS):
        rows = Ticket.objects.using(using).filter(conversation__in=some)
        yield from rows.values_list("tenant", "relay_id")


# ---- saving ----------------------------------------------------------------------------------------------------


def _save(rows: Rows, using: str) -> None:
    _resolve_links(rows)
    for model in (Conversation, Ticket, Message):
        changed = [rows.changed[place] for place in sorted(rows.changed, key=itemgetter(1)) if place[0] is model]
        _upsert(model, [row for row in changed if row.pk is not None], ("id",), _written(model), using)
        for some in in_parts([row for row in changed if row.pk is None], STATEMENT_ROWS):
            _rows_of(model, using).bulk_create(some)
    erased = [rows.conversations[key].pk for key in rows.erased]
    if erased:
        Message.objects.using(using).filter(conversation__in=erased).delete()


def _resolve_links(rows: Rows) -> None:
    """Point messages and tickets at the rows of their conversations, which are all there by now."""
    for model, key in list(rows.changed):
        if model is not Conversation:
            child = cast("Ticket | Message", rows.changed[model, key])
            link = rows.links.get((model, key))
            parent = rows.conversations.get((key[0], link)) if link else None
            if parent is not None:
                child.conversation_id = parent.pk


def _upsert(model: type[_Row], rows: Sequence[_Row], key: Sequence[str], columns: Sequence[str], using: str) -> None:
    """Insert rows, or, where there are some with that key, give those these columns."""
    has_target = connections[using].features.supports_update_conflicts_with_target
    for some in in_parts(rows, STATEMENT_ROWS):
        _rows_of(model, using).bulk_create(
            some,
            update_conflicts=True,
            update_fields=columns,
            unique_fields=key if has_target else None,
        )


def _written(model: type[MirrorModel]) -> list[str]:
    """Return the names of the columns that folding changes."""
    return [
        column.name
        for column in model._meta.concrete_fields
        if column.name not in ("id", "tenant", "relay_id") and not column.generated
    ]


# ---- parts -----------------------------------------------------------------------------------------------------


def _rows_of(model: type[_Row], using: str) -> Any:
    return model._default_manager.using(using)


def _by_tenant(keys: Iterable[Key]) -> Iterator[tuple[str, list[str]]]:
    """Return the tenants, each with its ids, in one order, and no more ids at once than go into one statement."""
    for tenant, its_keys in groupby(sorted(keys), key=itemgetter(0)):
        for some in in_parts([relay_id for _, relay_id in its_keys], STATEMENT_ROWS):
            yield tenant, some


def in_parts(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Return the items, at most so many at once."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
