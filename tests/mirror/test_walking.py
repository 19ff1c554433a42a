"""Walking a list by pages: what was in it all the time is seen, whatever is put in or taken out meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bloonio_chat.mirror.walking import OVERLAP, Walk

PAGE = 40


def walked(
    items: list[str], *, page: int = PAGE, meanwhile: Callable[[list[str], int], None] = lambda items, pages: None
) -> tuple[list[str], int]:
    """All ids that were seen, in their order, and how many pages that took. Written down and read after each page."""
    walk, seen, pages = Walk(), [], 0
    while not walk.is_done:
        ids = items[walk.offset : walk.offset + page]
        seen += ids
        pages += 1
        walk.take(ids)
        assert len(walk.tail) <= page
        walk = Walk.at(json.loads(json.dumps(walk.position())))
        meanwhile(items, pages)
        assert pages < 500, "it never ends"
    return seen, pages


def numbered(count: int, prefix: str = "i") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


@given(st.integers(0, 200), st.integers(1, 60))
def test_every_list_is_seen_whole_in_few_pages(count: int, page: int) -> None:
    seen, pages = walked(numbered(count), page=page)
    assert set(seen) == set(numbered(count))
    step = page - min(OVERLAP, page // 2)
    assert pages <= count // step + 5


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, PAGE // 2 - OVERLAP)), max_size=8))
def test_what_is_put_in_at_the_front_hides_nothing(insertions: list[tuple[int, int]]) -> None:
    items = numbered(300)

    def put_in(items: list[str], pages: int) -> None:
        for after, count in insertions:
            if after == pages:
                items[:0] = numbered(count, f"new{pages}-")

    assert set(walked(items, meanwhile=put_in)[0]) >= set(numbered(300))


@given(st.dictionaries(st.sampled_from([1, 7, 13]), st.integers(0, OVERLAP * 10)))
def test_what_is_taken_out_before_us_hides_nothing(removals: dict[int, int]) -> None:
    items, removed = numbered(400), set()

    def take_out(items: list[str], pages: int) -> None:
        count = removals.get(pages, 0)
        removed.update(items[:count])
        del items[:count]

    seen = set(walked(items, meanwhile=take_out)[0])
    assert seen >= set(numbered(400)) - removed


def test_a_relay_that_ignores_the_offset_is_left_soon() -> None:
    walk, pages = Walk(), 0
    while not walk.is_done:
        walk.take(numbered(PAGE))
        pages += 1
    assert pages == 5


def test_a_list_that_has_grown_a_lot_since_is_gone_on_with_all_the_same() -> None:
    items = numbered(400)
    walk = Walk()
    for _ in range(4):
        walk.take(items[walk.offset : walk.offset + PAGE])
    # A day later.
    items[:0] = numbered(300, "new")
    seen, pages = [], 0
    while not walk.is_done:
        ids = items[walk.offset : walk.offset + PAGE]
        seen += ids
        walk.take(ids)
        pages += 1
    assert set(seen) >= set(numbered(400)[110:])
    assert pages < 30


def test_a_list_that_has_shrunk_to_nothing_ends() -> None:
    walk = Walk()
    walk.take(numbered(PAGE))
    pages = 0
    while not walk.is_done:
        walk.take([])
        pages += 1
    assert pages <= 5
