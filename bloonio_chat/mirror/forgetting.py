"""Erasing one person from the mirror, so that nothing brings the person back.

Their conversations and tickets become *tombstones*, which have nothing but ids, and their messages are deleted. The
person is known by a keyed digest from then on: what happened before the erasure, whoever tells of it and however late,
becomes a tombstone too; a conversation that begins afterwards is mirrored like any other.
"""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

from django.core.management.base import CommandError
from django.db import router, transaction
from django.db.models import ProtectedError, Q, QuerySet, RestrictedError
from django.db.models.deletion import Collector

from bloonio_chat.conf import get_config
from bloonio_chat.mirror.contention import retrying
from bloonio_chat.mirror.folding import Erasure, Key
from bloonio_chat.mirror.models import Conversation, ForgottenVisitor, Message, Ticket, visitor_digest
from bloonio_chat.mirror.projection import erase, in_parts
from bloonio_chat.mirror.retention import protecting
from bloonio_chat.mirror.rows import cut
from bloonio_chat.mirror.times import aware_now

_BATCH: Final = 100


class ProtectedPersonError(CommandError):
    """Messages of a person can't be deleted, since a key of the project's protects them. It names the key's model."""


class _Found(NamedTuple):
    """What is a person's, by alias and id: conversations and tickets that are here, and conversations that are not."""

    conversations: list[Key]
    tickets: list[Key]
    elsewhere: list[Key]


