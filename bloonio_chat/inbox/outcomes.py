"""Writing down what became of deliveries: the ledger's rows and the events' states, in one transaction with the lease.

Outcomes of quick receivers are gathered for a moment and written together; a slow receiver's at once. So a worker that
is killed loses at most what happened in that moment, and what is delivered twice is bounded by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, OperationalError, connections, transaction
from django.utils.timezone import now

from bloonio_chat.callbacks.delivery import PROJECTION
from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.lanes import Lease
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.signals import delivery_failed

logger = logging.getLogger("bloonio_chat.inbox")

# As many as a batch of events makes with one receiver: a receipt and a state for each.
MOST_UNWRITTEN: Final = 400
LONGEST_UNWRITTEN_SECONDS: Final = 0.25
# A database that restarts is waited for, as long as the lease may hold.
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(eq=False)
class Delivery:
    """One event on its way: its row, what it says, and the ledger as it was read and as it has become."""

    row: InboxEvent
    # As the row was found, so that an attempt that never began can be taken back.
    found_as: str
    event: WebhookEvent | None = None
    unreadable: str = ""
    receipts: dict[str, InboxReceipt] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def has_had(self, receiver: str) -> bool:
        """Return whether the receiver is done with this event."""
        receipt = self.receipts.get(receiver)
        return receipt is not None and receipt.succeeded


@dataclass
class Tally:
    """How many events came out how."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.delivered + self.failed + self.dead

    def add(self, other: Tally) -> None:
        """Count the other's too."""
        self.delivered += other.delivered
        self.failed += other.failed
        self.dead += other.dead


