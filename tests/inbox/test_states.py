"""The state machine: how long a failed event waits, when it is given up, who hears of it, and what people may do."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from bloonio_chat import signals
from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import delivering, interventions, processing
from bloonio_chat.inbox import lanes as leasing
from bloonio_chat.inbox import states as machine
from bloonio_chat.inbox.models import InboxEvent, InboxLane
from bloonio_chat.sdk.events import WebhookEvent
from tests.callbacks.relay import ACKNOWLEDGED, agent_body, answer, envelope, now_ms, post
from tests.inbox.events import LONGEST, hear, keep, make_due, receipts, run, states

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]
on_one = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def boom(_: Any) -> None:
    raise ValueError("boom")


# ---- how long it waits -----------------------------------------------------------------------------------------


@on_one
@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_a_pause_is_anything_up_to_a_bound_that_doubles_up_to_four_hours(attempts: int, chance: float) -> None:
    bound_ms = min(4 * 3600, 15 * 2 ** (min(attempts, 30) - 1)) * 1000
    assert machine.retry_delay_ms(attempts, lambda: 0.0) == 0
    assert machine.retry_delay_ms(attempts, lambda: 1.0) == bound_ms
    assert machine.retry_delay_ms(attempts, lambda: chance) == int(chance * bound_ms)


def test_a_failed_event_waits_by_the_database_s_clock_and_longer_each_time(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 20
    hear("r", boom)
    row = keep()
    for attempt in range(1, 13):
        before = now_ms()
        assert run().failed == 1
        after = now_ms()
        row.refresh_from_db()
        assert (row.state, row.attempts, row.finished_at) == ("failed", attempt, None)
        assert row.due_ms is not None
        bound_ms = min(4 * 3600, 15 * 2 ** (attempt - 1)) * 1000
        assert before - 1000 < row.due_ms - LONGEST * bound_ms < after + 1000
        assert run().total == 0, "it is not due"
        make_due()


def test_an_event_that_fails_with_no_pause_at_all_is_due_at_once(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 4
    heard = hear("r", boom)
    keep()
    assert vars(run(random=lambda: 0.0)) == {"delivered": 0, "failed": 3, "dead": 1}
    assert len(heard) == 4


# ---- given up --------------------------------------------------------------------------------------------------


def test_an_event_is_given_up_after_its_attempts_and_that_is_loud(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    lost: list[dict[str, Any]] = []

    def mourn(**kwargs: Any) -> None:
        lost.append(kwargs)

    def mourn_badly(**_: Any) -> None:
        raise RuntimeError("the mourner fails")

    signals.delivery_failed.connect(mourn_badly)
    signals.delivery_failed.connect(mourn)
    good = hear("good")
    hear("bad", boom)
    hear("worse", lambda event: {}[event.message_id])
    row = keep(message_id="m1")
    assert run().failed == 1
    assert not lost
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    make_due()
    assert run().dead == 1
    row.refresh_from_db()
    assert (row.state, row.attempts, row.due_ms) == ("dead", 2, None)
    assert row.finished_at is not None
    assert row.due_at is None
    assert row.last_error.startswith("KeyError: 'm1' (in ")
    assert receipts(row) == {
        "message_received:good": (True, 1),
        "message_received:bad": (False, 2),
        "message_received:worse": (False, 2),
    }
    (arguments,) = lost
    assert arguments.pop("signal") is signals.delivery_failed
    errors = arguments.pop("errors")
    assert list(errors) == ["message_received:bad", "message_received:worse"]
    assert errors["message_received:bad"].startswith("ValueError: boom")
    event = arguments.pop("event")
    assert (event.message_id, event.conversation_id) == ("m1", "c1")
    assert arguments == {"sender": WebhookEvent, "tenant": "default", "attempts": 2, "inbox_event_id": row.pk}
    (critical,) = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert "message_received:bad, message_received:worse" in critical.getMessage()
    assert f"--event {row.pk}" in critical.getMessage()
    assert "the mourner fails" in caplog.text
    # Neither time nor a repeat brings it back.
    assert make_due() == 0
    assert run().total == 0
    assert post(Client(), "message-received", bytes(row.body)).status_code == 200
    assert run().total == 0
    assert (len(good), len(lost)) == (1, 1)


def test_the_event_of_a_lost_delivery_can_still_be_asked_about(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1
    clients: list[Any] = []

    def mourn(event: WebhookEvent, **_: Any) -> None:
        clients.append(event._require_client())

    signals.delivery_failed.connect(mourn)
    hear("r", boom)
    keep()
    assert run().dead == 1
    assert len(clients) == 1


# ---- repeats ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", machine.STATES)
@pytest.mark.parametrize("erased", [False, True], ids=["kept", "erased"])
def test_a_repeat_is_a_200_and_no_second_delivery_whatever_became_of_the_first(state: str, erased: bool) -> None:
    heard = hear("r")
    row = keep(event_id="e1")
    is_open = state in machine.OPEN_STATES
    changes: dict[str, Any] = {"state": state, "due_ms": row.due_ms if is_open else None, "attempts": 3}
    if erased:
        changes |= {"body": b"", "signature": "", "visitor_user_id": "", "erased_at": row.received_at}
    InboxEvent.objects.update(**changes)
    for _ in range(2):
        response = post(Client(), "message-received", envelope(event_id="e1"))
        assert (response.status_code, answer(response)) == (200, ACKNOWLEDGED)
    row.refresh_from_db()
    assert (row.repeats, row.state, row.attempts) == (2, state, 3)
    assert bytes(row.body) == (b"" if erased else bytes(row.body))
    run()
    assert len(heard) == (1 if is_open and not erased else 0)


# ---- what can't be delivered -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b""},
        {"body": b"\xff\x00not JSON"},
        {"body": b"[]"},
        {"event_type": "ticket_created"},
        {"event_type": ""},
        {"event_type": "Not A Name"},
        {"signed_timestamp": ""},
        {"signed_timestamp": "soon"},
        {"signed_tenant_id": ""},
    ],
    ids=str,
)
def test_a_row_that_can_t_be_read_any_more_dies_and_holds_nothing_up(changes: dict[str, Any], settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    lost: list[dict[str, Any]] = []

    def mourn(**kwargs: Any) -> None:
        lost.append(kwargs)

    signals.delivery_failed.connect(mourn)
    heard = hear("r")
    bad = keep(message_id="bad")
    InboxEvent.objects.update(**changes)
    keep(message_id="good")
    for _ in range(4):
        run()
        make_due()
    assert heard == ["good"]
    assert states() == ["dead", "delivered"]
    (arguments,) = lost
    assert arguments["event"] is None
    assert arguments["inbox_event_id"] == bad.pk
    bad.refresh_from_db()
    assert bad.last_error.startswith("The stored event can't be read any more")
    assert bad.attempts == 2
    assert receipts(bad) == {"worker": (False, 2)}


def test_a_signed_moment_that_never_was_is_no_end_either() -> None:
    """The agent's body says nothing of when it was: that is the signed moment."""
    assert post(Client(), "agent-released", agent_body("agent-released")).status_code == 200
    InboxEvent.objects.update(signed_timestamp="9" * 32)
    assert run().failed == 1
    assert "OverflowError" in InboxEvent.objects.get().last_error or "ValueError" in InboxEvent.objects.get().last_error


