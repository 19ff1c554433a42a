"""Erasing one person from the inbox: all of theirs, nobody else's, and whatever is being done with it."""

from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from bloonio_chat import signals
from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import erasing
from bloonio_chat.inbox.erasing import UNDELIVERED, InboxForgetting
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt
from bloonio_chat.sdk.events import WebhookEvent
from tests.callbacks.relay import agent_body, envelope, post
from tests.inbox.events import hear, keep, make_due, run, states
from tests.inbox.rows import add, add_many, add_receipt, made
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]

NOTHING = {"erased_events": 0, "undelivered": 0}


def forget(visitor: str = "jane", *, tenant: str | None = None, dry_run: bool = False) -> dict[str, int]:
    room = InboxForgetting()
    conversations = room.conversations(tenant=tenant, visitor=visitor)
    return dict(room.erase(tenant=tenant, visitor=visitor, conversations=conversations, dry_run=dry_run))


def whole() -> list[dict[str, Any]]:
    return list(InboxEvent.objects.order_by("pk").values())


def traces(text: str) -> list[str]:
    """The columns of all events and receipts in which a text stands."""
    rows = [*InboxEvent.objects.values(), *InboxReceipt.objects.values()]
    return [
        name for row in rows for name, value in row.items() if text in str(bytes(value) if name == "body" else value)
    ]


def test_nothing_of_the_person_is_left_and_the_keys_are() -> None:
    jane = {"conversation_id": "conv-jane", "visitor_user_id": "jane"}
    rows = [
        add(**jane, last_error="KeyError: jane"),
        add(**jane, state="dead", last_error="KeyError: jane"),
        add(conversation_id="", visitor_user_id="jane"),
    ]
    for row in rows:
        add_receipt(row, "r", "KeyError: jane")
    InboxEvent.objects.update(body=b'{"visitor_user_id":"jane","conversation_id":"conv-jane"}')
    keys = {row.key for row in rows}
    lanes = {row.lane for row in rows[:2]}
    assert traces("jane")
    assert forget() == {"erased_events": 3, "undelivered": 0}
    assert traces("jane") == []
    assert {row["key"] for row in whole()} == keys
    assert not InboxEvent.objects.filter(lane__in=lanes).exists(), "a lane is a digest of the conversation's id"
    assert all(row["erased_at"] and not row["signature"] for row in whole())
    assert states() == ["delivered", "buried", "delivered"]
    assert forget() == NOTHING


def test_the_operators_events_of_the_conversation_go_too() -> None:
    keep(conversation_id="c1", visitor_user_id="jane")
    client = Client()
    assert (
        post(client, "agent-assigned", agent_body(conversation_id="c1", operator_display_name="Ann")).status_code == 200
    )
    keep(conversation_id="c2", visitor_user_id="joe")
    assert forget() == {"erased_events": 2, "undelivered": 2}
    assert traces("Ann") == []
    assert len(traces("joe")) == 2


def test_the_operators_events_of_a_conversation_that_only_the_mirror_knows_go_too() -> None:
    add(conversation_id="c9", visitor_user_id="")
    conversations = {("default", "c9"), ("default", ""), ("nobody", "c9")}
    counted = InboxForgetting().erase(tenant=None, visitor="jane", conversations=conversations, dry_run=False)
    assert counted == {"erased_events": 1, "undelivered": 0}


@pytest.mark.parametrize("other", ["jane2", "Jane", "jane ", "jan", "%", "j_ne", "JANE"])
def test_others_are_left_alone(other: str) -> None:
    add(conversation_id="c2", visitor_user_id=other)
    add(conversation_id="jane", visitor_user_id="")
    before = whole()
    assert forget() == NOTHING
    assert forget("%") in (NOTHING, {"erased_events": 1, "undelivered": 0})
    if other != "%":
        assert whole() == before


def test_what_names_another_visitor_of_the_same_conversation_is_left_alone() -> None:
    """One that began as a guest's, and went on as a customer's."""
    heard = hear("r")
    keep(conversation_id="c1", visitor_user_id="guest-9")
    theirs = keep(conversation_id="c1", visitor_user_id="joe")
    operators = keep("agent-assigned", conversation_id="c1", visitor_user_id=None)
    rehearsal = forget("guest-9", dry_run=True)
    assert rehearsal == forget("guest-9") == {"erased_events": 2, "undelivered": 2}
    assert run().delivered == 1
    assert heard == [json.loads(bytes(theirs.body))["message_id"]]
    operators.refresh_from_db()
    assert operators.erased_at


