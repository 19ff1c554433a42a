"""What a row becomes, told by examples. No database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.folding import Erasure, Fetched
from bloonio_chat.mirror.models import FROM_EVENT, FROM_SYNC, Conversation, Mark, Message, Ticket
from bloonio_chat.mirror.rows import Rows
from tests.mirror.happenings import NOON, TENANT, all_seen, at, conversation, envelope, fold, message, takeover, ticket

ABOUT: dict[str, Any] = {"conversation_id": "c1", "visitor_user_id": "v1"}
OF_TICKET: dict[str, Any] = {**ABOUT, "ticket_id": "t1", "ticket_number": "LOK-000001"}


def fetched(thing: Any, time: datetime = NOON, **fields: Any) -> Fetched:
    return Fetched(TENANT, thing, time, **fields)


def the_conversation(rows: Rows, relay_id: str = "c1") -> Conversation:
    return rows.conversations[TENANT, relay_id]


def the_ticket(rows: Rows, relay_id: str = "t1") -> Ticket:
    return rows.tickets[TENANT, relay_id]


def the_message(rows: Rows, relay_id: str = "m1") -> Message:
    return rows.messages[TENANT, relay_id]


def operator(rows: Rows) -> tuple[Any, ...]:
    row = the_conversation(rows)
    return row.agent_status, row.operator_id, row.operator_display_name, row.claim_count


# ---- stubs -----------------------------------------------------------------------------------------------------


def test_a_message_that_comes_first_makes_its_conversation() -> None:
    rows = fold([envelope("message-received", at(2), message_id="m1", **ABOUT)])
    stub, text = the_conversation(rows), the_message(rows)
    assert (stub.visitor_user_id, stub.created_at, stub.updated_at, stub.last_message_at) == ("v1", at(2), at(2), at(2))
    assert (stub.fetched_at, stub.synced_at, stub.synced_from) == (None, NOON, FROM_EVENT)
    assert (text.role, text.content, text.created_at, text.heard_at) == ("visitor", "", at(2), at(2))
    assert rows.links[Message, (TENANT, "m1")] == "c1"


def test_a_stubs_times_are_those_of_its_events_until_it_was_fetched() -> None:
    events = [envelope("message-received", at(n), message_id=f"m{n}", **ABOUT) for n in (3, 1, 5, 2)]
    stub = the_conversation(fold(events))
    assert (stub.created_at, stub.updated_at, stub.last_message_at) == (at(1), at(5), at(5))
    row = the_conversation(fold([*events[:2], fetched(conversation("c1", at(4))), *events[2:]]))
    assert (row.created_at, row.updated_at, row.last_message_at) == (at(-100), at(4), None)


def test_a_fetched_child_makes_its_conversation_and_marks_it() -> None:
    for child in (message("m1", "c1"), ticket("t1", conversation_id="c1")):
        parent = the_conversation(fold([fetched(child, source=FROM_SYNC)]))
        assert (parent.marked_at, parent.synced_from, parent.created_at) == (NOON, FROM_SYNC, child.created_at)
        known = fold([fetched(conversation()), fetched(child)])
        assert the_conversation(known).marked_at is None


def test_what_names_nothing_leaves_no_trace() -> None:
    rows = fold([envelope("message-received", message_id="m1"), envelope("ticket-created", conversation_id="")])
    assert not rows.changed
    assert (rows.conversations, rows.tickets, rows.messages) == ({}, {}, {})


def test_an_event_of_an_unknown_type_marks_what_it_names() -> None:
    rows = fold([envelope("message-deleted", message_id="m1", ticket_id="t1", **ABOUT)])
    assert (the_conversation(rows).marked_at, the_ticket(rows).marked_at) == (NOON, NOON)
    assert not rows.messages


def test_an_id_that_is_too_long_is_never_cut_to_another() -> None:
    rows = fold([fetched(message("m1", "c" * 256)), fetched(ticket("t1", conversation_id="c" * 256))])
    assert (rows.conversations, rows.messages) == ({}, {})
    assert rows.links == {}


# ---- operators -------------------------------------------------------------------------------------------------

CLAIMED = takeover(
    "agent-assigned", at(10), conversation_id="c1", operator_id="op1", operator_display_name="Ann", claim_count=1
)
RELEASED = takeover("agent-released", at(20), conversation_id="c1", operator_id="op1", claim_count=1, claimed_at=at(10))
CLAIMED_AGAIN = takeover(
    "agent-assigned", at(30), conversation_id="c1", operator_id="op2", operator_display_name="Bo", claim_count=2
)
RESOLVED = takeover("agent-resolved", at(40), conversation_id="c1", operator_id="op2", claim_count=2)
ESCALATED = envelope("escalation-triggered", at(5), escalation_id="e1", escalation_reason="direct", **ABOUT)


def test_an_escalated_conversation_waits() -> None:
    row = the_conversation(fold([ESCALATED]))
    assert (row.agent_status, row.escalation_id, row.escalation_reason, row.escalated_at) == (
        "WAITING",
        "e1",
        "direct",
        at(5),
    )


def test_operators_take_a_conversation_give_it_back_and_resolve_it() -> None:
    told = [ESCALATED, CLAIMED, RELEASED, CLAIMED_AGAIN, RESOLVED]
    states = [operator(fold(told[: n + 1])) for n in range(len(told))]
    assert states == [
        ("WAITING", "", "", None),
        ("ASSIGNED", "op1", "Ann", 1),
        ("WAITING", "", "", 1),
        ("ASSIGNED", "op2", "Bo", 2),
        ("RESOLVED", "op2", "Bo", 2),
    ]
    row = the_conversation(fold(told))
    assert (row.claimed_at, row.released_at, row.agent_resolved_at) == (at(30), None, at(40))
    assert row.escalation_reason == "direct"


@pytest.mark.parametrize("stale", [ESCALATED, CLAIMED, RELEASED, CLAIMED_AGAIN])
def test_a_stale_event_does_not_undo_what_was_resolved(stale: Any) -> None:
    assert operator(fold([CLAIMED_AGAIN, RESOLVED, stale])) == ("RESOLVED", "op2", "Bo", 2)


def test_claims_are_counted_whatever_the_times_say() -> None:
    early = takeover("agent-assigned", at(1), conversation_id="c1", operator_id="op3", claim_count=3)
    assert operator(fold([RESOLVED, early])) == ("ASSIGNED", "op3", "", 3)


def test_without_counts_the_times_are_the_clock() -> None:
    told = [
        envelope("agent-assigned", at(10), agent_user_id="op1", **ABOUT),
        envelope("agent-released", at(20), agent_user_id="op1", **ABOUT),
        envelope("agent-assigned", at(30), agent_user_id="op2", escalation_reason="user_request", **ABOUT),
    ]
    for order in (told, told[::-1], [told[1], told[2], told[0]]):
        row = the_conversation(fold(order))
        assert (row.agent_status, row.operator_id, row.claimed_at, row.claim_count) == ("ASSIGNED", "op2", at(30), None)
        assert row.escalation_reason == "user_request"
    resolved = envelope("agent-resolved", at(30), agent_user_id="op2", **ABOUT)
    row = the_conversation(fold([resolved, *told]))
    assert (row.agent_status, row.claimed_at, row.agent_resolved_at) == ("RESOLVED", at(30), at(30))


def test_both_shapes_of_one_conversation_get_along() -> None:
    later = envelope("agent-released", at(35), agent_user_id="op2", **ABOUT)
    for order in ([CLAIMED_AGAIN, later], [later, CLAIMED_AGAIN]):
        assert operator(fold(order)) == ("WAITING", "", "", 2)
        assert operator(fold([*order, RESOLVED])) == ("RESOLVED", "op2", "Bo", 2)


def test_of_two_events_of_one_time_the_one_that_counts_holds() -> None:
    uncounted = envelope("agent-released", at(10), agent_user_id="op1", **ABOUT)
    for order in ([CLAIMED, uncounted], [uncounted, CLAIMED]):
        assert operator(fold(order)) == ("ASSIGNED", "op1", "Ann", 1)


def test_a_resolved_conversation_that_is_escalated_again_waits_again() -> None:
    again = envelope("escalation-triggered", at(50), escalation_id="e2", escalation_reason="user_request", **ABOUT)
    for order in ([ESCALATED, CLAIMED_AGAIN, RESOLVED, again], [again, RESOLVED, ESCALATED, CLAIMED_AGAIN]):
        row = the_conversation(fold(order))
        assert (row.agent_status, row.operator_id, row.agent_resolved_at) == ("WAITING", "", None)
        assert (row.escalation_id, row.escalated_at) == ("e2", at(50))


def test_an_escalation_takes_a_conversation_from_nobody() -> None:
    late = envelope("escalation-triggered", at(11), escalation_id="e1", **ABOUT)
    assert operator(fold([CLAIMED, late])) == ("ASSIGNED", "op1", "Ann", 1)


def test_an_unknown_status_is_kept() -> None:
    parked = takeover("agent-assigned", at(10), conversation_id="c1", operator_id="op1", status="PARKED")
    assert operator(fold([parked]))[0] == "PARKED"


def test_of_each_type_the_newest_facts_are_kept() -> None:
    claims = [
        takeover("agent-assigned", at(n), conversation_id="c1", operator_id=f"op{n}", claim_count=n)
        for n in range(1, facts.MOST_FACTS + 20)
    ]
    forwards, backwards = fold([ESCALATED, *claims]), fold([*claims[::-1], ESCALATED])
    assert the_conversation(forwards).facts == the_conversation(backwards).facts
    assert len(the_conversation(forwards).facts) == facts.MOST_FACTS + 1
    assert the_conversation(forwards).escalation_id == "e1"
    assert operator(forwards)[1] == f"op{facts.MOST_FACTS + 19}"


# ---- tickets ---------------------------------------------------------------------------------------------------

CREATED = envelope("ticket-created", at(10), escalation_id="e1", **OF_TICKET)
ASSIGNED = envelope("ticket-assigned", at(20), agent_user_id="op1", **OF_TICKET)
DONE = envelope("ticket-resolved", at(30), agent_user_id="op1", **OF_TICKET)


def state(rows: Rows) -> tuple[Any, ...]:
    row = the_ticket(rows)
    return row.status, row.assignee_user_id, row.resolved_at


def test_events_alone_tell_a_tickets_story() -> None:
    assert state(fold([CREATED])) == ("open", "", None)
    assert state(fold([CREATED, ASSIGNED])) == ("assigned", "op1", None)
    for order in ([CREATED, ASSIGNED, DONE], [DONE, ASSIGNED, CREATED]):
        rows = fold(order)
        assert state(rows) == ("resolved", "op1", at(30))
        row = the_ticket(rows)
        assert (row.ticket_number, row.user_id, row.escalation_id) == ("LOK-000001", "v1", "e1")
        assert rows.links[Ticket, (TENANT, "t1")] == "c1"


def test_a_full_object_knows_better_than_older_events() -> None:
    thing = ticket("t1", at(25), status="waiting_on_user", assignee_user_id="op2")
    assert state(fold([CREATED, ASSIGNED, fetched(thing)])) == ("waiting_on_user", "op2", None)
    assert state(fold([fetched(thing), ASSIGNED])) == ("waiting_on_user", "op2", None)


def test_a_newer_event_knows_better_than_the_full_object_until_it_is_fetched_again() -> None:
    old = ticket("t1", at(15), status="open")
    orders: list[list[Any]] = [[fetched(old), ASSIGNED, DONE], [DONE, fetched(old), ASSIGNED]]
    for order in orders:
        assert state(fold(order)) == ("resolved", "op1", at(30))
    new = ticket("t1", at(40), status="reopened", assignee_user_id=None)
    assert state(fold([fetched(old), ASSIGNED, DONE, fetched(new)])) == ("reopened", "", None)


def test_what_is_closed_is_not_resolved_again_and_keeps_its_time() -> None:
    closed = ticket("t1", at(25), status="closed", resolved_at=at(24))
    assert state(fold([fetched(closed), DONE]))[::2] == ("closed", at(24))
    resolved = ticket("t1", at(29), status="resolved", resolved_at=at(29))
    assert state(fold([DONE, fetched(resolved)]))[::2] == ("resolved", at(29))


def test_an_object_has_what_was_known_when_its_fetch_began() -> None:
    """The relay stamps an event a little later than the change itself, and the ticket may have moved on in between."""
    thing = ticket("t1", at(19), status="in_progress", assignee_user_id="op1")
    assert state(fold([ASSIGNED, fetched(thing)]))[0] == "assigned"
    rows = fold([CREATED, ASSIGNED])
    rows = fold([fetched(thing, mark=the_ticket(rows).mark)], rows)
    assert state(rows)[0] == "in_progress"
    # A sync that knows of no mark takes nothing of that back.
    assert state(fold([fetched(thing, at(60))], rows))[0] == "in_progress"
    assert state(fold([DONE], rows))[0] == "resolved"


def test_what_never_changes_is_not_taken_back() -> None:
    rows = fold([CREATED, fetched(ticket("t1", at(40)))])
    assert (the_ticket(rows).escalation_id, rows.links[Ticket, (TENANT, "t1")]) == ("e1", "c1")


# ---- full objects ----------------------------------------------------------------------------------------------


def test_the_newer_object_wins_as_a_whole() -> None:
    old = fetched(conversation("c1", at(1), visitor_display_name="Zoé", mood="good"), at(9))
    new = fetched(conversation("c1", at(2), status="closed", closed_at=at(2), visitor_display_name=None), at(3))
    for order in ([old, new], [new, old]):
        row = the_conversation(fold(order))
        assert (row.status, row.closed_at, row.visitor_display_name, row.extra) == ("closed", at(2), "", {})
        assert row.fetched_at == at(3)


def test_of_two_objects_of_one_time_the_one_that_was_fetched_later_wins() -> None:
    first, second = fetched(conversation(locale="fr"), at(1)), fetched(conversation(locale="en"), at(2))
    for order in ([first, second], [second, first]):
        assert the_conversation(fold(order)).locale == "en"


def test_two_objects_of_one_time_that_were_fetched_at_once_end_in_one_of_them() -> None:
    things: list[tuple[Any, Any]] = [
        (conversation(locale="fr"), conversation(locale="en")),
        (ticket(subject="a"), ticket(subject="b")),
        (message(content="a"), message(content="b")),
    ]
    for one, other in things:
        forwards, backwards = fold([fetched(one), fetched(other)]), fold([fetched(other), fetched(one)])
        assert all_seen(forwards) == all_seen(backwards)


def test_every_field_of_the_relays_objects_has_its_column() -> None:
    thing = conversation(
        metadata={"cart": 3}, last_message_at=at(1), closed_at=at(2), visitor_display_name="Zoé", mood="good"
    )
    row = the_conversation(fold([fetched(thing)]))
    for name in type(thing).model_fields.keys() - {"id", "tenant_id"}:
        value = getattr(thing, name)
        assert getattr(row, name) == value, name
    assert (row.relay_id, row.extra) == (thing.id, {"mood": "good"})
    one = ticket(tags=["a"], sla_due_at=at(9), closed_at=at(8), resolved_at=at(7), mood="bad", status="closed")
    kept = the_ticket(fold([fetched(one)]))
    for name in type(one).model_fields.keys() - {"id", "tenant_id", "conversation_id"}:
        assert getattr(kept, name) == (getattr(one, name) or ""), name
    text = message(
        attachments=[{"type": "image", "mime": "image/png", "size": 1, "url": "https://cdn.test/a.png"}],
        citations=[{"chunk_id": "k", "document_id": "d", "document_version": 2, "score": 0.5}],
        confidence=0.5,
        mood="ugly",
    )
    stored = the_message(fold([fetched(text)]))
    for name in type(text).model_fields.keys() - {"id", "tenant_id", "conversation_id", "attachments", "citations"}:
        assert getattr(stored, name) == getattr(text, name), name
    assert stored.attachments == [{"type": "image", "mime": "image/png", "size": 1, "url": "https://cdn.test/a.png"}]
    assert stored.citations == [{"chunk_id": "k", "document_id": "d", "document_version": 2, "score": 0.5}]
    assert stored.extra == {"mood": "ugly"}


def test_texts_stay_out_where_the_project_says_so() -> None:
    attachment = {"type": "image", "mime": "image/png", "size": 1, "url": "https://cdn.test/a.png"}
    text = fetched(message(role="bot", attachments=[attachment], original="Wo?", confidence=0.5), at(1))
    rows = fold([text], Rows(now=NOON, keeps_messages=False))
    row = the_message(rows)
    assert (row.content, row.attachments, row.extra) == ("", [], {})
    assert (row.role, row.confidence, row.created_at) == ("bot", 0.5, NOON)
    # Fetched again once the project has thought better of it.
    rows.keeps_messages = True
    assert the_message(fold([fetched(text.object, at(2))], rows)).content == "Où est ma commande ? 🙂"


# ---- marks -----------------------------------------------------------------------------------------------------


def test_a_repeat_is_no_news_and_marks_nothing() -> None:
    told = [
        envelope("conversation-started", at(1), **ABOUT),
        envelope("message-received", at(2), message_id="m1", **ABOUT),
        ESCALATED,
        CREATED,
        CLAIMED,
        ASSIGNED,
    ]
    rows = fold(told)
    things = [
        fetched(conversation(), mark=the_conversation(rows).mark),
        fetched(ticket(conversation_id="c1"), mark=the_ticket(rows).mark),
    ]
    rows = fold(things, rows)
    rows.changed.clear()
    fold([*told, *told], rows)
    assert (the_conversation(rows).marked_at, the_ticket(rows).marked_at) == (None, None)
    assert not rows.changed


def test_an_event_of_the_conversation_marks_its_tickets() -> None:
    rows = fold([CREATED])
    rows = fold([fetched(ticket(), mark=the_ticket(rows).mark)], rows)
    assert the_ticket(rows).marked_at is None
    assert the_ticket(fold([RELEASED], rows)).marked_at == NOON


def test_of_the_tickets_that_are_done_an_event_of_the_conversation_marks_the_last() -> None:
    said = enumerate(["closed", "resolved", "open", "closed", "reopened"])
    tickets = [ticket(f"t{n}", status=status, created_at=at(n), conversation_id="c1") for n, status in said]
    rows = fold([fetched(each) for each in tickets])
    rows = fold([RELEASED], rows)
    marked = {relay_id for (_, relay_id), row in rows.tickets.items() if row.marked_at is not None}
    assert marked == {"t2", "t3", "t4"}
    # What names a ticket marks it.
    named = envelope("ticket-assigned", at(30), conversation_id="c1", ticket_id="t0", agent_user_id="u1")
    assert the_ticket(fold([named], rows), "t0").marked_at is not None


def test_a_mark_stays_where_an_event_came_during_the_fetch() -> None:
    rows = fold([CLAIMED])
    before = the_conversation(rows).mark
    fold([RELEASED], rows)
    fold([fetched(conversation("c1", at(15)), mark=before)], rows)
    assert the_conversation(rows).marked_at is not None
    fold([fetched(conversation("c1", at(15)), mark=the_conversation(rows).mark)], rows)
    assert the_conversation(rows).marked_at is None


def test_a_stub_is_marked_even_by_what_is_known_already() -> None:
    """A message in two conversations is an error of the relay's; each of them is there, and will be looked at."""
    rows = fold([envelope("message-received", message_id="m1", conversation_id=name) for name in ("c2", "c1")])
    assert {row.marked_at for row in rows.conversations.values()} == {NOON}