class Outcomes:
    """What a worker has yet to write down, for the lanes that it holds."""

    def __init__(
        self,
        lease: Lease,
        *,
        max_attempts: int,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.tally = Tally()
        self._lease = lease
        self._max_attempts = max_attempts
        self._monotonic = monotonic
        self._random = random
        self._sleep = sleep
        self._renewed_at = monotonic()
        self._receipts: list[tuple[str, InboxReceipt]] = []
        self._finished: list[Delivery] = []
        # Of those, the ones that a person has decided about meanwhile.
        self._overruled: list[Delivery] = []

    def note(self, delivery: Delivery, receiver: str, error: str | None, *, is_written: bool = False) -> None:
        """Take what became of one receiver; ``error`` is its description, ``None`` for a success."""
        old = delivery.receipts.get(receiver)
        receipt = InboxReceipt(
            event_id=delivery.row.pk,
            receiver=receiver,
            succeeded=error is None,
            attempts=1 if old is None else old.attempts + 1,
            last_error=error or (old.last_error if old else ""),
            updated_at=now(),
        )
        delivery.receipts[receiver] = receipt
        if error is not None:
            delivery.errors[receiver] = error
        if not is_written:
            self._receipts.append((delivery.row.lane, receipt))

    def finish(self, delivery: Delivery) -> None:
        """Take an event whose attempt has ended: delivered, if ``delivery.errors`` is empty."""
        self._finished.append(delivery)

    def is_last(self, delivery: Delivery, patience: int) -> bool:
        """Return whether this attempt is the last one, or has ``patience`` attempts with it."""
        return delivery.row.attempts >= min(patience, self._max_attempts)

    def retry_delay_ms(self, attempts: int) -> int:
        """Return how long to wait after so many attempts, in milliseconds."""
        return states.retry_delay_ms(attempts, self._random)

    def has_unwritten(self) -> bool:
        """Return whether anything has gathered."""
        return bool(self._receipts or self._finished)

    def is_time(self) -> bool:
        """Return whether to write now, and renew the lease: enough has gathered, or time has passed.

        Since the last renewal, and not since the first outcome: each receiver has the whole lease, or nearly.
        """
        has_enough = len(self._receipts) + len(self._finished) >= MOST_UNWRITTEN
        return has_enough or self._monotonic() - self._renewed_at >= LONGEST_UNWRITTEN_SECONDS

    def write(self) -> set[str]:
        """Write what has gathered, and renew the lease; return the lanes that were lost, whose outcomes are dropped."""
        lost = self._written_patiently()
        if lost:
            logger.warning(
                "A worker lost %d lane(s) to another one: a receiver took longer than "
                "BLOONIO_CHAT_INBOX_LEASE_SECONDS, or the worker stood still. Their events are delivered again.",
                len(lost),
            )
        finished = [delivery for delivery in self._finished if delivery.row.lane in self._lease.lanes]
        self._receipts, self._finished = [], []
        for delivery in finished:
            if delivery not in self._overruled:
                self._count(delivery)
        return lost

    def _written_patiently(self) -> set[str]:
        for pause in _PAUSES:
            try:
                return self._write()
            except (OperationalError, InterfaceError):
                connection = connections[self._lease.using]
                if connection.in_atomic_block or self._monotonic() - self._renewed_at > self._lease.seconds:
                    raise
                connection.close()
                self._sleep(pause)
            except DatabaseError:
                # A character that this database's own encoding lacks, in what a receiver raised: no reason to lose
                # what became of all the others.
                self._make_plain()
                return self._write()
        return self._write()

    def _make_plain(self) -> None:
        for _, receipt in self._receipts:
            receipt.last_error = _plain(receipt.last_error)
        for delivery in self._finished:
            delivery.errors = {receiver: _plain(error) for receiver, error in delivery.errors.items()}

    def _write(self) -> set[str]:
        using = self._lease.using
        before = set(self._lease.lanes)
        try:
            with transaction.atomic(using=using):
                # Holds the lanes' rows until the end of the transaction: nobody takes them over in between.
                lost = self._lease.renew()
                # One that was lost before is in neither.
                held = self._lease.lanes
                self._write_receipts([receipt for lane, receipt in self._receipts if lane in held])
                self._write_states([delivery for delivery in self._finished if delivery.row.lane in held])
        except BaseException:
            self._lease.lanes = before
            raise
        self._renewed_at = self._monotonic()
        return lost

    def _write_receipts(self, receipts: list[InboxReceipt]) -> None:
        # One row for each, the latest: no database changes a row twice in one statement.
        by_place = {(receipt.event_id, receipt.receiver): receipt for receipt in receipts}
        for place in self._committed_after_all([receipt for receipt in by_place.values() if not receipt.succeeded]):
            del by_place[place]
        latest = list(by_place.values())
        if not latest:
            return
        names_its_target = connections[self._lease.using].features.supports_update_conflicts_with_target
        InboxReceipt.objects.using(self._lease.using).bulk_create(
            latest,
            update_conflicts=True,
            update_fields=["succeeded", "attempts", "last_error", "updated_at"],
            unique_fields=["event", "receiver"] if names_its_target else None,
        )

    def _committed_after_all(self, failed: list[InboxReceipt]) -> list[tuple[int, str]]:
        """Return event and receiver of those whose success stands in the ledger all the same.

        An atomic receiver's connection was cut between its COMMIT and the answer. Its event is tried again, and finds
        it there.
        """
        if not failed:
            return []
        places = {(receipt.event_id, receipt.receiver) for receipt in failed}
        succeeded = InboxReceipt.objects.using(self._lease.using).filter(
            event__in={event_id for event_id, _ in places}, succeeded=True
        )
        # The mirror is the one that may fail after it has succeeded.
        found = succeeded.exclude(receiver=PROJECTION).values_list("event_id", "receiver")
        return [place for place in found if place in places]

    def _write_states(self, finished: list[Delivery]) -> None:
        # Whoever retries or buries one that was left for dead is right, though its worker comes back.
        rows = InboxEvent.objects.using(self._lease.using)
        events = rows.filter(state=states.DELIVERING)
        self._overruled = []
        delivered = [delivery.row.pk for delivery in finished if not delivery.errors]
        if delivered:
            events.filter(pk__in=delivered).update(state=states.DELIVERED, due_ms=None, finished_at=now())
        for delivery in finished:
            if not delivery.errors:
                continue
            changes: dict[str, Any] = {"last_error": next(reversed(delivery.errors.values()))}
            if self._is_over(delivery):
                changes |= {"state": states.DEAD, "due_ms": None, "finished_at": now()}
            else:
                delay_ms = self.retry_delay_ms(delivery.row.attempts)
                changes |= {"state": states.FAILED, "due_ms": DatabaseClock() + delay_ms}
            ours = {"pk": delivery.row.pk, "attempts": delivery.row.attempts}
            is_written = events.filter(**ours).update(**changes)
            # Where the answer to a COMMIT was lost, it may be as it is to be already.
            if not is_written and not rows.filter(**ours, state=changes["state"]).exists():
                self._overruled.append(delivery)

    def _is_over(self, delivery: Delivery) -> bool:
        return delivery.row.attempts >= self._max_attempts

    def _count(self, delivery: Delivery) -> None:
        if not delivery.errors:
            self.tally.delivered += 1
        elif not self._is_over(delivery):
            self.tally.failed += 1
        else:
            self.tally.dead += 1
            _mourn(delivery)


def _plain(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _mourn(delivery: Delivery) -> None:
    """Tell the log and the project of an event that is given up."""
    row = delivery.row
    logger.critical(
        "Event %d (%s) of tenant %s is given up after %d attempts; %s did not succeed. Mend the cause, then retry it "
        "in the admin or with bloonio_process_inbox --event %d.",
        row.pk,
        row.event_type,
        row.tenant,
        row.attempts,
        ", ".join(delivery.errors),
        row.pk,
    )
    # What its receivers raise, Django logs.
    delivery_failed.send_robust(
        sender=WebhookEvent,
        event=delivery.event,
        tenant=row.tenant,
        errors=dict(delivery.errors),
        attempts=row.attempts,
        inbox_event_id=row.pk,
    )
