"""What people do by hand, in the admin or with the command: have events tried again, or give them up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db import router
from django.db.models import Case, Q, Value, When
from django.utils.timezone import now

from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.lanes import lane_is_held
from bloonio_chat.inbox.models import InboxEvent

# Hundreds that are retried at once become due one after the other: whatever failed may fail under all of them together.
RETRIES_PER_SECOND: Final = 10
_BATCH: Final = 500
# One that is being delivered only where its worker has left it behind.
RETRIABLE_STATES: Final = (states.FAILED, states.DEAD, states.BURIED, states.DELIVERING)
BURIABLE_STATES: Final = (states.RECEIVED, states.FAILED, states.DEAD, states.DELIVERING)


def retry(event_ids: Iterable[int]) -> int:
    """Make events due again, 10 a second, with all their attempts before them; return how many.

    Those that failed, are given up or buried, or were left behind by a worker that died. Those whose body was erased
    stay as they are.
    """
    ids, retried = list(event_ids), 0
    for second, start in enumerate(range(0, len(ids), RETRIES_PER_SECOND)):
        at_once = ids[start : start + RETRIES_PER_SECOND]
        retried += _make_due(_events().filter(pk__in=at_once), second * 1000)
    return retried


def retry_all(state: str, *, event_id: int | None = None) -> int:
    """Make every event of a state, or that one of them, due now, as :func:`retry` does; return how many."""
    found = _events().filter(state=state)
    if event_id is not None:
        return _make_due(found.filter(pk=event_id), 0)
    retried = 0
    # In batches, so that no transaction holds up the callbacks.
    last = 0
    while ids := list(found.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        retried += _make_due(found.filter(pk__in=ids), 0)
        last = ids[-1]
    return retried


def bury(event_ids: Iterable[int]) -> int:
    """Give events up that nobody is delivering right now, without ``delivery_failed``; return how many."""
    buriable = in_no_work(_events().filter(pk__in=list(event_ids), state__in=BURIABLE_STATES))
    return int(buriable.update(state=states.BURIED, due_ms=None, finished_at=now()))


def _make_due(events: Any, delay_ms: int) -> int:
    whole = in_no_work(events.filter(erased_at__isnull=True, state__in=RETRIABLE_STATES))
    # One that was left behind stays what it is: it is delivered by itself, since it may have killed its worker.
    state = Case(When(state=states.DELIVERING, then=Value(states.DELIVERING)), default=Value(states.FAILED))
    return int(whole.update(state=state, due_ms=DatabaseClock() + delay_ms, attempts=0, finished_at=None))


def in_no_work(events: Any) -> Any:
    """Return those events that no worker is delivering right now."""
    return events.filter(~Q(state=states.DELIVERING) | ~lane_is_held(events.db))


def _events() -> Any:
    return InboxEvent.objects.using(router.db_for_write(InboxEvent))
