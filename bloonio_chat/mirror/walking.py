"""Where to read next in a list that the relay pages by offset, while others add to it and take from it.

As :mod:`bloonio_chat.sdk.paging`, with two differences: only the ids of the page before are kept, so that the memory
does not grow with the list, and the position can be written down, so that a walk goes on where a killed one was. What
is read twice does no harm here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

# Pages overlap by so many: what was taken out before the offset moves everything after it forward, into the overlap.
OVERLAP: Final = 10
# A page that shows nothing of the one before: look for it so many pages back, then go on all the same.
MOST_STEPS_BACK: Final = 3
# A relay that ignores the offset gives the same page for ever.
_PAGES_WITHOUT_NEWS: Final = 4


@dataclass
class Walk:
    """A walk through a list: read the page at ``offset``, hand its ids to :meth:`take`, until ``is_done``."""

    offset: int = 0
    is_done: bool = False
    # How many were read, each once.
    read: int = 0
    # The longest page so far: how many the relay gives at the most.
    full: int = 0
    tail: list[str] = field(default_factory=list)
    without_news: int = 0
    steps_back: int = 0
    # The last objects that something came to nothing for: who goes on with the walk does not try that again.
    failed: list[str] = field(default_factory=list)
    # What was read of the page at ``offset``, or failed at, and when that had changed: nobody reads it again who goes
    # on within this page.
    done: dict[str, str] = field(default_factory=dict)
    # At how many objects in a row one route had failed.
    in_vain: int = 0

    def take(self, ids: Sequence[str]) -> None:
        """Take the ids of the page at ``offset``, and move on."""
        overlap = min(OVERLAP, self.full // 2)
        is_known = not overlap or self.offset == 0 or not set(self.tail).isdisjoint(ids)
        if not is_known and self.steps_back < MOST_STEPS_BACK:
            # More was taken out than the overlap holds, or more was put in: the page before is no longer just there.
            self.steps_back += 1
            self.offset = max(0, self.offset - (self.full - overlap))
            return
        if is_known:
            self.steps_back = 0
        self.full = max(self.full, len(ids))
        news = len(set(ids).difference(self.tail))
        self.read += news
        self.without_news = 0 if news else self.without_news + 1
        is_last = len(ids) < self.full or not ids or self.without_news >= _PAGES_WITHOUT_NEWS
        self.is_done = not news and is_last
        self.offset += max(1, len(ids) - min(OVERLAP, self.full // 2))
        self.tail = list(ids)

    def position(self) -> dict[str, Any]:
        """Return the position, as JSON can hold it."""
        return asdict(self)

    @classmethod
    def at(cls, position: dict[str, Any]) -> Walk:
        """Return a walk that goes on from there; from the beginning, if there is no position."""
        return cls(**position)
