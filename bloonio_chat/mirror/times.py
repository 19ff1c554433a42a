"""The mirror's times: aware in Python, whatever ``USE_TZ`` says, since they are compared with the relay's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils.timezone import now

from bloonio_chat.conf import uses_time_zones
from bloonio_chat.times import in_python, to_database_time


class RelayTimeField(models.DateTimeField):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """A time that the relay has told, or that stands beside such times; always aware.

    Where ``USE_TZ`` is off the column holds it in the project's time zone, as all its others do, which in the hour that
    comes twice does not tell the first from the second.
    """

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        """Return the column's value, aware, and equal to whichever time is the same."""
        return None if value is None else in_python(value)

    def get_prep_value(self, value: Any) -> Any:
        """Return the value as this project's databases take it."""
        if type(value) is datetime and value.tzinfo is not None and uses_time_zones():
            # Most values: Django's own way, which ends here too, takes several times as long.
            return value
        prepared = super().get_prep_value(value)
        return to_database_time(prepared) if isinstance(prepared, datetime) else prepared


def aware_now() -> datetime:
    """Return the time, aware, whatever ``USE_TZ`` says."""
    return in_python(now())
