"""Several writers at once: what one alone would have written."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from django.db import connections

from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.mirror import projection
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.forgetting import MirrorForgetting
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.projection import merge, project
from bloonio_chat.sdk.enums import WebhookEventType
from tests.mirror.happenings import (
    TENANT,
    Heard,
    all_seen,
    at,
    conversation,
    envelope,
    fold,
    message,
    stored,
    takeover,
    ticket,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.usefixtures("database")]

WRITERS = 4
CONVERSATIONS = 30
SEED = 20261122


def _story(number: int) -> list[Heard]:
    """All that becomes known of a conversation: the nine events, in both shapes, and the full objects of fetches."""
    name, start = f"c{number}", number * 100.0
    about: dict[str, Any] = {"conversation_id": name, "visitor_user_id": f"v{number % 7}"}
    escalation = {"escalation_id": f"e{number}", "escalation_reason": "direct"}
    of_ticket = {**about, **escalation, "ticket_id": f"t{number}", "ticket_number": f"LOK-{number}"}

    def agent(path: str, seconds: float, count: int, operator: str, **more: Any) -> Heard:
        time = at(start + seconds)
        said = {"conversation_id": name, "claim_count": count, "operator_id": operator, **more}
        if number % 2:
            return takeover(path, time, **said)
        return envelope(path, time, conversation_id=name, agent_user_id=operator, **escalation)

    heard: list[Heard] = [
        envelope("conversation-started", at(start), **about),
        *(envelope("message-received", at(start + n), message_id=f"m{number}-{n}", **about) for n in range(1, 5)),
        envelope("escalation-triggered", at(start + 5), **about, **escalation),
        envelope("ticket-created", at(start + 5.1), **of_ticket),
        agent("agent-assigned", 6, 1, "op1", operator_display_name="Ann"),
        envelope("ticket-assigned", at(start + 6.1), agent_user_id="op1", **of_ticket),
        agent("agent-released", 7, 1, "op1"),
        agent("agent-assigned", 8, 2, "op2", operator_display_name="Bo"),
        envelope("ticket-assigned", at(start + 8.1), agent_user_id="op2", **of_ticket),
        agent("agent-resolved", 9, 2, "op2"),
        envelope("ticket-resolved", at(start + 9.1), agent_user_id="op2", **of_ticket),
        # Guarded by no conversation's lock.
        envelope("ticket-assigned", at(start + 9.2), agent_user_id="op3", ticket_id=f"t{number}"),
        envelope("message-deleted", at(start + 9.5), message_id=f"m{number}-1", **about),
    ]
    for seconds, status, of_the_ticket in ((2, "active", "open"), (6, "active", "assigned"), (9, "closed", "resolved")):
        time = at(start + seconds)
        heard += [
            _fetched(conversation(name, time, status=status, visitor_user_id=f"v{number % 7}"), time),
            _fetched(message(f"m{number}-{seconds}", name, created_at=time), time),
            _fetched(ticket(f"t{number}", time, status=of_the_ticket, conversation_id=name), time),
        ]
    return heard


def _fetched(thing: Any, time: datetime) -> Fetched:
    return Fetched(TENANT, thing, time)


def _write_all(heard: list[Heard], tenant: str) -> None:
    """Write it in batches, each of events or of objects."""
    events = [Projectable(tenant, each) for each in heard if not isinstance(each, Fetched)]
    objects = [
        Fetched(tenant, each.object, each.fetched_at, mark=each.mark) for each in heard if isinstance(each, Fetched)
    ]
    for first in range(0, max(len(events), len(objects)), 40):
        project(events[first : first + 40])
        merge(objects[first : first + 40])


def _each_once(heard: list[Heard]) -> list[list[Heard]]:
    """Each thing goes to one writer, once: what one writer loses of another's, nobody brings back."""
    return [heard[writer::WRITERS] for writer in range(WRITERS)]


