"""Delivering what is due in the lanes that a worker holds: the mirror first, then each receiver that lacks it."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from django.db import transaction
from django.db.models import F
from django.utils.timezone import now

from bloonio_chat.callbacks.delivery import PROJECTION, call, project, receivers_of
from bloonio_chat.callbacks.ports import Projectable, ports
from bloonio_chat.clients import get_chat_client
from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.lanes import Lease
from bloonio_chat.inbox.models import LONGEST_NAME, InboxEvent, InboxReceipt
from bloonio_chat.inbox.outcomes import Delivery, Outcomes
from bloonio_chat.inbox.scrubbing import describe
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.errors import EventError
from bloonio_chat.sdk.events import WebhookEvent, parse_event
from bloonio_chat.signals import ConnectedReceiver

logger = logging.getLogger("bloonio_chat.inbox")

# A worker that was killed has no name in the ledger but this.
WORKER: Final = "worker"
# Until this attempt receivers wait for the mirror, whose rows they expect; from then on they are called without it.
PROJECTION_PATIENCE: Final = 3


class LeaseLostError(Exception):
    """The lane went to another worker while a receiver ran in a transaction, which was undone."""


def read_due(lease: Lease, *, limit: int, event_id: int | None) -> list[Delivery]:
    """Return what is due in the lanes, lane by lane, each in the order in which it occurred; at most so many."""
    due = InboxEvent.objects.using(lease.using).filter(lane__in=sorted(lease.lanes), due_ms__lte=DatabaseClock())
    if event_id is not None:
        due = due.filter(pk=event_id)
    # The lane that waits longest goes first; within a lane, the relay's order.
    rows = list(due.order_by("due_ms")[:limit])
    first_due: dict[str, int] = {}
    for row in rows:
        first_due.setdefault(row.lane, len(first_due))
    rows.sort(key=lambda row: (first_due[row.lane], row.occurred_at, row.pk))
    deliveries = [Delivery(row, row.state) for row in rows]
    # Also for one without an attempt: retried by hand, or taken back, it has a ledger all the same.
    _read_ledger(lease.using, deliveries)
    for delivery in deliveries:
        _parse(delivery)
    return deliveries


def deliver(
    deliveries: Sequence[Delivery],
    lease: Lease,
    outcomes: Outcomes,
    *,
    max_attempts: int,
    is_enough: Callable[[], bool],
) -> None:
    """Deliver them, and note what becomes of each.

    ``is_enough`` is asked between two events; once it says yes, the rest is left as it was found. So it is with
    whatever ends the process.
    """
    # Suspects, and those whose last attempt this is: no other event's fault may cost them that.
    alone = {one for one in deliveries if one.found_as == states.DELIVERING or one.row.attempts + 1 >= max_attempts}
    begun = _begin([delivery for delivery in deliveries if delivery not in alone], lease)
    try:
        _project(list(begun), lease, outcomes)
        if outcomes.is_time():
            outcomes.write()
        # Suspects go last: what they may take with them has been delivered by then.
        for number, delivery in enumerate(sorted(deliveries, key=lambda one: one in alone)):
            # Not before the first: where the database is so slow that all time is over by then, nothing else would be.
            if number and is_enough():
                break
            if delivery.row.lane not in lease.lanes:
                continue
            if delivery in alone:
                _deliver_alone(delivery, lease, outcomes, max_attempts)
            elif delivery in begun:
                del begun[delivery]
                _deliver_one(delivery, lease, outcomes)
            if outcomes.is_time():
                outcomes.write()
    finally:
        # A full batch has just been written.
        if begun or outcomes.has_unwritten():
            outcomes.write()
        _take_back(begun, lease)


def _deliver_alone(delivery: Delivery, lease: Lease, outcomes: Outcomes, max_attempts: int) -> None:
    """Deliver one by itself: if its worker is killed, as the one before it may have been, that hits no other event."""
    outcomes.write()
    if delivery.row.lane not in lease.lanes:
        return
    if delivery.found_as == states.DELIVERING and delivery.row.attempts >= max_attempts:
        problem = f"The worker was killed, or lost the lease, in {delivery.row.attempts} attempts."
        outcomes.note(delivery, WORKER, problem)
        outcomes.finish(delivery)
        return
    row = delivery.row
    as_found = InboxEvent.objects.using(lease.using).filter(pk=row.pk, state=delivery.found_as, attempts=row.attempts)
    # If it ends its worker, it is not due any more once the lane is free again: its conversation goes on without it.
    away_ms = lease.seconds * 1000 + outcomes.retry_delay_ms(row.attempts + 1)
    if not as_found.update(state=states.DELIVERING, attempts=F("attempts") + 1, due_ms=DatabaseClock() + away_ms):
        # Given up, or retried, by hand since.
        return
    row.attempts += 1
    _project([delivery], lease, outcomes)
    if outcomes.is_time():
        outcomes.write()
    if row.lane in lease.lanes:
        _deliver_one(delivery, lease, outcomes)
        outcomes.write()


def _deliver_one(delivery: Delivery, lease: Lease, outcomes: Outcomes) -> None:
    if delivery.event is None:
        outcomes.note(delivery, WORKER, delivery.unreadable)
    elif PROJECTION not in delivery.errors or outcomes.is_last(delivery, PROJECTION_PATIENCE):
        receivers = receivers_of(delivery.event, tenant=delivery.row.tenant)
        if not receivers:
            _tell_of_no_receiver(logging.WARNING if ports.project is None else logging.INFO)
        for receiver in receivers:
            name = ledger_name(receiver)
            if delivery.has_had(name):
                continue
            if not _run(receiver, name, delivery, delivery.event, lease, outcomes):
                return
        if WORKER in delivery.receipts:
            outcomes.note(delivery, WORKER, None)
    outcomes.finish(delivery)


def _run(
    receiver: ConnectedReceiver, name: str, delivery: Delivery, event: WebhookEvent, lease: Lease, outcomes: Outcomes
) -> bool:
    """Call one receiver, and return whether the lane is still held."""
    within = functools.partial(_exactly_once, name, delivery, lease) if receiver.atomic else None
    try:
        error = call(receiver, event, tenant=delivery.row.tenant, within=within)
    except SystemExit as stop:
        # The process ends, as it asks, but not with each attempt anew: this one counts, and the next one waits.
        outcomes.note(delivery, name, describe(stop))
        outcomes.finish(delivery)
        raise
    if isinstance(error, LeaseLostError):
        lease.lanes.discard(delivery.row.lane)
        return False
    described = None if error is None else describe(error)
    outcomes.note(delivery, name, described, is_written=receiver.atomic and error is None)
    if outcomes.is_time():
        outcomes.write()
    return delivery.row.lane in lease.lanes


@contextmanager
def _exactly_once(name: str, delivery: Delivery, lease: Lease) -> Iterator[None]:
    """A transaction for one receiver and its row in the ledger, undone if the lane has gone to another worker."""
    receipts = InboxReceipt.objects.using(lease.using)
    with transaction.atomic(using=lease.using):
        yield
        if not lease.holds(delivery.row.lane):
            raise LeaseLostError("The receiver took longer than the lease: what it did in the transaction is undone.")
        old = delivery.receipts.get(name)
        success = {"succeeded": True, "attempts": old.attempts + 1 if old else 1, "updated_at": now()}
        if not receipts.filter(event=delivery.row.pk, receiver=name, succeeded=False).update(**success):
            receipts.create(event_id=delivery.row.pk, receiver=name, **success)


def _project(deliveries: Sequence[Delivery], lease: Lease, outcomes: Outcomes) -> None:
    """Hand a batch to the mirror. Done again with every attempt: it always ends in the same rows."""
    readable = [(one, one.event) for one in deliveries if one.event is not None and one.row.lane in lease.lanes]
    batch = [Projectable(one.row.tenant, event) for one, event in readable]
    for (delivery, _), error in zip(readable, project(batch), strict=True):
        if error is not None:
            outcomes.note(delivery, PROJECTION, describe(error))
        elif PROJECTION in delivery.receipts:
            outcomes.note(delivery, PROJECTION, None)


def _begin(deliveries: Sequence[Delivery], lease: Lease) -> dict[Delivery, None]:
    """Write that an attempt begins, before anybody is called; return those that are still as they were found."""
    if not deliveries:
        return {}
    ids = [delivery.row.pk for delivery in deliveries]
    with transaction.atomic(using=lease.using):
        # To the end of the transaction nobody else can take the lanes, and lanes that were lost are left alone.
        lease.renew()
        rows = InboxEvent.objects.using(lease.using).filter(pk__in=ids, lane__in=sorted(lease.lanes))
        found = rows.filter(state__in=(states.RECEIVED, states.FAILED))
        all_begun = found.update(state=states.DELIVERING, attempts=F("attempts") + 1) == len(ids)
        if all_begun and not any(delivery.row.attempts for delivery in deliveries):
            attempts = dict.fromkeys(ids, 1)
        else:
            # Some were given up or retried by hand since they were read, or their lane was lost.
            attempts = dict(rows.filter(state=states.DELIVERING).values_list("pk", "attempts"))
    begun = {delivery: None for delivery in deliveries if delivery.row.pk in attempts}
    for delivery in begun:
        delivery.row.attempts = attempts[delivery.row.pk]
    return begun


def _take_back(deliveries: Iterable[Delivery], lease: Lease) -> None:
    """Undo the beginning of attempts that nobody was called in."""
    for state in (states.RECEIVED, states.FAILED):
        ids = [one.row.pk for one in deliveries if one.found_as == state and one.row.lane in lease.lanes]
        if ids:
            rows = InboxEvent.objects.using(lease.using).filter(pk__in=ids, state=states.DELIVERING)
            rows.update(state=state, attempts=F("attempts") - 1)


def _read_ledger(using: str, deliveries: Sequence[Delivery]) -> None:
    by_id = {delivery.row.pk: delivery for delivery in deliveries}
    for receipt in InboxReceipt.objects.using(using).filter(event__in=list(by_id)):
        by_id[receipt.event_id].receipts[receipt.receiver] = receipt


def _parse(delivery: Delivery) -> None:
    row = delivery.row
    try:
        delivery.event = parse_event(
            bytes(row.body),
            path=WebhookEventType(row.event_type).path,
            tenant_id=row.signed_tenant_id,
            timestamp_ms=int(row.signed_timestamp),
        )
        # Here, and not only for receivers: delivery_failed hands it on too.
        delivery.event.bind(functools.partial(get_chat_client, row.tenant))
    except Exception as error:  # noqa: BLE001  # a row that was damaged must not hold up all the others
        # What is no EventError may quote the row.
        reason = error.message if isinstance(error, EventError) else type(error).__name__
        delivery.unreadable = f"The stored event can't be read any more: {reason}"


@functools.cache
def _tell_of_no_receiver(level: int) -> None:
    """Say it once in this process: it may be what the project wants, and without the mirror most often is not."""
    logger.log(
        level,
        "An event met no receiver in this process, and counts as delivered. If the web process has receivers, import "
        "their module in an AppConfig's ready(), where every process does, and not in views or urls.",
    )


def ledger_name(receiver: ConnectedReceiver) -> str:
    """Return a receiver's name as the ledger has it: its signal's and its own.

    One that is too long ends in a digest of the whole.
    """
    name = f"{receiver.signal.name}:{receiver.name}"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: LONGEST_NAME - 17]}~{digest}"
