"""The mirror's times: aware in Python, whatever ``USE_TZ`` says, since they are compared with the relay's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.utils.timezone import is_aware, is_naive, make_aware, make_naive, now


class RelayTimeField(models.DateTimeField):  # type: ignore[type-arg]  # generic in the stubs alone, not when it runs
    """A time that the relay has told, or that stands beside such times; always aware.

    Where ``USE_TZ`` is off the column holds it in the project's time zone, as all its others do.
    """

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        """Return the column's value, aware."""
        return make_aware(value) if value is not None and is_naive(value) else value

    def get_prep_value(self, value: Any) -> Any:
        """Return the value as this project's databases take it."""
        if type(value) is datetime and value.tzinfo is not None and is_aware(now()):
            # Most values: Django's own way, which ends here too, takes several times as long.
            return value
        prepared = super().get_prep_value(value)
        if isinstance(prepared, datetime) and is_aware(prepared) and is_naive(now()):
            return make_naive(prepared)
        return prepared


def aware_now() -> datetime:
    """Return the time, aware, whatever ``USE_TZ`` says."""
    time = now()
    return make_aware(time) if is_naive(time) else time