class MirrorForgetting:
    """The mirror's half of ``bloonio_forget``; see :class:`bloonio_chat.callbacks.ports.Forgetting`."""

    def __init__(
        self,
        now: Callable[[], datetime] = aware_now,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._now, self._sleep, self._random = now, sleep, random

    def conversations(self, *, tenant: str | None, visitor: str) -> set[Key]:
        """Return (tenant, conversation id) of the visitor's conversations.

        Raises ``ValueError`` for an empty id, and ``ProtectedPersonError`` where they can't be erased: no room has
        erased anything yet.
        """
        found = _find(tenant, visitor, set())
        _require_erasable(found)
        return set(found.conversations)

    def erase(self, *, tenant: str | None, visitor: str, conversations: set[Key], dry_run: bool) -> Mapping[str, int]:
        """Erase the visitor's conversations, and these, with their messages and tickets, and the visitor's tickets.

        Return how many ``erased_conversations``, ``deleted_messages`` and ``erased_tickets`` there were. Of the given
        conversations, those that belong to another visitor here are left alone. Raises ``ValueError`` for an empty id,
        and ``ProtectedPersonError``, with nothing done, where the messages can't be deleted.
        """
        counted = {"erased_conversations": 0, "deleted_messages": 0, "erased_tickets": 0}
        given = {pair for pair in conversations if tenant in (None, pair[0])}
        found = _find(tenant, visitor, given)
        _require_erasable(found)
        if dry_run:
            _count(found, counted)
            return counted
        forgotten_at = self._now()
        self._remember(tenant, visitor, forgotten_at)
        # Once the digest is there: what is committed by now is found here, what is committed later finds the digest.
        _erase_found(_find(tenant, visitor, given), forgotten_at, counted)
        # In a transaction of the caller's nobody else sees the digest before it ends; else this is a look too many.
        transaction.on_commit(
            lambda: _erase_found(_find(tenant, visitor, set()), forgotten_at, counted),
            using=router.db_for_write(Conversation),
        )
        return counted

    def _remember(self, tenant: str | None, visitor: str, forgotten_at: datetime) -> None:
        """Keep the digest by which the person is known, for this tenant or for all."""
        using = router.db_for_write(ForgottenVisitor)

        def write() -> None:
            with transaction.atomic(using=using):
                for alias in get_config().tenants if tenant is None else [tenant]:
                    ForgottenVisitor.objects.using(using).update_or_create(
                        tenant=alias,
                        digest=visitor_digest(alias, cut(visitor)),
                        defaults={"forgotten_at": forgotten_at},
                    )

        retrying(write, using=using, sleep=self._sleep, random=self._random)


def _erase_found(found: _Found, forgotten_at: datetime, counted: dict[str, int]) -> None:
    _count(found, counted)
    with _named_protection():
        for some in in_parts([*found.conversations, *found.elsewhere], _BATCH):
            erase([(alias, Erasure(relay_id, None, forgotten_at)) for alias, relay_id in some])
        for some in in_parts(found.tickets, _BATCH):
            erase([(alias, Erasure(None, relay_id, forgotten_at)) for alias, relay_id in some])


def _require_erasable(found: _Found) -> None:
    """Raise ``ProtectedPersonError`` where a key of the project's protects messages that are to be deleted."""
    using = router.db_for_write(Conversation)
    with _named_protection():
        for messages in _messages_of(found):
            Collector(using=using, origin=messages).collect(messages)


@contextmanager
def _named_protection() -> Iterator[None]:
    try:
        yield
    except (ProtectedError, RestrictedError) as error:
        raise ProtectedPersonError(
            f"Messages of this person can't be deleted: {protecting(error)} refers to them with an on_delete that "
            "protects them. Delete those rows first, then forget the person again."
        ) from None


def _find(tenant: str | None, visitor: str, given: Iterable[Key]) -> _Found:
    """Return what of the visitor's is not erased yet, and the given conversations that are nobody else's."""
    if not visitor:
        raise ValueError("An empty visitor id is nobody's.")
    visitor = cut(visitor)
    using = router.db_for_write(Conversation)
    whose = Q() if tenant is None else Q(tenant=tenant)
    rows = Conversation.objects.using(using).filter(whose, visitor_user_id=visitor)
    conversations, tickets, elsewhere = set(rows.values_list("tenant", "relay_id")), set(), set()
    its_tickets = Ticket.objects.using(using).filter(whose, user_id=visitor)
    for alias, relay_id, conversation_id, other in its_tickets.values_list(
        "tenant", "relay_id", "conversation__relay_id", "conversation__visitor_user_id"
    ):
        tickets.add((alias, relay_id))
        if conversation_id is not None and other == "":
            conversations.add((alias, conversation_id))
    for alias, relay_id in set(given) - conversations:
        row = Conversation.objects.using(using).filter(tenant=alias, relay_id=relay_id).first()
        if row is None:
            elsewhere.add((alias, relay_id))
        elif row.visitor_user_id in ("", visitor) and row.forgotten_at is None:
            conversations.add((alias, relay_id))
    return _Found(sorted(conversations), sorted(tickets), sorted(elsewhere))


def _count(found: _Found, counted: dict[str, int]) -> None:
    using = router.db_for_write(Conversation)
    tickets = set(found.tickets)
    counted["deleted_messages"] += sum(messages.count() for messages in _messages_of(found))
    for alias, ids in _by_tenant(found.conversations):
        its_tickets = Ticket.objects.using(using).filter(
            conversation__tenant=alias, conversation__relay_id__in=ids, forgotten_at=None
        )
        tickets.update(its_tickets.values_list("tenant", "relay_id"))
    counted["erased_conversations"] += len(found.conversations)
    counted["erased_tickets"] += len(tickets)


def _messages_of(found: _Found) -> Iterator[QuerySet[Message]]:
    rows = Message.objects.using(router.db_for_write(Conversation))
    for alias, ids in _by_tenant(found.conversations):
        yield rows.filter(conversation__tenant=alias, conversation__relay_id__in=ids)


def _by_tenant(keys: Iterable[Key]) -> Iterator[tuple[str, list[str]]]:
    for some in in_parts(keys, _BATCH):
        for alias in sorted({alias for alias, _ in some}):
            yield alias, [relay_id for its, relay_id in some if its == alias]
