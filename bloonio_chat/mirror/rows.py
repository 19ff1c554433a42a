"""The rows that are being folded: found or made, changed, marked, linked, erased. No database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.models import Conversation, HydratedModel, Mark, Message, MirrorModel, Ticket
from bloonio_chat.sdk.events import LONGEST_ID

# A tenant's alias, and the relay's id.
Key = tuple[str, str]

# What ``synced_from`` says of a row that nothing has been folded into yet; no such row is ever committed.
BARE: Final = ""

_Row = TypeVar("_Row", bound=MirrorModel)

_KEPT: Final = ("id", "tenant", "relay_id")
_TICK: Final = timedelta(microseconds=1)


@dataclass
class Rows:
    """The rows that are being folded, by their keys; one that is asked for and not there is made, *bare*.

    ``now`` is what marks and ``synced_at`` say; ``forgotten`` when visitors were forgotten, by alias and visitor id;
    ``keeps_messages`` the setting ``MIRROR_MESSAGES``. ``links`` has the relay's id of the conversation that a message
    or ticket belongs to; ``changed`` what is to be written, ``erased`` the conversations whose messages must go.
    """

    now: datetime
    forgotten: Mapping[Key, datetime] = field(default_factory=dict)
    keeps_messages: bool = True
    conversations: dict[Key, Conversation] = field(default_factory=dict)
    messages: dict[Key, Message] = field(default_factory=dict)
    tickets: dict[Key, Ticket] = field(default_factory=dict)
    changed: dict[tuple[type[MirrorModel], Key], MirrorModel] = field(default_factory=dict)
    erased: set[Key] = field(default_factory=set)
    links: dict[tuple[type[MirrorModel], Key], str] = field(default_factory=dict)
    _tickets_of: dict[Key, set[Key]] = field(default_factory=dict)

    def conversation(self, tenant: str, relay_id: str | None) -> Conversation | None:
        """Return a conversation's row; ``None`` where no conversation is named."""
        return _found(self.conversations, Conversation, tenant, relay_id)

    def ticket(self, tenant: str, relay_id: str | None) -> Ticket | None:
        """Return a ticket's row; ``None`` where no ticket is named."""
        return _found(self.tickets, Ticket, tenant, relay_id)

    def message(self, tenant: str, relay_id: str | None) -> Message | None:
        """Return a message's row; ``None`` where no message is named."""
        return _found(self.messages, Message, tenant, relay_id)

    def link(self, child: Message | Ticket, conversation_id: str) -> bool:
        """Say which conversation a message or ticket belongs to, and return whether that was news."""
        place = (type(child), key_of(child))
        before = self.links.get(place, "")
        # Two conversations for one child can only be an error of the relay's; the same one must win in any order.
        if conversation_id <= before:
            return False
        self.links[place] = conversation_id
        if isinstance(child, Ticket):
            self._tickets_of.get((child.tenant, before), set()).discard(place[1])
            self._tickets_of.setdefault((child.tenant, conversation_id), set()).add(place[1])
        return True

    def tickets_of(self, conversation: Conversation) -> list[Ticket]:
        """Return a conversation's tickets, as far as they are here."""
        return [self.tickets[key] for key in sorted(self._tickets_of.get(key_of(conversation), ()))]

    def forgotten_at(self, tenant: str, visitor: str | None, time: datetime) -> datetime | None:
        """Return when a visitor was forgotten, if that was not before ``time``: then what happened is not kept."""
        since = self.forgotten.get((tenant, visitor)) if visitor else None
        return since if since is not None and time <= since else None

    def assign(self, row: MirrorModel, source: str, **values: Any) -> None:
        """Give columns these values, and note whether that changed anything."""
        different = {name: value for name, value in values.items() if getattr(row, name) != value}
        for name, value in different.items():
            setattr(row, name, value)
        if different:
            self.touch(row, source)

    def touch(self, row: MirrorModel, source: str) -> None:
        """Note that a row was changed, and from what."""
        row.synced_at, row.synced_from = self.now, source
        self.changed[type(row), key_of(row)] = row

    def mark(self, row: HydratedModel, source: str) -> None:
        """Mark a row for hydration, later than it was marked before."""
        before = row.marked_at
        marked_at = self.now if before is None or before < self.now else before + _TICK
        self.assign(row, source, marked_at=marked_at, waiting_since=row.waiting_since or marked_at)

    def settle(self, row: HydratedModel, source: str, mark: Mark) -> None:
        """Let the mark fall that was read before a fetch; what has marked the row since begins to wait."""
        marked_at = None if row.marked_at == mark.marked_at else row.marked_at
        self.assign(row, source, marked_at=marked_at, waiting_since=marked_at)

    def forget(self, row: Conversation | Ticket, forgotten_at: datetime) -> None:
        """Erase all but a row's ids; of a conversation, also its tickets and messages."""
        if row.forgotten_at is not None:
            self.assign(row, row.synced_from, forgotten_at=max(row.forgotten_at, forgotten_at))
            return
        erase(row, forgotten_at)
        self.changed[type(row), key_of(row)] = row
        if isinstance(row, Ticket):
            link = self.links.pop((Ticket, key_of(row)), "")
            self._tickets_of.get((row.tenant, link), set()).discard(key_of(row))
            return
        for ticket in self.tickets_of(row):
            self.forget(ticket, forgotten_at)
        self._tickets_of.pop(key_of(row), None)
        self.erased.add(key_of(row))
        for key in [key for key in self.messages if self.links.get((Message, key)) == row.relay_id]:
            if key[0] == row.tenant:
                self.drop(self.messages[key])

    def drop(self, message: Message) -> None:
        """Let go of a message that is to be deleted, or was never to be kept."""
        place = (Message, key_of(message))
        del self.messages[place[1]]
        self.links.pop(place, None)
        self.changed.pop(place, None)

    def hear_of(self, row: HydratedModel, source: str, time: datetime) -> None:
        """Let a stub's times stand for those of the object that is not there yet."""
        if is_bare(row):
            self.assign(row, source, created_at=time, updated_at=time)
            self.touch(row, source)
        elif row.fetched_at is None:
            self.assign(row, source, created_at=min(row.created_at, time), updated_at=max(row.updated_at, time))

    def tie(self, ticket: Ticket, source: str, conversation: Conversation | None, escalation_id: str | None) -> None:
        """Say what a ticket belongs to, which never changes."""
        if conversation is not None and self.link(ticket, conversation.relay_id):
            self.touch(ticket, source)
        if escalation_id:
            self.assign(ticket, source, escalation_id=max(ticket.escalation_id, cut(escalation_id)))

    def compute(self, row: Conversation | Ticket, source: str) -> None:
        """Compute the columns of a row that its facts tell."""
        if isinstance(row, Ticket):
            self.assign(row, source, **facts.ticket_state(row.facts, row.base, row.as_of)._asdict())
        else:
            self.assign(row, source, **facts.operator_state(row.facts)._asdict())


def is_bare(row: MirrorModel) -> bool:
    """Return whether nothing has been folded into a row yet."""
    return row.synced_from == BARE


def cut(text: str) -> str:
    """Return as much of a text as its column takes."""
    return text[:LONGEST_ID]


def key_of(row: MirrorModel) -> Key:
    """Return what a row is known by."""
    return row.tenant, row.relay_id


def erase(row: HydratedModel, forgotten_at: datetime) -> None:
    """Leave nothing of a row but its ids, and the time at which it was forgotten."""
    for column in row._meta.concrete_fields:
        if column.name not in _KEPT and not column.generated:
            setattr(row, column.attname, column.get_default())
    row.created_at = row.updated_at = row.synced_at = row.forgotten_at = forgotten_at


def _found(known: dict[Key, _Row], model: type[_Row], tenant: str, relay_id: str | None) -> _Row | None:
    if not relay_id or len(relay_id) > LONGEST_ID:
        return None
    row = known.get((tenant, relay_id))
    if row is None:
        row = known[tenant, relay_id] = model(tenant=tenant, relay_id=relay_id, synced_from=BARE)
    return row
