"""Walking all pages while others add and remove: nothing that stays is missed, nothing comes twice, and it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloonio_chat.sdk.errors import ChatRelayServerError
from bloonio_chat.sdk.operations import Operation
from bloonio_chat.sdk.paging import Pages
from tests.sdk.facade import Facade
from tests.sdk.samples import CONVERSATION, TICKET
from tests.sdk.scripted_server import Line, Received, ScriptedServer, answers, answers_data


@dataclass(frozen=True)
class Item:
    id: str


class List:
    """A relay's list: ``between`` is what happens to it between two pages; ``cap`` what it gives at the most."""

    def __init__(self, count: int, *, cap: int = 100, between: Callable[[list[str], int], None] | None = None) -> None:
        self.ids = [f"i{number}" for number in range(count)]
        self.cap = cap
        self.between = between or (lambda _ids, _page: None)
        self.pages = 0

    def page(self, limit: int, offset: int) -> list[Item]:
        self.pages += 1
        page = [Item(name) for name in self.ids[offset : offset + min(limit, self.cap)]]
        self.between(self.ids, self.pages)
        return page

    def walk(self, page: Callable[[int, int], list[Item]] | None = None, *, at_the_most: int = 2000) -> list[str]:
        asked: list[tuple[int, int]] = []

        def build(limit: int, offset: int) -> Operation[list[Item]]:
            asked.append((limit, offset))
            return Operation("x", "GET", "/x", list)

        pages = Pages(build)
        found: list[str] = []
        while pages.operation is not None:
            found += [item.id for item in pages.take((page or self.page)(*asked[-1]))]
            assert len(asked) < at_the_most, "the walk does not end"
        return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 10, 11, 95, 99, 100, 101, 190, 191, 1000])
@pytest.mark.parametrize("cap", [1, 2, 5, 10, 11, 15, 20, 100])
def test_a_list_at_rest_is_walked_whole_and_in_its_order(count: int, cap: int) -> None:
    relay = List(count, cap=cap)
    assert relay.walk() == relay.ids
    # At the worst every second item is asked for twice, and three pages more.
    assert relay.pages <= count / max(1, min(cap, 100) // 2) + 3


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (3, 2), (95, 2), (100, 2), (101, 3), (1000, 12)])
def test_a_walk_costs_few_calls(count: int, pages: int) -> None:
    relay = List(count)
    relay.walk()
    assert relay.pages <= pages


@pytest.mark.parametrize("cap", [3, 11, 15, 20, 100])
@pytest.mark.parametrize("removed", [1, 5, 10, 11, 19, 60, 200])
def test_what_stays_is_not_missed_when_something_before_it_goes(cap: int, removed: int) -> None:
    def between(ids: list[str], page: int) -> None:
        if page == 2:
            del ids[:removed]

    relay = List(250, cap=cap, between=between)
    found = relay.walk()
    assert set(relay.ids) <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("cap", [3, 11, 15, 20, 100])
@pytest.mark.parametrize("added", [1, 5, 10, 11, 20])
def test_what_stays_is_not_missed_when_something_is_put_before_it(cap: int, added: int) -> None:
    def between(ids: list[str], page: int) -> None:
        if page == 2:
            ids[:0] = [f"new{number}" for number in range(min(added, cap))]

    relay = List(250, cap=cap, between=between)
    found = relay.walk()
    assert {name for name in relay.ids if name.startswith("i")} <= set(found)
    assert len(found) == len(set(found))


def test_a_list_that_shrinks_below_the_offset_is_not_taken_for_ended() -> None:
    def between(ids: list[str], page: int) -> None:
        if page == 1:
            del ids[:120]

    relay = List(150, between=between)
    found = relay.walk()
    assert set(relay.ids) <= set(found)


@given(
    count=st.integers(0, 200),
    cap=st.integers(4, 100),
    changes=st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 300)), max_size=12),
)
def test_one_change_between_two_pages_loses_nothing_and_doubles_nothing(
    count: int, cap: int, changes: list[tuple[str, int]]
) -> None:
    def between(ids: list[str], page: int) -> None:
        if page <= len(changes):
            kind, place = changes[page - 1]
            if kind == "add":
                ids.insert(min(place, len(ids)), f"new{page}")
            elif ids:
                del ids[place % len(ids)]

    relay = List(count, cap=cap, between=between)
    found = relay.walk()
    assert {name for name in relay.ids if name.startswith("i")} <= set(found)
    assert len(found) == len(set(found))


@given(count=st.integers(0, 250), cap=st.integers(1, 100), random=st.randoms(use_true_random=False))
def test_whatever_the_relay_does_with_the_offset_the_walk_ends(count: int, cap: int, random: Random) -> None:
    ids = [f"i{number}" for number in range(count)]

    def page(limit: int, offset: int) -> list[Item]:
        places = random.sample(range(count), k=random.randint(0, min(cap, count)))
        return [Item(ids[place]) for place in places]

    found = List(0).walk(page, at_the_most=20_000)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("count", [1, 2, 20, 100, 150])
def test_a_relay_that_ignores_the_offset_is_asked_a_few_times_only(count: int) -> None:
    asked: list[int] = []

    def page(limit: int, offset: int) -> list[Item]:
        asked.append(offset)
        return [Item(f"i{number}") for number in range(min(count, limit))]

    assert List(0).walk(page) == [f"i{number}" for number in range(min(count, 100))]
    assert len(asked) <= 5


def serve(server: ScriptedServer, sample: dict[str, object], ids: list[str], *, cap: int, wrapped: bool) -> None:
    def behaviour(line: Line, request: Received) -> bool:
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        items = [{**sample, "id": name} for name in ids[offset : offset + min(cap, limit)]]
        return answers_data({"items": items, "total": len(ids)} if wrapped else items)(line, request)

    server.otherwise = behaviour


@pytest.mark.parametrize(
    ("name", "sample", "filters"),
    [
        ("iter_conversations", CONVERSATION, {"visitor_user_id": "a&b"}),
        ("iter_tickets", TICKET, {"status": "open", "assignee_user_id": "op#1"}),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_both_clients_walk_and_keep_the_filters(
    server: ScriptedServer,
    client: Facade,
    name: str,
    sample: dict[str, object],
    filters: dict[str, str],
    wrapped: bool,
) -> None:
    ids = [f"x{number}" for number in range(47)]
    serve(server, sample, ids, cap=20, wrapped=wrapped)
    assert [item.id for item in client.iterate(name, **filters)] == ids
    for request in server.requests:
        assert request.query["limit"] == "100"
        assert {key: value for key, value in request.query.items() if key not in ("limit", "offset")} == filters
    offsets = [int(request.query["offset"]) for request in server.requests]
    assert offsets[0] == 0
    assert all(later - earlier < 20 for earlier, later in pairwise(offsets)), "no overlap"


def test_a_walk_asks_only_for_what_is_wanted(server: ScriptedServer, client: Facade) -> None:
    serve(server, TICKET, [f"x{number}" for number in range(300)], cap=100, wrapped=False)
    found = client.client.iter_tickets()
    assert server.requests == []
    if client.kind == "sync":
        assert next(found).id == "x0"
        found.close()
        assert len(server.requests) == 1


def test_an_error_in_the_middle_is_raised_after_what_was_found(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data([{**TICKET, "id": f"x{number}"} for number in range(30)]))
    server.otherwise = answers(500)
    with pytest.raises(ChatRelayServerError):
        client.iterate("iter_tickets")
    # The second page was tried as often as any read.
    assert len(server.requests) == 4
