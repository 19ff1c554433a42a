"""Reading all that one tenant's relay lists into the mirror: the work of ``bloonio_sync``.

What a list shows to be as it was is passed over: a conversation that has not changed costs no call of its own. Lists
shift while they are read; so pages overlap, and the beginning is read once more at the end. What is read twice, or was
read by a run that was killed, ends in the same rows. An object that can't be read or written hides no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.db import router

from bloonio_chat.conf import get_config
from bloonio_chat.mirror import checkpoints, rates
from bloonio_chat.mirror.comparing import count_changed, is_behind
from bloonio_chat.mirror.fetching import MESSAGES, NO_MESSAGES, Messages, Page, bundle, fetch_messages
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.hydration import drain
from bloonio_chat.mirror.marks import count_marked, settled_mark
from bloonio_chat.mirror.models import FROM_SYNC, Conversation, HydratedModel, Mark, SyncCheckpoint, Ticket
from bloonio_chat.mirror.pacing import PERHAPS_OF_ONE, PacedCaller, StoppedError
from bloonio_chat.mirror.piecewise import merge_each
from bloonio_chat.mirror.scope import Thing, changed_at, left_out
from bloonio_chat.mirror.walking import OVERLAP, Walk
from bloonio_chat.sdk import operations, types
from bloonio_chat.sdk.errors import ChatRelayError, ChatRelayNotFoundError, ChatRelayRateLimitError
from bloonio_chat.sdk.operations import LARGEST_LIMIT, Operation

logger = logging.getLogger("bloonio_chat.mirror")

CONVERSATIONS: Final = "conversations"
TICKETS: Final = "tickets"

_ROWS_AT_ONCE: Final = 50
# How far the beginning of a list is read once more, at the most.
_MOST_HEAD_PAGES: Final = 5

_LISTS: Final[dict[str, Callable[..., Operation[Any]]]] = {
    CONVERSATIONS: operations.list_conversations,
    TICKETS: operations.list_tickets,
}
_MODELS: Final[dict[str, type[HydratedModel]]] = {CONVERSATIONS: Conversation, TICKETS: Ticket}


@dataclass
class Counts:
    """What a sync has done.

    ``conversations``, ``messages`` and ``tickets`` were read, ``changed`` of them were new here or not as they are;
    ``hydrated`` rows were fetched since events had marked them, and so many are ``waiting`` for that still. ``failed``
    could not be read or not be written: the log says which.
    """

    conversations: int = 0
    messages: int = 0
    tickets: int = 0
    changed: int = 0
    hydrated: int = 0
    waiting: int = 0
    failed: int = 0


@dataclass
class Reading:
    """One tenant's relay being read; ``since`` leaves out what has not changed since then."""

    caller: PacedCaller
    counts: Counts
    since: datetime | None = None
    dry_run: bool = False
    _is_restart: bool = False
    _failed: set[str] = field(default_factory=set)
    # The list that is being read, and what is written down of it.
    _walk: Walk = field(default_factory=Walk)
    _checkpoint: SyncCheckpoint | None = None

    @property
    def tenant(self) -> str:
        """The tenant's alias."""
        return self.caller.tenant

    def total(self) -> int | None:
        """Return how many objects the relay lists; ``None`` where it does not say, or not at once."""
        impatient = replace(self.caller, patience=1)
        total = 0
        for resource in _LISTS:
            try:
                its = impatient.page(_LISTS[resource](limit=1)).total
            except ChatRelayNotFoundError:
                its = 0
            except ChatRelayError:
                its = None
            if its is None:
                return None
            total += its
        return total

    def read_lists(self, *, restart: bool) -> None:
        """Read all lists, from where a run that was killed has left them.

        ``restart``: from the beginning, and also the messages of conversations that seem to be as they were.
        Raises ``ChatRelayError`` where the relay does not answer in spite of all patience, and ``StoppedError``.
        """
        found: dict[str, SyncCheckpoint] = {}
        if not self.dry_run:
            pacing = self.caller.pacing
            found = checkpoints.open_run(self.tenant, list(_LISTS), pacing, since=self.since, restart=restart)
        self._is_restart = restart or any(checkpoint.is_restart for checkpoint in found.values())
        for resource in _LISTS:
            self._checkpoint = found.get(resource)
            self._walk = Walk() if self._checkpoint is None else Walk.at(self._checkpoint.position)
            self._failed.update(map(_messages_of, self._walk.failed))
            if self._walk.in_vain:
                self.caller.objects_in_vain[MESSAGES] = self._walk.in_vain
            # What a run that was killed has read counts as done.
            self._advance(self._walk.read)
            if self._checkpoint is None or self._checkpoint.finished_at is None:
                self._read_list(resource, self._walk)

    def drain_marked(self, *, is_all: bool) -> None:
        """Fetch what is marked until nothing is due; raises like :meth:`read_lists`.

        ``is_all``: there is nothing else to do, so that this is what shows how far the work is.
        """
        pacing, failures = self.caller.pacing, 0
        while True:
            drained = drain(
                self.tenant,
                limit=_ROWS_AT_ONCE,
                despite_pause=True,
                stop=pacing.stop,
                clock=pacing.clock,
                random=pacing.random,
            )
            self.counts.hydrated += drained.fetched
            pacing.report.advance(drained.fetched if is_all else 0)
            if pacing.stop():
                raise StoppedError
            if drained.fetched:
                failures = 0
            if drained.wait_ms:
                pacing.wait(drained.wait_ms / 1000, f"the calls of tenant {self.tenant} are used up")
            elif isinstance(drained.error, ChatRelayRateLimitError):
                continue
            elif isinstance(drained.error, PERHAPS_OF_ONE):
                if not self.caller.answers():
                    raise drained.error
                # So the next one at which it fails waits longer each time, and is not taken for all of them.
                rates.note_success(self.tenant)
            elif drained.error is not None:
                failures += 1
                self.caller.be_patient(drained.error, failures)
            elif not drained.fetched and not drained.failed:
                break
        self.count_waiting()

    def count_waiting(self) -> None:
        """Count what is marked."""
        self.counts.waiting += count_marked(self.tenant)

    # ---- lists -------------------------------------------------------------------------------------------------

    def _read_list(self, resource: str, walk: Walk) -> None:
        while not walk.is_done:
            began_at = self.caller.pacing.now()
            page = self._page(resource, walk.offset)
            if page is None:
                self.caller.pacing.report.line(f"The relay of tenant {self.tenant} lists no {resource}.")
                walk.is_done = True
            else:
                for relay_id in page.unreadable:
                    self._note_failed(f"{resource} {relay_id!a}")
                self._advance(sum(relay_id not in walk.tail for relay_id in page.unreadable))
                self._take(resource, [each for each in page.items if each.id not in walk.tail], began_at)
                walk.take(page.ids)
                if walk.is_done and not self.dry_run:
                    self._read_head(resource, walk)
            if self._checkpoint is not None:
                walk.in_vain = self.caller.objects_in_vain.get(MESSAGES, 0)
                checkpoints.reach(self._checkpoint, walk, now=self.caller.pacing.now())
                self.caller.has_moved_on = True

    def _read_head(self, resource: str, walk: Walk) -> None:
        """Read the beginning again, as far as anything has changed: what moved there passed us by."""
        offset = 0
        for _ in range(_MOST_HEAD_PAGES):
            began_at = self.caller.pacing.now()
            page = None if walk.offset <= walk.full else self._page(resource, offset)
            if page is None or not page.items or not self._take(resource, page.items, began_at, is_head=True):
                return
            offset += len(page.ids) - min(OVERLAP, len(page.ids) // 2)

    def _page(self, resource: str, offset: int) -> Page[Any] | None:
        try:
            return self.caller.page(_LISTS[resource](limit=LARGEST_LIMIT, offset=offset))
        except ChatRelayNotFoundError:
            return None

    def _take(self, resource: str, things: Collection[Any], began_at: datetime, *, is_head: bool = False) -> int:
        """Bring the mirror up to date with what a page shows; return how many were not."""
        before = self.counts.changed
        rows = self._rows(_MODELS[resource], things)
        unwanted = left_out(self.tenant, things, rows, now=self.caller.pacing.now())
        wanted = [
            thing
            for thing in sorted(things, key=lambda each: str(each.id))
            if thing.id not in unwanted and (self.since is None or changed_at(thing) >= self.since)
        ]
        # What is read once more was counted before.
        each = 0 if is_head else 1
        if resource == CONVERSATIONS:
            for thing in wanted:
                self._take_conversation(thing, rows.get(thing.id), began_at)
                self.counts.conversations += each
                self._advance(each)
        else:
            self._take_tickets(wanted, rows, began_at)
            self.counts.tickets += each * len(wanted)
            self._advance(each * len(wanted))
        self._advance(each * (len(things) - len(wanted)))
        return self.counts.changed - before

    def _advance(self, count: int) -> None:
        if self.caller.pacing.stop():
            raise StoppedError
        if count:
            self.caller.pacing.report.advance(count)

    def _take_conversation(self, thing: types.Conversation, row: Conversation | None, began_at: datetime) -> None:
        if checkpoints.is_noted(self._walk, thing.id, changed_at(thing)):
            return
        mark, what = settled_mark(row, began_at), _messages_of(thing.id)
        is_news = row is None or is_behind(row, thing)
        wants_messages = self._wants_messages(thing, row, mark)
        asks = wants_messages and what not in self._failed
        messages = self._messages(thing, is_first=row is None or row.fetched_at is None) if asks else None
        if wants_messages and messages is None and what in self._failed:
            # The mark stays, since its messages are still to be fetched.
            mark = None
        self.counts.changed += is_news
        if is_news or messages is not None or mark is not None:
            self._merge(bundle(self.tenant, thing, messages, began_at=began_at, mark=mark, source=FROM_SYNC))
        if asks:
            self._note(thing)

    def _messages(self, thing: types.Conversation, *, is_first: bool) -> Messages | None:
        """Return a conversation's messages; ``None`` where they are to be asked for again.

        ``is_first``: they were never asked for.
        """
        try:
            messages = fetch_messages(self.caller, thing.id)
        except ChatRelayError as error:
            is_of_one = self.caller.is_of_one(error)
            if not is_of_one and not self.caller.fails_at_all():
                raise
            logger.warning("Tenant %s: messages of %a are not read: %s", self.tenant, thing.id, error)
            self._note_failed(_messages_of(thing.id))
            self._walk.failed.append(thing.id)
            if not is_of_one:
                # Who goes on tries another one: so many neighbours in trouble keep nobody from what is behind them.
                self._note(thing)
                raise
            return None
        if messages is None:
            now_ms = self.caller.pacing.now_ms()
            is_missing = rates.note_missing(self.tenant, MESSAGES, now_ms=now_ms, is_news=is_first)
            # A second such answer, where the relay has the route: there are none, until the conversation changes.
            return None if is_first or is_missing else NO_MESSAGES
        rates.note_success(self.tenant, MESSAGES)
        self.counts.messages += len(messages.listed)
        if messages.unreadable:
            self._note_failed(_messages_of(thing.id), messages.unreadable)
        self.counts.changed += count_changed(self.tenant, messages.listed)
        return messages

    def _note(self, thing: types.Conversation) -> None:
        """Write down that a conversation's messages were asked for, whatever came of that."""
        if self._checkpoint is not None:
            self._walk.in_vain = self.caller.objects_in_vain.get(MESSAGES, 0)
            checkpoints.note(self._checkpoint, self._walk, thing.id, changed_at(thing), now=self.caller.pacing.now())
            self.caller.has_moved_on = True

    def _wants_messages(self, thing: types.Conversation, row: Conversation | None, mark: Mark | None) -> bool:
        if not get_config().app.mirror_messages:
            return False
        as_of = None if row is None or mark is not None else row.messages_as_of
        if as_of is not None and as_of >= changed_at(thing) and not self._is_restart:
            return False
        return MESSAGES not in rates.missing_routes(self.tenant, now_ms=self.caller.pacing.now_ms())

    def _take_tickets(self, things: Collection[types.Ticket], rows: Mapping[str, Ticket], began_at: datetime) -> None:
        batch = []
        for thing in things:
            row = rows.get(thing.id)
            mark = settled_mark(row, began_at)
            is_news = row is None or is_behind(row, thing)
            self.counts.changed += is_news
            if is_news or mark is not None:
                batch.append(Fetched(self.tenant, thing, began_at, FROM_SYNC, mark))
        self._merge(batch)

    def _merge(self, batch: list[Fetched]) -> None:
        """Write objects; where the database takes one of them ill, the others by themselves."""
        for refused in [] if self.dry_run else merge_each(batch):
            self._note_failed(refused.what)

    def _note_failed(self, what: str, count: int = 1) -> None:
        """Count what could not be read or written, once: lists overlap."""
        if what not in self._failed:
            self._failed.add(what)
            self.counts.failed += count

    # ---- rows --------------------------------------------------------------------------------------------------

    def _rows(self, model: type[Any], things: Collection[Thing]) -> dict[str, Any]:
        rows = model.objects.using(router.db_for_write(model))
        if model is Ticket:
            rows = rows.select_related("conversation")
        found = rows.filter(tenant=self.tenant, relay_id__in=[thing.id for thing in things])
        return {row.relay_id: row for row in found}


def _messages_of(conversation_id: str) -> str:
    return f"messages of {conversation_id!a}"
