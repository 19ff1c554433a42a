"""How often this room calls a tenant's relay: within a share of the tenant's rate limit that all processes have
together, and not at all for a while after the relay failed.

The share is kept by the generic cell rate algorithm, in one row for each tenant: each call moves a moment on by one
interval, and no call is made while that moment is more than a burst ahead. So any sixty seconds hold no more calls
than the share, but for those that somebody waits for, which make the others wait. A call that fails may be several
requests: the client's attempts are not counted. Times are Unix times in milliseconds; machines whose clocks differ by
seconds do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.db import router
from django.db.models import QuerySet

from bloonio_chat.mirror.models import RelayPace

# Half of what a tenant has unless the relay says otherwise (protocol §3.1); the other half is the project's own.
CALLS_PER_MINUTE: Final = 30
# So much of the share may be used up at once.
BURST: Final = 1 / 6
_MINUTE_MS: Final = 60_000

# A relay that asks for more is asked again after an hour. No pause of our own is longer either.
_LONGEST_MS: Final = 3_600_000
FIRST_PAUSE_SECONDS: Final = 15.0
LONGEST_PAUSE_SECONDS: Final = 900.0
# So many objects in a row that are not there: the relay has no such route (protocol §3).
MISSING_AFTER: Final = 5
MISSING_SECONDS: Final = 3600.0

_ALL: Final = ""
_TRIES: Final = 5


def take(tenant: str, calls: int, *, now_ms: int, despite_pause: bool = False) -> int:
    """Take so many calls of the tenant's share; return 0, or in how many milliseconds to ask again.

    ``calls`` is 1 or 2. ``despite_pause``: only what the relay asked for is waited for, not a pause of our own.
    """
    _, interval_ms = _burst_and_interval()
    for _ in range(_TRIES):
        row = _row(tenant, _ALL)
        moment, wait_ms = _moment_and_wait(row, calls, now_ms, despite_pause)
        if wait_ms > 0:
            return wait_ms
        if _rows(tenant, _ALL).filter(free_at_ms=row.free_at_ms).update(free_at_ms=moment + calls * interval_ms):
            return 0
    # Others are faster.
    return interval_ms


def note_call(tenant: str, *, now_ms: int) -> None:
    """Note a call of the share that waits for nothing, since somebody waits for it: the others wait for longer.

    At most a minute longer, however many there are.
    """
    _, interval_ms = _burst_and_interval()
    for _ in range(_TRIES):
        row = _row(tenant, _ALL)
        moment = max(row.free_at_ms, now_ms)
        if moment >= now_ms + _MINUTE_MS:
            return
        if _rows(tenant, _ALL).filter(free_at_ms=row.free_at_ms).update(free_at_ms=moment + interval_ms):
            return


def look(tenant: str, calls: int, *, now_ms: int, despite_pause: bool = False) -> int:
    """Return what :func:`take` would, and take nothing."""
    row = _rows(tenant, _ALL).first() or RelayPace()
    return max(0, _moment_and_wait(row, calls, now_ms, despite_pause)[1])


def obey(tenant: str, retry_after_seconds: float, *, now_ms: int) -> None:
    """Make no call before the relay wants one, for a second at least: it answered 429."""
    burst, interval_ms = _burst_and_interval()
    wait_ms = min(int(max(1.0, retry_after_seconds) * 1000), _LONGEST_MS)
    _row(tenant, _ALL)
    # The next call is to be a single one: the burst is used up.
    _rows(tenant, _ALL).update(free_at_ms=now_ms + wait_ms + (burst - 1) * interval_ms)


def pause(tenant: str, *, now_ms: int, random: Callable[[], float], at_least_seconds: float = 0.0) -> float:
    """Make no call for a while, longer with each failure in a row, and return for how many seconds.

    What fails during a pause was begun before it, and is no further failure. ``random`` returns a number from 0 to 1.
    """
    row = _row(tenant, _ALL)
    if left_ms := _pause_left_ms(row, now_ms):
        return left_ms / 1000
    seconds = max(at_least_seconds, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(row.failures, 10)))
    # Not all machines at the same moment.
    seconds *= 0.5 + random() / 2
    paused_until_ms = now_ms + int(seconds * 1000)
    pause = _rows(tenant, _ALL).filter(paused_until_ms=row.paused_until_ms)
    pause.update(paused_until_ms=paused_until_ms, failures=row.failures + 1)
    return seconds


def is_failing(tenant: str) -> bool:
    """Return whether the last that was heard of the tenant's relay was a failure."""
    return bool(_rows(tenant, _ALL).filter(failures__gt=0).exists())