def _all_to_all(heard: list[Heard]) -> list[list[Heard]]:
    """Each thing goes to every writer, twice: they are at the same rows all the time."""
    return [heard * 2 for _ in range(WRITERS)]


def test_who_is_forgotten_by_one_while_another_writes_is_gone(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one looks before the other is done, and the other before the one has begun."""
    about_to_commit, go_on = threading.Event(), threading.Event()
    save = projection._save

    def slowly(rows: Any, using: str) -> None:
        save(rows, using)
        if threading.current_thread() is writer:
            about_to_commit.set()
            go_on.wait(20)

    def write() -> None:
        merge(
            [
                Fetched(TENANT, conversation("c1", visitor_user_id="jeanne"), at(0)),
                Fetched(TENANT, message("m1", "c1"), at(0)),
                Fetched(TENANT, conversation("c2", visitor_user_id="bob"), at(0)),
            ]
        )
        connections.close_all()

    def forget() -> None:
        MirrorForgetting().erase(tenant=None, visitor="jeanne", conversations=set(), dry_run=False)
        connections.close_all()

    monkeypatch.setattr(projection, "_save", slowly)
    writer, forgetter = threading.Thread(target=write), threading.Thread(target=forget)
    writer.start()
    about_to_commit.wait(20)
    forgetter.start()
    # On SQLite, where there is one writer at a time, it waits.
    forgetter.join(0.5 if database == "sqlite" else 20)
    go_on.set()
    writer.join(20)
    forgetter.join(20)
    assert list(Conversation.objects.order_by("relay_id").values_list("visitor_user_id", flat=True)) == ["", "bob"]
    assert not Message.objects.exists()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_snapshot_that_is_older_than_a_locked_row(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB's and MySQL's own isolation level, which Django does not use unless it is told to."""
    connection = connections[database]
    told = [envelope("conversation-started", conversation_id="c1"), envelope("ticket-created", at(0), ticket_id="t1")]
    project([Projectable(TENANT, event) for event in told])

    def tie_to_another() -> None:
        _tie("t1", "c9")
        connections.close_all()

    lock, others = projection._lock, [threading.Thread(target=tie_to_another)]

    def meanwhile(model: Any, keys: Any, using: str) -> Any:
        if model is Ticket and others and threading.current_thread() is threading.main_thread():
            other = others.pop()
            other.start()
            other.join(20)
        return lock(model, keys, using)

    monkeypatch.setattr(projection, "_lock", meanwhile)
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
        if cursor.fetchone():
            cursor.execute("SET SESSION innodb_snapshot_isolation = OFF")
    try:
        _tie("t1", "c1")
    finally:
        connection.close()
    assert Ticket.objects.get().conversation == Conversation.objects.get(relay_id="c9")


def _tie(ticket_id: str, conversation_id: str) -> None:
    event = envelope("ticket-resolved", at(2), ticket_id=ticket_id, conversation_id=conversation_id)
    project([Projectable(TENANT, event)])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("share", [_each_once, _all_to_all])
def test_four_writers_end_in_the_rows_of_one(database: str, share: Callable[[list[Heard]], list[list[Heard]]]) -> None:
    heard = [each for number in range(CONVERSATIONS) for each in _story(number)]
    told = {each.event_type for each in heard if not isinstance(each, Fetched)}
    assert told >= set(WebhookEventType)
    _write_all(heard, "alone")
    random.Random(SEED).shuffle(heard)
    shares = share(heard)
    ready = threading.Barrier(WRITERS)

    def work(writer: int) -> None:
        mine = shares[writer]
        random.Random(SEED + writer).shuffle(mine)
        ready.wait()
        try:
            _write_all(mine, "together")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(work, range(WRITERS)))

    alone, together = stored("alone"), stored("together")
    assert alone == all_seen(fold(heard))
    assert len(alone) == CONVERSATIONS * (1 + 6 + 1)
    wrong = [key for key in alone.keys() | together.keys() if alone.get(key) != together.get(key)]
    assert not wrong
    assert not Conversation.objects.filter(synced_from="").exists()
