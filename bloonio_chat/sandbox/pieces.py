"""The pieces that the page is made of. Everything from outside goes through ``Markup.format``, which escapes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeVar

from markupsafe import Markup

from bloonio_chat.sandbox.callbacks import Attempt

_T = TypeVar("_T")

# The page shows the newest; tests read the rest from the relay.
_MOST_SHOWN: Final = 60
_TONES: Final = {
    "active": "good",
    "assigned": "good",
    "ASSIGNED": "good",
    "delivered": "good",
    "resolved": "good",
    "RESOLVED": "good",
    "cancelled": "bad",
    "given_up": "bad",
    "open": "wait",
    "pending": "wait",
    "WAITING": "wait",
}


def joined(pieces: Iterable[Markup]) -> Markup:
    """Return the pieces, one after the other."""
    return Markup("").join(pieces)


def newest(things: Iterable[_T]) -> list[_T]:
    """Return the newest things first, as many as the page shows."""
    return list(things)[-_MOST_SHOWN:][::-1]


def listed(items: list[Markup], empty: str) -> Markup:
    """Return a list, or what is said where there is nothing."""
    if not items:
        return Markup('<p class="empty">{}</p>').format(empty)
    return Markup('<ul class="list">{}</ul>').format(joined(items))


def table(titles: Iterable[str], rows: list[Markup], empty: str) -> Markup:
    """Return a table, or what is said where there is nothing."""
    if not rows:
        return Markup('<p class="empty">{}</p>').format(empty)
    head = joined(Markup("<th>{}</th>").format(title) for title in titles)
    return Markup(
        '<div class="scroll"><table class="stacked"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, joined(rows))


def pill(text: str) -> Markup:
    """Return a word on a ground that says good, bad or waiting."""
    return Markup('<span class="pill {}">{}</span>').format(_TONES.get(text, ""), text)


def attempt_line(attempt: Attempt, number: int) -> str:
    """Return one attempt of a callback in a line."""
    came = attempt.problem if attempt.status is None else f"{attempt.status} in {attempt.seconds * 1000:.0f} ms"
    faults = f" · fault {', '.join(attempt.faults)}" if attempt.faults else ""
    return f"{number}. {time_of(attempt.at)} → {came}{faults}"


def time_of(moment: datetime) -> str:
    """Return the time of day."""
    return f"{moment:%H:%M:%S} UTC"
