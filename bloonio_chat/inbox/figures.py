"""The inbox in figures: what is undelivered and for how long, what fails, whether anybody works and sweeps.

``vitals`` costs the same however many events there are, so that a health view can ask for it every few seconds;
``figures`` counts everything, for people.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import router
from django.db.models import Avg, Count, F, Max, Min, Q, QuerySet, Sum

from bloonio_chat.conf import get_config
from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt, InboxSweep
from bloonio_chat.inbox.sweeping import SWEEP
from bloonio_chat.times import in_python

# Further is not counted where it has to be quick.
MOST_COUNTED: Final = 10_000
# Among so many of the newest events, repeats and clocks are looked at.
NEWEST: Final = 10_000

_UNFINISHED: Final = (*states.OPEN_STATES, states.DEAD)


def vitals() -> dict[str, int | float | None]:
    """Return what tells whether the inbox is well, from the ends of indexes and what is in work.

    ``received``, ``delivering``, ``failed`` and ``dead`` are counted up to 10,000. ``oldest_undelivered_seconds`` is
    how long ago the oldest event came that is still to be delivered (by the clock of the machine that took it),
    ``overdue_seconds`` how long something has been due that nobody has delivered, ``last_sweep_seconds`` how long ago
    the last sweep began: by the database's clock, and ``None`` where there is none. ``lanes_in_work`` are conversations
    that a worker holds, ``leases_run_out`` those that one held too long, or died over. Raises what the database raises.
    """
    using = router.db_for_read(InboxEvent)
    found: dict[str, int | float | None] = {state: _count_some(using, state) for state in _UNFINISHED}
    found["oldest_undelivered_seconds"] = _oldest_undelivered_seconds(using)
    found["overdue_seconds"] = _overdue_seconds(using)
    sweep = last_sweep()
    found["last_sweep_seconds"] = None if sweep is None else sweep[0]
    return found | _lanes(using)


def figures() -> dict[str, Any]:
    """Return all there is to say, as values that JSON knows; this reads an index of all events.

    As :func:`vitals`, with every event counted. Then ``runner``; ``last_sweep_by`` (machine, process and thread);
    ``newest``: how many of the newest events were looked at, how many of those came more than once (``repeated``), how
    often in all (``repeats``), and by how many milliseconds our clock was ahead of what the relay had signed
    (``least_skew_ms``, ``most_skew_ms``, ``mean_skew_ms``); ``failing_receivers``: for each receiver, how many events
    that are not delivered it has failed on.
    """
    using = router.db_for_read(InboxEvent)
    sweep = last_sweep()
    return {
        "runner": get_config().app.inbox_runner,
        **vitals(),
        **_count_all(using),
        "last_sweep_by": None if sweep is None else sweep[1],
        "newest": _newest(using),
        "failing_receivers": _failing_receivers(using),
    }


def last_sweep() -> tuple[float, str] | None:
    """Return how many seconds ago the last sweep began, by the database's clock, and whose it was, if there was one."""
    sweeps = InboxSweep.objects.using(router.db_for_read(InboxSweep)).filter(name=SWEEP)
    found = sweeps.annotate(ago_ms=DatabaseClock() - F("at_ms")).values_list("ago_ms", "holder").first()
    return None if found is None else (_seconds(found[0]), found[1])


def _count_some(using: str, state: str) -> int:
    return int(_events(using).filter(state=state)[:MOST_COUNTED].count())


def _count_all(using: str) -> dict[str, int]:
    counted = dict(_events(using).values_list("state").annotate(Count("pk")).order_by())
    return {state: counted.get(state, 0) for state in states.STATES}


def _oldest_undelivered_seconds(using: str) -> float | None:
    ages = []
    # One by one: each is the first entry of its part of the index.
    for state in states.OPEN_STATES:
        rows = _events(using).filter(state=state).order_by("pk").annotate(now_ms=DatabaseClock())
        found = rows.values_list("now_ms", "received_at").first()
        if found is not None:
            ages.append(_seconds(found[0] - in_python(found[1]).timestamp() * 1000))
    return max(ages, default=None)


def _overdue_seconds(using: str) -> float | None:
    rows = _events(using).filter(due_ms__isnull=False).order_by("due_ms")
    late_ms = rows.annotate(late_ms=DatabaseClock() - F("due_ms")).values_list("late_ms", flat=True).first()
    return None if late_ms is None or late_ms < 0 else _seconds(late_ms)


def _lanes(using: str) -> dict[str, int]:
    is_held = Q(leased_until_ms__gt=DatabaseClock())
    lanes: dict[str, int] = InboxLane.objects.using(using).aggregate(
        lanes_in_work=Count("pk", filter=is_held), leases_run_out=Count("pk", filter=~is_held)
    )
    return lanes


def _newest(using: str) -> dict[str, int | None]:
    # These columns alone: what an inner query selects, some databases copy.
    newest = _events(using).order_by("-pk").values("pk", "repeats", "skew_ms")[:NEWEST]
    found = newest.aggregate(
        events=Count("pk"),
        repeated=Count("pk", filter=Q(repeats__gt=0)),
        repeats=Sum("repeats", default=0),
        least_skew_ms=Min("skew_ms"),
        most_skew_ms=Max("skew_ms"),
        mean_skew_ms=Avg("skew_ms"),
    )
    return {name: None if value is None else int(value) for name, value in found.items()}


def _failing_receivers(using: str) -> dict[str, int]:
    receipts = InboxReceipt.objects.using(using).filter(
        succeeded=False, event__state__in=_UNFINISHED, event__erased_at__isnull=True
    )
    return dict(receipts.values_list("receiver").annotate(Count("pk")).order_by("receiver"))


def _events(using: str) -> QuerySet[InboxEvent]:
    events: QuerySet[InboxEvent] = InboxEvent.objects.using(using)
    return events


def _seconds(milliseconds: float) -> float:
    return round(milliseconds / 1000, 3)