def test_a_mirror_that_fails_holds_the_receivers_back_for_two_attempts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    projected: list[list[str | None]] = []

    def project(batch: Any) -> None:
        projected.append([one.event.message_id for one in batch])
        if any(one.event.message_id == "bad" for one in batch):
            raise RuntimeError("the mirror is broken")

    monkeypatch.setattr(ports, "project", project)
    heard = hear("r")
    bad, good = keep(message_id="bad"), keep(message_id="good")
    assert vars(run()) == {"delivered": 1, "failed": 1, "dead": 0}
    # Together first; then each by itself, so that one holds up no other.
    assert projected == [["bad", "good"], ["bad"], ["good"]]
    assert heard == ["good"]
    for expected in (["good"], ["good", "bad"], ["good", "bad"]):
        make_due()
        assert run().failed == 1
        assert heard == expected
    assert receipts(bad) == {"projection": (False, 4), "message_received:r": (True, 1)}
    assert receipts(good) == {"message_received:r": (True, 1)}
    monkeypatch.setattr(ports, "project", lambda batch: None)
    make_due()
    assert run().delivered == 1
    assert receipts(bad) == {"projection": (True, 5), "message_received:r": (True, 1)}


# ---- by hand ---------------------------------------------------------------------------------------------------


def test_retrying_by_hand_gives_all_attempts_again(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 2
    heard = hear("r", boom)
    row = keep()
    run(random=lambda: 0.0)
    assert states() == ["dead"]
    assert interventions.retry([row.pk]) == 1
    row.refresh_from_db()
    assert (row.state, row.attempts, row.finished_at) == ("failed", 0, None)
    assert row.last_error, "what is known of it is not forgotten"
    assert vars(run(random=lambda: 0.0)) == {"delivered": 0, "failed": 1, "dead": 1}
    assert len(heard) == 4


@pytest.mark.parametrize("by_hand", ["bury", "retry"])
def test_what_a_dead_worker_left_behind_can_be_buried_and_retried(database: str, by_hand: str) -> None:
    """An event that kills its workers stays ``delivering``: nobody lives to write anything else."""
    row = keep()
    leasing.take(database, [row.lane], seconds=60)
    InboxEvent.objects.update(state="delivering", attempts=3, due_ms=now_ms() + 3_600_000)
    change = getattr(interventions, by_hand)
    assert change([row.pk]) == 0, "its worker may be at it"
    InboxLane.objects.update(leased_until_ms=1)
    assert change([row.pk]) == 1
    row.refresh_from_db()
    assert (row.state, row.due_ms is None) == (("buried", True) if by_hand == "bury" else ("delivering", False))
    assert run().total == (0 if by_hand == "bury" else 1)


@pytest.mark.parametrize("by_hand", ["bury", "retry"])
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_person_decided_of_one_left_for_dead_is_not_undone_by_its_worker(
    settings: Any, by_hand: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It was slow, and not dead; nobody has taken its lane meanwhile."""
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1

    def be_slow(event: Any) -> None:
        if len(heard) == 1:
            InboxLane.objects.update(leased_until_ms=1)
            assert getattr(interventions, by_hand)([row.pk]) == 1
            if fails:
                raise ValueError("boom")

    heard = hear("r", be_slow)
    row = keep()
    tally = run(sleep=lambda seconds: None)
    row.refresh_from_db()
    assert (tally.failed, tally.dead) == (0, 0)
    assert "given up" not in caplog.text
    assert row.due_ms is None
    # One that is retried is called again, unless it has succeeded meanwhile.
    wanted = {("bury", False): ("buried", 1), ("bury", True): ("buried", 1)}
    wanted |= {("retry", False): ("delivered", 1), ("retry", True): ("delivered", 2)}
    assert (row.state, len(heard)) == wanted[by_hand, fails]


def test_only_what_has_failed_can_be_retried_and_only_what_nobody_delivers_buried(database: str) -> None:
    rows = {state: keep(conversation_id=None) for state in machine.STATES}
    for state, row in rows.items():
        InboxEvent.objects.filter(pk=row.pk).update(state=state)
    everyone = [row.pk for row in rows.values()]
    lease = leasing.take(database, [rows["delivering"].lane], seconds=60)
    assert interventions.bury(everyone) == 3
    assert states() == ["buried", "delivering", "delivered", "buried", "buried", "buried"]
    assert interventions.retry(everyone) == 4
    assert states() == ["failed", "delivering", "delivered", "failed", "failed", "failed"]
    assert interventions.retry_all("delivering", event_id=rows["delivering"].pk) == 0, "it is in work"
    lease.release([rows["delivering"].lane])
    assert interventions.retry_all("delivering", event_id=rows["delivering"].pk) == 1
    assert interventions.retry([]) == interventions.retry([10**9]) == interventions.bury([]) == 0


def test_hundreds_that_are_retried_become_due_ten_a_second() -> None:
    for _ in range(25):
        keep(conversation_id=None)
    InboxEvent.objects.update(state="dead", due_ms=None)
    assert interventions.retry(InboxEvent.objects.order_by("pk").values_list("pk", flat=True)) == 25
    due = [at for at in InboxEvent.objects.order_by("pk").values_list("due_ms", flat=True) if at is not None]
    assert due == sorted(due)
    steps = [later - earlier for earlier, later in itertools.pairwise(due)]
    # Each ten were written in one statement, by one reading of the clock.
    assert sum(steps[:9]) == sum(steps[10:19]) == sum(steps[20:]) == 0
    assert min(steps[9], steps[19]) >= 1000


def test_all_of_a_state_are_retried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "_BATCH", 3)
    for _ in range(8):
        keep(conversation_id=None)
    InboxEvent.objects.update(state="dead", due_ms=None)
    InboxEvent.objects.filter(pk=InboxEvent.objects.latest("pk").pk).update(state="failed")
    assert interventions.bury([InboxEvent.objects.earliest("pk").pk]) == 1
    assert interventions.retry_all("dead") == 6
    assert interventions.retry_all("dead") == 0
    assert interventions.retry_all("failed", event_id=InboxEvent.objects.latest("pk").pk) == 1
    assert run().delivered == 7
    assert states()[0] == "buried", "a person has decided that"


def test_what_is_buried_meanwhile_is_not_delivered_and_the_rest_is_begun_once() -> None:
    """Somebody gives an event up after a worker has read it, and before it began."""
    heard = hear("r")
    rows = [keep(conversation_id=None, message_id=f"m{number}") for number in range(4)]

    def read_then_bury(*args: Any, **kwargs: Any) -> Any:
        found = delivering.read_due(*args, **kwargs)
        interventions.bury([rows[1].pk])
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processing, "read_due", read_then_bury)
        assert run().delivered == 3
    assert sorted(heard) == ["m0", "m2", "m3"]
    assert list(InboxEvent.objects.order_by("pk").values_list("state", "attempts")) == [
        ("delivered", 1),
        ("buried", 0),
        ("delivered", 1),
        ("delivered", 1),
    ]
    assert not InboxLane.objects.exists()


def test_what_is_buried_meanwhile_is_not_delivered_on_its_last_attempt_either(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1
    heard = hear("r")
    row = keep()

    def read_then_bury(*args: Any, **kwargs: Any) -> Any:
        found = delivering.read_due(*args, **kwargs)
        interventions.bury([row.pk])
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processing, "read_due", read_then_bury)
        assert run(sleep=lambda seconds: None).total == 0
    assert (heard, states()) == ([], ["buried"])
