"""``bloonio_prune``: what nothing has happened in for long is deleted as a whole, and does not come back by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from bloonio_chat import mirror
from bloonio_chat.mirror import retention
from bloonio_chat.mirror.hydration import hydrate
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.retention import prune
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.verifying import verify
from bloonio_chat.sandbox import SandboxRelay
from tests.mirror.at_relay import Lines, Time, escalated, tell
from tests.mirror.test_sync import OPTIONS

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database", "many_calls")]

NOW = aware_now()
OLD, YOUNG = NOW - timedelta(days=31), NOW - timedelta(days=29)


@pytest.fixture(autouse=True)
def thirty_days(settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_RETENTION_DAYS = 30


def conversation(relay_id: str, **columns: Any) -> Conversation:
    with mirror.writable():
        row: Conversation = Conversation.objects.create(
            tenant="default", relay_id=relay_id, **{"updated_at": OLD, "fetched_at": OLD, **columns}
        )
        for number in range(2):
            Message.objects.create(tenant="default", relay_id=f"{relay_id} {number}", conversation=row)
    return row


def ticket(relay_id: str, of: Conversation | None, **columns: Any) -> Ticket:
    with mirror.writable():
        row: Ticket = Ticket.objects.create(
            tenant="default", relay_id=relay_id, conversation=of, **{"updated_at": OLD, **columns}
        )
    return row


def left() -> set[str]:
    return {
        row for model in (Conversation, Ticket) for row in model._default_manager.values_list("relay_id", flat=True)
    }


def pruned(*, dry_run: bool = False) -> dict[str, int]:
    return dict(prune(dry_run, Lines(), now=lambda: NOW))


def test_old_ones_go_with_all_that_is_theirs() -> None:
    ticket("t old", conversation("old"))
    conversation("old and open", status="active")
    conversation("young", updated_at=YOUNG)
    conversation("written to", last_message_at=YOUNG)
    conversation("marked", marked_at=YOUNG)
    conversation("marked long ago", marked_at=OLD)
    ticket("t young", conversation("of a young ticket"), updated_at=YOUNG)
    ticket("t marked", conversation("of a marked ticket"), marked_at=YOUNG)
    ticket("alone", None)
    ticket("alone and young", None, updated_at=YOUNG)
    counts = {"deleted_conversations": 3, "deleted_messages": 6, "deleted_tickets": 2}
    assert pruned(dry_run=True) == counts
    assert pruned() == counts
    assert left() == {
        "young", "written to", "marked", "t young", "of a young ticket", "t marked", "of a marked ticket",
        "alone and young",
    }  # fmt: skip
    assert Message.objects.count() == 10
    assert pruned() == {"deleted_conversations": 0, "deleted_messages": 0, "deleted_tickets": 0}


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
    assert pruned() == {"deleted_conversations": 0, "deleted_messages": 0, "deleted_tickets": 0}
    assert left() == {"old"}


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
    its_time.now += 1
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
    assert "1 deleted conversations, 2 deleted messages, 0 deleted tickets" in capsys.readouterr().out
