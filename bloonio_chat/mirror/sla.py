"""How a ticket stands with the time by which it should be done, in words for people."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bloonio_chat.mirror.models import Ticket

# What falls due within it is "due soon".
SOON: Final = timedelta(hours=4)

OVERDUE: Final = "overdue"
DUE_SOON: Final = "soon"
IN_TIME: Final = "in-time"
DONE: Final = "done"
DONE_LATE: Final = "done-late"
NONE: Final = "none"


class Sla(NamedTuple):
    """A ticket's state and what is said of it; the state colours it, and the words say it without colours."""

    state: str
    words: str


def sla_of(ticket: Ticket, now: datetime) -> Sla:
    """Return how a ticket stands at that time, which is aware. A closed one stands as it did when it was done."""
    due = ticket.sla_due_at
    if due is None or ticket.forgotten_at is not None:
        return Sla(NONE, "")
    if not ticket.is_open:
        done = ticket.resolved_at or ticket.closed_at
        if done is not None and done > due:
            return Sla(DONE_LATE, _("done late"))
        return Sla(DONE, _("done in time") if done is not None else pgettext("ticket", "done"))
    if due < now:
        return Sla(OVERDUE, _("overdue by %(time)s") % {"time": timesince(due, now, depth=1)})
    words = _("due in %(time)s") % {"time": timeuntil(due, now, depth=1)}
    return Sla(DUE_SOON if due - now <= SOON else IN_TIME, words)
