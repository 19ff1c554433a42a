"""``bloonio_prune``: what nothing has happened in for long is deleted as a whole, and does not come back by itself."""

from __future__ import annotations

import functools
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, models, transaction

from bloonio_chat import mirror
from bloonio_chat.mirror import retention
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.hydration import hydrate
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.projection import merge
from bloonio_chat.mirror.retention import past_conversations, prune
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.verifying import verify
from bloonio_chat.sandbox import SandboxRelay
from tests.mirror.at_relay import Lines, Time, escalated, tell
from tests.mirror.happenings import ticket as relays_ticket
from tests.mirror.referring import referring
from tests.mirror.test_sync import OPTIONS

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database", "many_calls")]

NOW = aware_now()
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)
LONG_AGO = {"updated_at": OLD, "synced_at": OLD}


@pytest.fixture(autouse=True)
def thirty_days(settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_RETENTION_DAYS = 30


def conversation(relay_id: str, **columns: Any) -> Conversation:
    with mirror.writable():
        row: Conversation = Conversation.objects.create(
            tenant="default", relay_id=relay_id, **{**LONG_AGO, "fetched_at": OLD, **columns}
        )
        for number in range(2):
            message(f"{relay_id} {number}", row)
    return row


def message(relay_id: str, of: Conversation, **columns: Any) -> None:
    with mirror.writable():
        Message.objects.create(
            tenant="default", relay_id=relay_id, conversation=of, **{"created_at": OLD, "synced_at": OLD, **columns}
        )


def ticket(relay_id: str, of: Conversation | None, **columns: Any) -> Ticket:
    with mirror.writable():
        row: Ticket = Ticket.objects.create(
            tenant="default", relay_id=relay_id, conversation=of, **{**LONG_AGO, **columns}
        )
    return row


def left() -> set[str]:
    return {
        row for model in (Conversation, Ticket) for row in model._default_manager.values_list("relay_id", flat=True)
    }


NOTHING = {"deleted_conversations": 0, "deleted_messages": 0, "deleted_tickets": 0, "protected": 0}


def _never(seconds: float) -> None:
    raise AssertionError(f"slept {seconds} s")


def pruned(*, dry_run: bool = False) -> dict[str, int]:
    return dict(prune(dry_run, Lines(), now=lambda: NOW))


def test_old_ones_go_with_all_that_is_theirs() -> None:
    ticket("t old", conversation("old"))
    conversation("old and open", status="active")
    conversation("young", updated_at=YOUNG)
    conversation("written to", last_message_at=YOUNG)
    conversation("marked", marked_at=YOUNG)
    conversation("marked long ago", marked_at=OLD)
    conversation("heard of", synced_at=YOUNG)
    conversation("synced", synced_at=YOUNG, synced_from="sync")
    message("young", conversation("of a young message"), created_at=YOUNG)
    ticket("t heard of", conversation("of a ticket that was heard of"), synced_at=YOUNG)
    ticket("t young", conversation("of a young ticket"), updated_at=YOUNG)
    ticket("t marked", conversation("of a marked ticket"), marked_at=YOUNG)
    ticket("alone", None)
    ticket("alone and young", None, updated_at=YOUNG)
    counts = {"deleted_conversations": 4, "deleted_messages": 8, "deleted_tickets": 2, "protected": 0}
    assert pruned(dry_run=True) == counts
    assert pruned() == counts
    assert left() == {
        "young", "written to", "marked", "t young", "of a young ticket", "t marked", "of a marked ticket",
        "alone and young", "heard of", "of a young message", "t heard of", "of a ticket that was heard of",
    }  # fmt: skip
    assert Message.objects.count() == 17
    assert pruned() == NOTHING


def test_tombstones_go_too() -> None:
    conversation("forgotten", forgotten_at=OLD)
    assert pruned()["deleted_conversations"] == 1


def test_in_batches_none_of_which_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    for number in range(8):
        # Of the same time, all of them.
        conversation(f"old {number}")
        conversation(f"kept {number}", last_message_at=YOUNG)
    assert pruned()["deleted_conversations"] == 8
    assert Conversation.objects.count() == 8


def test_what_happens_while_we_look_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    row = conversation("old")
    original = retention._delete

    def meanwhile(*arguments: Any) -> Any:
        with mirror.writable():
            Conversation.objects.filter(pk=row.pk).update(marked_at=NOW)
        return original(*arguments)

    monkeypatch.setattr(retention, "_delete", meanwhile)
    assert pruned() == NOTHING
    assert left() == {"old"}


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_ticket_that_comes_while_we_wait_for_its_conversation_is_seen(database: str) -> None:
    row = conversation("old")
    came, is_waiting = threading.Event(), threading.Event()

    def write() -> None:
        # The conversation's row is locked by it, and stays as it is.
        with transaction.atomic(using=database):
            merge([Fetched("default", relays_ticket("t young", YOUNG, conversation_id="old"), YOUNG)])
            came.set()
            is_waiting.wait(20)
            time.sleep(0.2)
        connections.close_all()

    def delete(execute: Any, sql: str, *arguments: Any) -> Any:
        if "FOR UPDATE" in sql:
            is_waiting.set()
        return execute(sql, *arguments)

    writer = threading.Thread(target=write)
    writer.start()
    came.wait(20)
    if not connections[database].features.has_select_for_update:
        is_waiting.set()
        writer.join()
    with connections[database].execute_wrapper(delete):
        past = functools.partial(past_conversations, database, NOW - timedelta(days=30))
        retention._delete(database, Conversation, past, [row.pk])
    writer.join()
    assert left() == {"old", "t young"}


def test_what_is_talked_in_stays_though_the_relay_has_it_no_more(relay: SandboxRelay, its_time: Time) -> None:
    theirs = relay.open_conversation("v1")
    theirs.created_at = theirs.updated_at = OLD
    conversation(theirs.id)
    conversation("quiet")
    del relay.conversations[theirs.id]
    tell(relay, "message-received", theirs, message_id="today")
    with mirror.writable():
        # Given up, after fetches that came to nothing.
        Conversation.objects.update(marked_at=None)
    assert pruned()["deleted_conversations"] == 1
    assert left() == {theirs.id}
    assert Message.objects.filter(relay_id="today").exists()


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT])
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_what_a_key_of_the_projects_protects_is_kept_and_the_others_go(database: str, rule: Any) -> None:
    with referring(Message, rule, database) as invoices:
        for name in ("a", "b", "c"):
            ticket(f"t {name}", conversation(name))
        invoices.objects.using(database).create(row=Message.objects.get(relay_id="b 1"))
        report = Lines()
        counts = prune(False, report, now=lambda: NOW, sleep=_never)
        assert counts == {"deleted_conversations": 2, "deleted_messages": 4, "deleted_tickets": 2, "protected": 1}
        assert report.lines == ["1 past their time are kept: bloonio_chat_mirror.Invoice refers to them."]
        assert left() == {"b", "t b"}
        assert Message.objects.count() == 2


