"""Comparing one tenant's rows with what its relay says, in one direction and then in the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from django.db import router
from django.db.models import Max, Min, QuerySet

from bloonio_chat.conf import get_config
from bloonio_chat.mirror import findings as found_as
from bloonio_chat.mirror.comparing import differences
from bloonio_chat.mirror.fetching import Caller, Messages, Page, fetch_conversation, fetch_messages, fetch_ticket
from bloonio_chat.mirror.findings import Findings
from bloonio_chat.mirror.models import Conversation, HydratedModel, Message, Ticket
from bloonio_chat.mirror.pacing import PacedCaller
from bloonio_chat.mirror.scope import Thing, left_out
from bloonio_chat.mirror.walking import Walk
from bloonio_chat.sdk import operations, types
from bloonio_chat.sdk.errors import ChatRelayError, ChatRelayNotFoundError
from bloonio_chat.sdk.operations import LARGEST_LIMIT, Operation

_BATCH: Final = 500
# So many of a sample come from one page.
_SAMPLE_PAGE: Final = 10


class _Kind(NamedTuple):
    """Conversations, or tickets: how they are called, and how the relay is asked for them."""

    name: str
    model: type[HydratedModel]
    list: Callable[..., Operation[Any]]
    fetch: Callable[[Caller, str], Any]


_KINDS: Final = (
    _Kind("conversation", Conversation, operations.list_conversations, fetch_conversation),
    _Kind("ticket", Ticket, operations.list_tickets, fetch_ticket),
)


@dataclass
class Examination:
    """One tenant's comparison. Each id that the relay lists is remembered till the end, in some 75 bytes of memory."""

    caller: PacedCaller
    findings: Findings
    _seen: set[bytes] = field(default_factory=set)

    def all(self) -> None:
        """Compare everything. Raises ``ChatRelayError`` where the relay does not answer in spite of all patience."""
        for kind in _KINDS:
            self._seen.clear()
            if self._walk(kind):
                for row in _in_batches(self._rows(kind).filter(forgotten_at=None)):
                    if _digest(row.relay_id) not in self._seen:
                        self._examine_row(kind, row)

    def sample(self, count: int) -> None:
        """Compare so many conversations and so many tickets, half of them from each side; raises like :meth:`all`."""
        for kind in _KINDS:
            self._seen.clear()
            theirs = (count + 1) // 2
            if self._sample_listed(kind, theirs):
                for row in self._random_rows(kind, count - theirs):
                    if _digest(row.relay_id) not in self._seen:
                        self._examine_row(kind, row)

    def total(self) -> int:
        """Return how many conversations and tickets there are here to compare."""
        return sum(self._rows(kind).filter(forgotten_at=None).count() for kind in _KINDS)

    def give_up(self, reason: str, compared_before: int) -> None:
        """Count all rows as unknown that were not compared; ``compared_before`` is how many others' were."""
        rows = self.total()
        if get_config().app.mirror_messages:
            rows += Message.objects.using(_using()).filter(tenant=self.caller.tenant).count()
        self.findings.note_unknown(reason, max(0, rows - (self.findings.compared - compared_before)))

    # ---- from the relay's side ---------------------------------------------------------------------------------

    def _walk(self, kind: _Kind) -> bool:
        walk = Walk()
        while not walk.is_done:
            began_at = self._now()
            page = self._page(kind, walk.offset, LARGEST_LIMIT)
            if page is None:
                return False
            self._note_unreadable([relay_id for relay_id in page.unreadable if relay_id not in walk.tail])
            self._examine_listed(kind, [each for each in page.items if each.id not in walk.tail], began_at)
            walk.take(page.ids)
        return True

    def _sample_listed(self, kind: _Kind, count: int) -> bool:
        first = self._page(kind, 0, 1)
        if first is None:
            return False
        total = first.total if first.total is not None else LARGEST_LIMIT
        left = min(count, total)
        while left > 0:
            size = min(_SAMPLE_PAGE, left)
            offset = int(self.caller.pacing.random() * max(1, total - size + 1))
            began_at = self._now()
            page = self._page(kind, offset, size)
            if page is None or not page.ids:
                break
            self._note_unreadable([each for each in page.unreadable if _digest(each) not in self._seen])
            self._examine_listed(kind, [each for each in page.items if _digest(each.id) not in self._seen], began_at)
            left -= size
        return True

    def _page(self, kind: _Kind, offset: int, limit: int) -> Page[Any] | None:
        """Return a page; ``None`` where the relay has no such list, and all rows are unknown."""
        try:
            return self.caller.page(kind.list(limit=limit, offset=offset))
        except ChatRelayNotFoundError:
            self.findings.note_unknown(found_as.NO_ROUTE, self._rows(kind).filter(forgotten_at=None).count())
            return None

    def _note_unreadable(self, relay_ids: Collection[str]) -> None:
        self._seen.update(map(_digest, relay_ids))
        self.caller.pacing.report.advance(len(relay_ids))
        if relay_ids:
            self.findings.note_unknown(found_as.UNREADABLE, len(relay_ids))

    def _examine_listed(self, kind: _Kind, things: Collection[Any], began_at: datetime) -> None:
        found = self._rows(kind).filter(relay_id__in=[thing.id for thing in things])
        rows = {row.relay_id: row for row in found}
        unwanted = left_out(self.caller.tenant, things, rows, now=self._now())
        for thing in things:
            self._seen.add(_digest(thing.id))
            self.caller.pacing.report.advance()
            if thing.id in unwanted:
                continue
            row = rows.get(thing.id)
            if row is None:
                self.findings.note_missing(self._named(kind, thing.id))
            elif row.synced_at >= began_at and differences(row, thing):
                # Somebody was faster than we are: both sides are looked at once more.
                self._examine_row(kind, row)
            else:
                self._compare(kind, row, thing, began_at)

    # ---- from the mirror's side --------------------------------------------------------------------------------

    def _examine_row(self, kind: _Kind, row: HydratedModel) -> None:
        """Compare a row with what the relay says when it is asked for this one."""
        began_at = self._now()
        try:
            thing = kind.fetch(self.caller, row.relay_id)
        except ChatRelayNotFoundError:
            if row.fetched_at is None:
                self.findings.note_unknown(found_as.NOT_FOUND)
            else:
                self.findings.note_extra(self._named(kind, row.relay_id))
            return
        except ChatRelayError as error:
            self._excuse(error)
            return
        again = self._rows(kind).filter(pk=row.pk, forgotten_at=None).first()
        if again is not None:
            self._compare(kind, again, thing, began_at)

    def _random_rows(self, kind: _Kind, count: int) -> Iterator[HydratedModel]:
        rows = self._rows(kind).filter(forgotten_at=None)
        ends = rows.aggregate(first=Min("pk"), last=Max("pk"))
        if ends["first"] is None:
            return
        seen: set[int] = set()
        for _ in range(count):
            pk = ends["first"] + int(self.caller.pacing.random() * (ends["last"] - ends["first"] + 1))
            row = rows.filter(pk__gte=pk).order_by("pk").first()
            if row is not None and row.pk not in seen:
                seen.add(row.pk)
                yield row

    # ---- one row -----------------------------------------------------------------------------------------------

    def _compare(self, kind: _Kind, row: Any, thing: Thing, began_at: datetime) -> None:
        columns = differences(row, thing)
        if not columns and row.fetched_at is not None:
            self.findings.note_equal()
        elif row.synced_at >= began_at:
            self.findings.note_unknown(found_as.CHANGING)
        else:
            columns = columns if row.fetched_at is not None else []
            self.findings.note_stale(self._named(kind, thing.id), columns, is_marked=row.marked_at is not None)
        if isinstance(thing, types.Conversation) and get_config().app.mirror_messages:
            self._compare_messages(row, thing)

    def _compare_messages(self, conversation: Conversation, thing: types.Conversation) -> None:
        began_at = self._now()
        try:
            messages = fetch_messages(self.caller, thing.id)
        except ChatRelayError as error:
            self._excuse(error, Message.objects.using(_using()).filter(conversation=conversation.pk).count())
            return
        kept = Message.objects.using(_using()).filter(conversation=conversation.pk).select_related("conversation")
        rows = {row.relay_id: row for row in kept}
        if messages is None:
            self.findings.note_unknown(found_as.NO_ROUTE, len(rows))
            return
        for message in messages.listed:
            row, named = rows.pop(message.id, None), f"{self.caller.tenant}: message {message.id}"
            if row is None:
                self.findings.note_missing(named)
            elif row.fetched_at is None or (columns := differences(row, message)):
                columns = [] if row.fetched_at is None else columns
                self.findings.note_stale(named, columns, is_marked=conversation.marked_at is not None)
            else:
                self.findings.note_equal()
        self._account_for(list(rows.values()), messages, began_at)

    def _account_for(self, unlisted: Collection[Message], messages: Messages, began_at: datetime) -> None:
        """Note the rows that are not among the messages that could be read, and those that could not."""
        if messages.unreadable > len(unlisted):
            self.findings.note_unknown(found_as.UNREADABLE, messages.unreadable - len(unlisted))
        for row in unlisted:
            if row.synced_at >= began_at:
                self.findings.note_unknown(found_as.CHANGING)
            elif messages.unreadable:
                # It may be one of those.
                self.findings.note_unknown(found_as.UNREADABLE)
            elif messages.is_truncated:
                self.findings.note_unknown(found_as.TRUNCATED)
            elif row.fetched_at is None:
                self.findings.note_unknown(found_as.NOT_FOUND)
            else:
                self.findings.note_extra(f"{self.caller.tenant}: message {row.relay_id}")

    def _excuse(self, error: ChatRelayError, rows: int = 1) -> None:
        """Note that so many rows can't be compared; raise the error where it hides others than these."""
        if not self.caller.is_of_one(error):
            raise error
        self.findings.note_unknown(found_as.UNREADABLE, max(1, rows))

    def _rows(self, kind: _Kind) -> QuerySet[Any]:
        rows: QuerySet[Any] = kind.model._default_manager.using(_using()).filter(tenant=self.caller.tenant)
        return rows.select_related("conversation") if kind.model is Ticket else rows

    def _named(self, kind: _Kind, relay_id: str) -> str:
        return f"{self.caller.tenant}: {kind.name} {relay_id}"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.caller.pacing.clock(), timezone.utc)


def _in_batches(rows: QuerySet[Any]) -> Iterator[Any]:
    last = 0
    while some := list(rows.filter(pk__gt=last).order_by("pk")[:_BATCH]):
        yield from some
        last = some[-1].pk


def _digest(relay_id: str) -> bytes:
    return hashlib.blake2b(relay_id.encode(), digest_size=8).digest()


def _using() -> str:
    return router.db_for_write(Conversation)
