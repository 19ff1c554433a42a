"""Times as this project's databases take them: naive, in the project's own zone, where ``USE_TZ`` is off.

Never in the active zone, which may be the visitor's.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from django.utils.timezone import get_default_timezone, is_aware, is_naive, make_aware, make_naive, now


def to_database_time(time: datetime) -> datetime:
    """Return a time as a ``DateTimeField`` takes it; a naive one stays as it is."""
    return time if is_naive(time) or is_aware(now()) else make_naive(time, get_default_timezone())


def in_python(time: datetime) -> datetime:
    """Return what a ``DateTimeField`` or Django's ``now()`` gave, aware, as the clock showed it.

    With an offset for a time zone: in the hour that a zone has twice, no time of it equals any other's (PEP 495).
    """
    if time.tzinfo is timezone.utc:
        return time
    aware = make_aware(time, get_default_timezone()) if is_naive(time) else time
    return aware.replace(tzinfo=timezone(aware.utcoffset() or timedelta()))