def test_without_the_setting_everything_stays(settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_RETENTION_DAYS = None
    conversation("old")
    report = Lines()
    assert prune(False, report, now=lambda: NOW) == {}
    assert "MIRROR_RETENTION_DAYS" in report.lines[0]
    assert left() == {"old"}


def test_a_sync_does_not_bring_back_what_was_pruned_but_an_event_does(relay: SandboxRelay, its_time: Time) -> None:
    theirs = relay.open_conversation("v1")
    its_ticket = escalated(relay, theirs)
    for thing in (theirs, its_ticket):
        thing.created_at = thing.updated_at = OLD
    theirs.last_message_at = OLD
    conversation(theirs.id)
    assert pruned()["deleted_conversations"] == 1
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    assert left() == set()
    its_time.now += 600
    counts = verify({"tenant": None, "sample": None}, Lines(), clock=its_time, sleep=its_time.sleep)
    assert counts == {"equal": 0, "missing": 0, "stale": 0, "extra": 0, "unknown": 0}

    tell(relay, "message-received", theirs, message_id=relay.say(theirs.id, "Still there?").id)
    hydrate(9, clock=its_time)
    assert pruned()["deleted_conversations"] == 0
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    assert left() == {theirs.id, its_ticket.id}
    assert Message.objects.count() == len(relay.messages_of(theirs.id))


def test_a_young_ticket_brings_its_old_conversation_along(relay: SandboxRelay, its_time: Time) -> None:
    theirs = relay.open_conversation("v1", visitor_display_name="Ann")
    its_ticket = escalated(relay, theirs)
    theirs.created_at = theirs.updated_at = OLD
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    assert left() == {theirs.id, its_ticket.id}
    assert Conversation.objects.get().visitor_display_name == "Ann"


def test_the_command_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    conversation("old", updated_at=aware_now() - timedelta(days=400))
    call_command("bloonio_prune")
    assert "1 deleted conversations, 2 deleted messages, 0 deleted tickets, 0 protected" in capsys.readouterr().out
