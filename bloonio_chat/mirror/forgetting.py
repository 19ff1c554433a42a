"""Erasing one person from the mirror, so that nothing brings the person back.

Their conversations and tickets become *tombstones*, which have nothing but ids, and their messages are deleted. The
person is known by a keyed digest from then on: what happened before the erasure, whoever tells of it and however late,
becomes a tombstone too; a conversation that begins afterwards is mirrored like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from django.db import router
from django.db.models import Q

from bloonio_chat.conf import get_config
from bloonio_chat.mirror.folding import Erasure, Key
from bloonio_chat.mirror.models import Conversation, ForgottenVisitor, Message, Ticket, visitor_digest
from bloonio_chat.mirror.projection import erase
from bloonio_chat.mirror.times import aware_now

_BATCH: Final = 100
# An event that was being written while the digest was, is found by another look.
_LOOKS: Final = 3

_Item = TypeVar("_Item")


class _Found(NamedTuple):
    """What is a person's, by alias and id: conversations and tickets that are here, and conversations that are not."""

    conversations: list[Key]
    tickets: list[Key]
    elsewhere: list[Key]


class MirrorForgetting:
    """The mirror's half of ``bloonio_forget``; see :class:`bloonio_chat.callbacks.ports.Forgetting`."""

    def __init__(self, now: Callable[[], datetime] = aware_now) -> None:
        self._now = now

    def conversations(self, *, tenant: str | None, visitor: str) -> set[Key]:
        """Return (tenant, conversation id) of the visitor's conversations. Raises ``ValueError`` for an empty id."""
        return set(_find(tenant, visitor, set()).conversations)

    def erase(self, *, tenant: str | None, visitor: str, conversations: set[Key], dry_run: bool) -> Mapping[str, int]:
        """Erase the visitor's conversations, and these, with their messages and tickets, and the visitor's tickets.

        Return how many ``erased_conversations``, ``deleted_messages`` and ``erased_tickets`` there were. Of the given
        conversations, those that belong to another visitor here are left alone. Raises ``ValueError`` for an empty id.
        """
        counted = {"erased_conversations": 0, "deleted_messages": 0, "erased_tickets": 0}
        given = {pair for pair in conversations if tenant in (None, pair[0])}
        if dry_run:
            _count(_find(tenant, visitor, given), counted)
            return counted
        forgotten_at = self._now()
        _remember(tenant, visitor, forgotten_at)
        for _ in range(_LOOKS):
            found = _find(tenant, visitor, given)
            if not any(found):
                break
            _count(found, counted)
            for some in _some([*found.conversations, *found.elsewhere]):
                erase([(alias, Erasure(relay_id, None, forgotten_at)) for alias, relay_id in some])
            for some in _some(found.tickets):
                erase([(alias, Erasure(None, relay_id, forgotten_at)) for alias, relay_id in some])
            given = set()
        return counted


def _remember(tenant: str | None, visitor: str, forgotten_at: datetime) -> None:
    """Keep the digest by which the person is known, for this tenant or for all."""
    rows = ForgottenVisitor.objects.using(router.db_for_write(ForgottenVisitor))
    for alias in get_config().tenants if tenant is None else [tenant]:
        rows.update_or_create(
            tenant=alias, digest=visitor_digest(alias, visitor), defaults={"forgotten_at": forgotten_at}
        )


def _find(tenant: str | None, visitor: str, given: Iterable[Key]) -> _Found:
    """Return what of the visitor's is not erased yet, and the given conversations that are nobody else's."""
    if not visitor:
        raise ValueError("An empty visitor id is nobody's.")
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
    for some in _some(found.conversations):
        for alias in {alias for alias, _ in some}:
            ids = [relay_id for its, relay_id in some if its == alias]
            messages = Message.objects.using(using).filter(conversation__tenant=alias, conversation__relay_id__in=ids)
            counted["deleted_messages"] += messages.count()
            its_tickets = Ticket.objects.using(using).filter(
                conversation__tenant=alias, conversation__relay_id__in=ids, forgotten_at=None
            )
            tickets.update(its_tickets.values_list("tenant", "relay_id"))
    counted["erased_conversations"] += len(found.conversations)
    counted["erased_tickets"] += len(tickets)


def _some(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while some := list(islice(rest, _BATCH)):
        yield some