def test_a_fetch_without_a_mark_clears_none() -> None:
    assert the_conversation(fold([CLAIMED, fetched(conversation(), source=FROM_SYNC)])).marked_at is not None
    assert the_conversation(fold([fetched(conversation(), mark=Mark(None, None)), CLAIMED])).marked_at is not None


_STEPS = st.lists(
    st.one_of(
        st.integers(0, 5).map(lambda n: envelope("message-received", at(n % 2), message_id=f"m{n}", **ABOUT)),
        st.integers(1, 4).map(
            lambda n: takeover("agent-assigned", at(n % 2), conversation_id="c1", operator_id="op", claim_count=n)
        ),
        st.just("begin"),
        st.just("end"),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(_STEPS)
def test_no_event_is_ever_left_without_a_fetch_that_began_after_it(steps: list[Any]) -> None:
    rows = Rows(now=NOON)
    begun: list[tuple[int, Mark]] = []
    heard: dict[str, int] = {}
    covered = -1
    for place, step in enumerate(steps):
        rows.now = at(place)
        if step == "begin":
            if rows.conversations:
                begun.append((place, the_conversation(rows).mark))
        elif step == "end":
            if begun:
                # Of two that go on at once, the one that began first ends first.
                began, mark = begun.pop(0)
                fold([fetched(conversation(), at(place), mark=mark)], rows)
                covered = max(covered, began)
        else:
            heard.setdefault(step.model_dump_json(), place)
            fold([step], rows)
    if rows.conversations:
        is_marked = the_conversation(rows).marked_at is not None
        assert is_marked == (covered < max(heard.values()))


# ---- who was forgotten -----------------------------------------------------------------------------------------


def gone(seconds: float = 100) -> Rows:
    return Rows(now=NOON, forgotten={(TENANT, "v1"): at(seconds)})


def is_tombstone(row: Conversation | Ticket) -> bool:
    blank = type(row)(tenant=row.tenant, relay_id=row.relay_id)
    times = ("created_at", "updated_at", "synced_at", "forgotten_at")
    return all(
        getattr(row, column.attname) == getattr(blank, column.attname)
        for column in row._meta.concrete_fields
        if column.name not in times and not column.generated
    ) and {getattr(row, name) for name in times} == {row.forgotten_at}


def test_an_event_from_before_does_not_bring_a_person_back() -> None:
    rows = fold([envelope("message-received", at(2), message_id="m1", **ABOUT), CREATED], gone())
    assert is_tombstone(the_conversation(rows))
    assert is_tombstone(the_ticket(rows))
    assert the_conversation(rows).forgotten_at == at(100)
    assert not rows.messages
    # Nor does anything else that is about that conversation, whoever sends it.
    fold([CLAIMED, fetched(conversation()), fetched(message()), fetched(ticket(conversation_id="c1"))], rows)
    assert is_tombstone(the_conversation(rows))
    assert is_tombstone(the_ticket(rows))
    assert not rows.messages


def test_what_happened_at_the_very_time_of_the_erasure_was_before() -> None:
    start = envelope("conversation-started", at(100), **ABOUT)
    assert is_tombstone(the_conversation(fold([start], gone(100))))
    assert not is_tombstone(the_conversation(fold([start], gone(99))))


def test_what_is_said_of_an_erased_ticket_is_kept_nowhere() -> None:
    rows = fold([Erasure(None, "t1", at(50)), ASSIGNED])
    assert is_tombstone(the_ticket(rows))
    assert the_conversation(rows).facts == []


def test_an_object_from_before_does_not_bring_a_person_back() -> None:
    rows = fold([fetched(conversation("c1", at(500), last_message_at=at(500)))], gone())
    assert is_tombstone(the_conversation(rows))
    rows = fold([fetched(ticket("t1", at(500), conversation_id="c1"))], gone())
    assert is_tombstone(the_conversation(rows))
    assert is_tombstone(the_ticket(rows))


def test_a_conversation_that_began_afterwards_is_like_any_other() -> None:
    later = envelope("conversation-started", at(101), conversation_id="c2", visitor_user_id="v1")
    rows = fold([later, fetched(conversation("c2", at(102), created_at=at(101)))], gone())
    assert the_conversation(rows, "c2").forgotten_at is None
    assert the_conversation(rows, "c2").visitor_user_id == "v1"


def test_another_visitor_and_another_tenant_stay() -> None:
    rows = fold([envelope("conversation-started", at(2), conversation_id="c1", visitor_user_id="v10")], gone())
    assert the_conversation(rows).forgotten_at is None
    rows = Rows(now=NOON, forgotten={("another", "v1"): at(100)})
    assert the_conversation(fold([CREATED], rows)).forgotten_at is None


BOBS: dict[str, Any] = {"visitor_user_id": "bob"}


@pytest.mark.parametrize("late", [envelope("message-received", at(2), message_id="m9", **ABOUT), CREATED])
def test_another_visitors_conversation_stays_whoever_an_old_event_names(late: Any) -> None:
    """The relay hands a guest's conversation to whom the guest turns out to be."""
    rows = fold([fetched(conversation(**BOBS)), fetched(message()), late], gone())
    assert the_conversation(rows).forgotten_at is None
    assert (TENANT, "m1") in rows.messages
    # What the event makes, nobody has said to be another's.
    assert all(is_tombstone(row) for row in rows.tickets.values())


def test_another_visitors_ticket_stays_whoever_an_old_event_names() -> None:
    rows = fold([fetched(conversation(**BOBS)), fetched(ticket(user_id="bob", conversation_id="c1")), DONE], gone())
    assert the_ticket(rows).forgotten_at is None
    assert state(rows)[0] == "resolved"


def test_a_ticket_of_a_forgotten_visitor_goes_alone_where_its_conversation_is_another_visitors() -> None:
    rows = fold([fetched(conversation(**BOBS)), fetched(ticket(conversation_id="c1"))], gone())
    assert the_conversation(rows).forgotten_at is None
    assert is_tombstone(the_ticket(rows))


def test_an_object_that_was_overtaken_does_not_erase_what_is_another_visitors_by_now() -> None:
    rows = fold([fetched(conversation("c1", at(9), **BOBS)), fetched(conversation("c1", at(8)))], gone())
    assert the_conversation(rows).forgotten_at is None
    rows = fold([fetched(ticket("t1", at(9), user_id="bob")), fetched(ticket("t1", at(8)))], gone())
    assert the_ticket(rows).forgotten_at is None


def test_what_turns_out_to_be_the_forgotten_visitors_is_erased() -> None:
    rows = fold([fetched(conversation("c1", at(8), **BOBS)), fetched(conversation("c1", at(9)))], gone())
    assert is_tombstone(the_conversation(rows))
    rows = fold([fetched(ticket("t1", at(8), user_id="bob")), fetched(ticket("t1", at(9)))], gone())
    assert is_tombstone(the_ticket(rows))


def test_a_stub_that_was_erased_stays_so_whosever_it_turns_out_to_be() -> None:
    rows = fold([CREATED, fetched(conversation(**BOBS))], gone())
    assert is_tombstone(the_conversation(rows))


def test_what_was_there_is_erased() -> None:
    text = envelope("message-received", at(2), message_id="m1", conversation_id="c1")
    rows = fold([CREATED, text, fetched(message("m2"))])
    fold([Erasure("c1", None, at(50))], rows)
    assert is_tombstone(the_conversation(rows))
    assert is_tombstone(the_ticket(rows))
    assert not rows.messages
    assert rows.erased == {(TENANT, "c1")}
    assert not any(place[0] is Message for place in rows.changed)
    fold([Erasure("c1", None, at(40))], rows)
    assert the_conversation(rows).forgotten_at == at(50)
    fold([Erasure("c1", None, at(60))], rows)
    assert the_conversation(rows).forgotten_at == at(60)


def test_marks_move_on_within_one_moment() -> None:
    rows = fold([CLAIMED, RELEASED, RESOLVED])
    assert the_conversation(rows).marked_at == NOON + timedelta(microseconds=2)