def test_one_tenants_person_is_another_one(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {
        "b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET},
        "B": {"TENANT_ID": OTHER_TENANT_ID.replace("2", "3"), "TENANT_SECRET": OTHER_SECRET},
    }
    for number, alias in enumerate(("default", "b", "B")):
        add(tenant=alias, conversation_id=f"c-{alias}", lane=f"lane {number}", visitor_user_id="jane")
    assert InboxForgetting().conversations(tenant="b", visitor="jane") == {("b", "c-b")}
    assert forget(tenant="b")["erased_events"] == 1
    assert set(InboxEvent.objects.filter(erased_at__isnull=True).values_list("tenant", flat=True)) == {"default", "B"}
    assert forget()["erased_events"] == 2


def test_a_rehearsal_counts_the_same_and_changes_nothing() -> None:
    add(visitor_user_id="jane")
    add(visitor_user_id="jane", state="failed")
    before = whole()
    assert forget(dry_run=True) == {"erased_events": 2, "undelivered": 1}
    assert whole() == before
    assert forget() == {"erased_events": 2, "undelivered": 1}


def test_nobody_is_not_everybody() -> None:
    add(visitor_user_id="")
    room = InboxForgetting()
    with pytest.raises(ValueError, match="nobody"):
        room.conversations(tenant=None, visitor="")
    with pytest.raises(ValueError, match="nobody"):
        room.erase(tenant=None, visitor="", conversations=set(), dry_run=False)


def test_what_was_not_delivered_is_given_up_quietly(caplog: pytest.LogCaptureFixture) -> None:
    heard, mourned = hear("r"), []

    def mourn(**arguments: Any) -> None:
        mourned.append(arguments)

    signals.delivery_failed.connect(mourn)
    event = keep(visitor_user_id="jane")
    assert forget() == {"erased_events": 1, "undelivered": 1}
    make_due()
    run()
    event.refresh_from_db()
    assert (event.state, event.due_ms, event.last_error) == ("buried", None, UNDELIVERED)
    assert event.finished_at is not None
    assert not heard
    assert not mourned
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not InboxLane.objects.exists()


def test_a_repeat_of_what_was_erased_is_still_a_repeat() -> None:
    heard = hear("r")
    keep(visitor_user_id="jane", event_id="e1")
    forget()
    assert post(Client(), "message-received", envelope(visitor_user_id="jane", event_id="e1")).status_code == 200
    run()
    assert heard == []
    assert traces("jane") == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_that_has_it_in_memory_writes_nothing_of_it(fails: bool) -> None:
    """The person is erased while a receiver runs, which then says who it was about."""

    counted = []

    def erase(event: WebhookEvent) -> None:
        counted.append(forget())
        if fails:
            raise KeyError("jane")

    hear("first", erase)
    hear("second")
    keep(visitor_user_id="jane", occurred_at="2026-01-01T00:00:00Z")
    keep(visitor_user_id="jane", occurred_at="2026-01-02T00:00:00Z")
    assert run(sleep=lambda seconds: None).total == 0
    assert counted[0] == {"erased_events": 2, "undelivered": 2}
    assert counted[1:] in ([], [NOTHING])
    assert states() == ["buried", "buried"]
    assert traces("jane") == []
    assert not InboxReceipt.objects.exists()
    assert not InboxLane.objects.exists()
    make_due()
    assert run().total == 0


def test_an_atomic_receiver_of_it_is_undone() -> None:
    def erase(event: WebhookEvent) -> None:
        forget()

    # The receiver's own transaction would hold the row: what erases comes between.
    hear("first", erase)
    hear("second", atomic=True)
    keep(visitor_user_id="jane")
    run(sleep=lambda seconds: None)
    assert not InboxReceipt.objects.exists()
    assert states() == ["buried"]


def test_many_events_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_BATCH", 10)
    add_many(made(visitor_user_id="jane", conversation_id=f"c{number % 3}") for number in range(95))
    assert forget()["erased_events"] == 95
    assert not InboxEvent.objects.filter(erased_at__isnull=True).exists()


def test_what_comes_in_meanwhile_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    add(conversation_id="c1", visitor_user_id="jane")
    add(conversation_id="", visitor_user_id="jane")
    original = erasing._erase
    coming = [
        {"conversation_id": "c2", "visitor_user_id": "jane"},
        {"conversation_id": "", "visitor_user_id": "jane"},
        {"conversation_id": "c1", "visitor_user_id": "", "state": "received"},
        {"conversation_id": "c3", "visitor_user_id": "joe"},
    ]

    def meanwhile(using: str, ids: list[int]) -> int:
        undelivered = original(using, ids)
        if coming:
            add(**coming.pop())
        return undelivered

    monkeypatch.setattr(erasing, "_erase", meanwhile)
    assert forget() == {"erased_events": 5, "undelivered": 1}
    assert not coming
    assert list(InboxEvent.objects.filter(erased_at=None).values_list("visitor_user_id", flat=True)) == ["joe"]
    assert not InboxLane.objects.exists()
    assert forget() == NOTHING


def test_who_goes_on_talking_is_not_followed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    first = add(conversation_id="c1", visitor_user_id="jane").pk
    original = erasing._erase

    def meanwhile(using: str, ids: list[int]) -> int:
        assert ids[0] < first + 50
        add(conversation_id=f"after {ids[0]}", visitor_user_id="jane")
        return original(using, ids)

    monkeypatch.setattr(erasing, "_erase", meanwhile)
    assert 2 <= forget()["erased_events"] < 50


def test_the_command_forgets_in_the_inbox() -> None:
    add(visitor_user_id="jane")
    assert isinstance(ports.forget["bloonio_chat_inbox"], InboxForgetting)
    out = StringIO()
    call_command("bloonio_forget", visitor="jane", stdout=out)
    assert "bloonio_chat_inbox: 1 erased events, 0 undelivered." in out.getvalue()
