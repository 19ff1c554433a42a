"""Any order, any duplication and any interleaving of the same things ends in the same rows. No database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.mirror.folding import Erasure, Fetched
from bloonio_chat.mirror.rows import Rows
from bloonio_chat.sdk import types
from bloonio_chat.sdk.enums import WebhookEventType
from tests.mirror.happenings import (
    ALL_EVENTS,
    ALL_OBJECTS,
    EVENTS,
    HEARD,
    NOON,
    SEEDS,
    TENANT,
    Heard,
    all_seen,
    at,
    fold,
    reordered,
)


def test_there_is_something_of_everything() -> None:
    assert {each.event_type for each in ALL_EVENTS} > set(WebhookEventType)
    assert {each.status is None for each in ALL_EVENTS if each.event_type.value.startswith("agent")} == {True, False}
    assert {type(each.object) for each in ALL_OBJECTS} == {types.Conversation, types.Message, types.Ticket}


@settings(max_examples=3000)
@given(st.lists(HEARD, max_size=12), SEEDS)
def test_order_and_repeats_do_not_matter(heard: list[Heard], seed: int) -> None:
    other = reordered(heard, seed)
    assert all_seen(fold(other)) == all_seen(fold(heard))


@settings(max_examples=400)
@given(st.lists(EVENTS, min_size=1, max_size=8), SEEDS)
def test_nor_does_it_matter_when_marks_were_set(heard: list[Heard], seed: int) -> None:
    """Rows that were marked at other times are the same rows; and without a fetch all are marked."""
    other = reordered(heard, seed)
    rows = fold(heard)
    assert all_seen(fold(other, Rows(now=at(1000)))) == all_seen(rows)
    marked = [*rows.conversations.values(), *rows.tickets.values()]
    assert all(row.marked_at is not None for row in marked)


@settings(max_examples=2000)
@given(st.lists(HEARD, max_size=10), SEEDS)
def test_whoever_was_forgotten_stays_so_in_any_order(drawn: list[Heard], seed: int) -> None:
    """One visitor was forgotten at a time amid all this, by the events' reckoning; another was not."""
    heard = [_of_its_own(each) for each in drawn]
    other = reordered(heard, seed)
    forgotten = {(TENANT, "v1"): at(3)}
    one = fold(heard, Rows(now=NOON, forgotten=forgotten))
    assert all_seen(fold(other, Rows(now=NOON, forgotten=forgotten))) == all_seen(one)
    for row in [*one.conversations.values(), *one.tickets.values()]:
        if row.forgotten_at is not None:
            assert row.relay_id.endswith("1")
            assert (row.facts, row.extra, row.marked_at) == ([], {}, None)


@settings(max_examples=2000)
@given(st.lists(HEARD, max_size=12))
def test_nothing_names_who_was_forgotten_whosever_things_are_mixed_up(heard: list[Heard]) -> None:
    rows = fold(heard, Rows(now=NOON, forgotten={(TENANT, "v1"): at(10)}))
    named = {row.visitor_user_id for row in rows.conversations.values()}
    assert "v1" not in named | {row.user_id for row in rows.tickets.values()}


@settings(max_examples=2000)
@given(st.lists(HEARD, max_size=12), SEEDS)
def test_what_full_objects_alone_tell_of_another_visitor_stays(drawn: list[Heard], seed: int) -> None:
    """All of it is another visitor's by the objects, which came first; what events call the tickets is left open."""
    objects = [each for each in drawn if isinstance(each, Fetched) and not isinstance(each.object, types.Ticket)]
    heard = [_of_its_own(each) for each in objects]
    heard = [*(each for each in heard if _number_of(each) == "2"), *(each for each in drawn if each not in objects)]
    known = [each for each in heard if isinstance(each, Fetched) and isinstance(each.object, types.Conversation)]
    rows = fold(known, Rows(now=NOON, forgotten={(TENANT, "v1"): at(10)}))
    fold(reordered(heard, seed), rows)
    if known:
        assert rows.conversations[TENANT, "c2"].forgotten_at is None


@settings(max_examples=400)
@given(st.lists(HEARD, max_size=8), st.integers(0, 8))
def test_an_erasure_may_come_at_any_time(drawn: list[Heard], place: int) -> None:
    heard = [_of_its_own(each) for each in drawn]
    rows = fold(heard[:place])
    fold([Erasure("c1", "t1", at(50))], rows)
    fold(heard[place:], rows)
    alone = fold([each for each in heard if _number_of(each) != "1"])
    fold([Erasure("c1", "t1", at(50))], alone)
    assert all_seen(rows) == all_seen(alone)


def _number_of(heard: Heard) -> str:
    """Which of the two visitors this is about."""
    if not isinstance(heard, Fetched):
        return (heard.conversation_id or heard.ticket_id or "?2")[-1]
    thing = heard.object
    return (thing.conversation_id if isinstance(thing, types.Message) else thing.id)[-1]


def _of_its_own(heard: Heard) -> Heard:
    """The same, about one visitor alone: c1, t1, v1 and messages that are nobody else's."""
    number = _number_of(heard)
    ids: dict[str, Any] = {"visitor_user_id": f"v{number}", "conversation_id": f"c{number}", "user_id": f"v{number}"}
    about: Any = heard.object if isinstance(heard, Fetched) else heard
    changed: dict[str, Any] = {name: ids[name] for name in ids if getattr(about, name, None)}
    for name in ("message_id", "id") if isinstance(about, types.Message) else ("message_id",):
        if getattr(about, name, None):
            changed[name] = f"{getattr(about, name)} of {number}"
    if getattr(about, "ticket_id", None):
        changed["ticket_id"] = f"t{number}"
    about = about.model_copy(update=changed)
    return replace(heard, object=about) if isinstance(heard, Fetched) else about
