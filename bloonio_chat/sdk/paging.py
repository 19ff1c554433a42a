"""Walking a list that the relay pages by offset, while others add to it and take from it.

Pages overlap: what was taken out before an offset moves everything after it forward, into the overlap. A page that
shows nothing seen before means that more moved than the overlap holds; then the walk steps back until it meets what
it knows. What was put in moves everything backward: a full page without news is not the end, a shorter one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from bloonio_chat.sdk.operations import LARGEST_LIMIT, Operation

OVERLAP: Final = 10

# A relay that ignores the offset gives the same full page for ever.
_PAGES_WITHOUT_NEWS: Final = 4


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_T = TypeVar("_T", bound=_HasId)


class Pages(Generic[_T]):
    """One walk: ask for :attr:`operation`, hand its result to :meth:`take`, until there is none.

    ``build`` makes the operation for a ``limit`` and an ``offset``.
    """

    def __init__(self, build: Callable[[int, int], Operation[list[_T]]]) -> None:
        self._build = build
        self._offset = 0
        self._seen: set[str] = set()
        # The relay may give fewer than were asked for: the longest page shows how many it gives at the most.
        self._full = 0
        self._without_news = 0
        self._done = False

    @property
    def operation(self) -> Operation[list[_T]] | None:
        """The next page to ask for; ``None`` at the end."""
        return None if self._done else self._build(LARGEST_LIMIT, self._offset)

    def take(self, page: list[_T]) -> Iterator[_T]:
        """Take the page that was asked for and return what of it is new, in its order."""
        overlap = min(OVERLAP, self._full // 2)
        if self._offset > 0 and overlap and all(item.id not in self._seen for item in page):
            self._offset = max(0, self._offset - (self._full - overlap))
            # Asked for again once the way to it is known.
            return iter(())
        self._full = max(self._full, len(page))
        new = list({item.id: item for item in page if item.id not in self._seen}.values())
        self._without_news = 0 if new else self._without_news + 1
        self._done = not new and (len(page) < self._full or self._without_news >= _PAGES_WITHOUT_NEWS or not page)
        self._offset += max(1, len(page) - min(OVERLAP, self._full // 2))
        self._seen.update(item.id for item in new)
        return iter(new)