def note_success(tenant: str, *routes: str) -> None:
    """Note that the tenant's relay answers, on these routes too."""
    rows = RelayPace.objects.using(_using()).filter(tenant=tenant, route__in=(_ALL, *routes), failures__gt=0)
    rows.update(failures=0, paused_until_ms=0)


def note_missing(tenant: str, route: str, *, now_ms: int, is_news: bool = True) -> bool:
    """Note that a route answered 404, and return whether it is now taken for one that the relay does not have.

    For one object once: what it says of the route it says the first time. ``is_news``: this is the first time, else it
    counts only where the route was taken for missing, and is tried again.
    """
    before = _row(tenant, route).failures
    if not is_news and before < MISSING_AFTER:
        return False
    failures = before + 1
    is_missing = failures >= MISSING_AFTER
    paused_until_ms = now_ms + int(MISSING_SECONDS * 1000) if is_missing else 0
    _rows(tenant, route).update(failures=failures, paused_until_ms=paused_until_ms)
    return is_missing


def missing_routes(tenant: str, *, now_ms: int) -> set[str]:
    """Return the routes that the tenant's relay seems not to have; one is tried again after an hour."""
    rows = RelayPace.objects.using(_using()).filter(tenant=tenant, paused_until_ms__gt=now_ms).exclude(route=_ALL)
    return {row.route for row in rows if _pause_left_ms(row, now_ms)}


def doubted_routes(tenant: str) -> set[str]:
    """Return the routes whose last answer that says anything of them was 404: the relay may not have them."""
    rows = RelayPace.objects.using(_using()).filter(tenant=tenant, failures__gt=0).exclude(route=_ALL)
    return set(rows.values_list("route", flat=True))


def _moment_and_wait(row: RelayPace, calls: int, now_ms: int, despite_pause: bool) -> tuple[int, int]:
    """Return when all calls so far are spread out, and how long to wait for these."""
    burst, interval_ms = _burst_and_interval()
    moment = max(row.free_at_ms, now_ms)
    if moment > now_ms + _LONGEST_MS + burst * interval_ms + _MINUTE_MS:
        # That comes from a clock that was wrong.
        moment = now_ms
    left_ms = 0 if despite_pause else _pause_left_ms(row, now_ms)
    if left_ms:
        return moment, left_ms
    return moment, moment + (calls - burst) * interval_ms - now_ms


def _pause_left_ms(row: RelayPace, now_ms: int) -> int:
    """Return for how long a pause of our own goes on; 0: there is none."""
    left_ms = row.paused_until_ms - now_ms
    # What is longer than any pause comes from a clock that was wrong.
    return left_ms if 0 < left_ms <= _LONGEST_MS + _MINUTE_MS else 0


def _burst_and_interval() -> tuple[int, int]:
    """Return how many calls may be made at once, and in how many milliseconds there is another one."""
    burst = max(2, int(CALLS_PER_MINUTE * BURST))
    return burst, _MINUTE_MS // max(1, CALLS_PER_MINUTE - burst)


def _row(tenant: str, route: str) -> RelayPace:
    row = _rows(tenant, route).first()
    if row is None:
        RelayPace.objects.using(_using()).bulk_create([RelayPace(tenant=tenant, route=route)], ignore_conflicts=True)
        row = _rows(tenant, route).get()
    return row


def _rows(tenant: str, route: str) -> QuerySet[RelayPace]:
    rows: QuerySet[RelayPace] = RelayPace.objects.using(_using()).filter(tenant=tenant, route=route)
    return rows


def _using() -> str:
    return router.db_for_write(RelayPace)
