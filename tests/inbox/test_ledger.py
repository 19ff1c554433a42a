"""The ledger: each receiver has an event until it succeeds, and then never again, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from bloonio_chat import signals
from bloonio_chat.inbox import interventions
from bloonio_chat.inbox.delivering import ledger_name
from bloonio_chat.inbox.models import InboxReceipt
from bloonio_chat.sdk.events import WebhookEvent
from tests.inbox.events import hear, keep, make_due, receipts, run, states

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


class Faulty:
    """What a receiver does: raises as long as it is broken."""

    def __init__(self) -> None:
        self.is_broken = True

    def __call__(self, event: Any) -> None:
        if self.is_broken:
            raise RuntimeError("boom")


def test_a_retry_calls_only_those_that_have_not_succeeded() -> None:
    faults = Faulty(), Faulty()
    good, one, other = hear("good"), hear("one", faults[0]), hear("other", faults[1])
    row = keep()
    for broken in ((True, True), (False, True), (False, False)):
        faults[0].is_broken, faults[1].is_broken = broken
        run()
        make_due()
    assert (len(good), len(one), len(other)) == (1, 2, 3)
    assert states() == ["delivered"]
    assert receipts(row) == {
        "message_received:good": (True, 1),
        "message_received:one": (True, 2),
        "message_received:other": (True, 3),
    }
    # What went wrong before can still be read.
    assert "RuntimeError: boom" in InboxReceipt.objects.get(receiver="message_received:other").last_error
    assert InboxReceipt.objects.get(receiver="message_received:good").last_error == ""


def test_each_event_has_a_ledger_of_its_own() -> None:
    heard = hear("r", lambda event: 1 / 0 if event.message_id == "bad" else None)
    for message in ("a", "bad", "b"):
        keep(message_id=message, conversation_id=None)
    assert vars(run()) == {"delivered": 2, "failed": 1, "dead": 0}
    make_due()
    assert vars(run()) == {"delivered": 0, "failed": 1, "dead": 0}
    assert sorted(heard) == ["a", "b", "bad", "bad"]


@pytest.mark.parametrize("by_hand", ["retry", "retry_all", "bury first"])
def test_a_retry_by_hand_calls_only_those_that_have_not_succeeded_either(by_hand: str, settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1 if by_hand != "bury first" else 5
    fault = Faulty()
    good, bad = hear("good"), hear("bad", fault)
    row = keep()
    run()
    if by_hand == "bury first":
        assert interventions.bury([row.pk]) == 1
    assert states() == ["buried" if by_hand == "bury first" else "dead"]
    fault.is_broken = False
    assert (interventions.retry_all("dead") if by_hand == "retry_all" else interventions.retry([row.pk])) == 1
    assert run().delivered == 1
    assert (len(good), len(bad)) == (1, 2)
    assert receipts(row) == {"message_received:good": (True, 1), "message_received:bad": (True, 2)}


def test_a_removed_receiver_does_not_hold_an_event_back() -> None:
    good, bad = hear("good"), hear("bad", Faulty())
    row = keep()
    run()
    assert signals.message_received.disconnect(dispatch_uid="bad")
    make_due()
    assert run().delivered == 1
    assert (len(good), len(bad)) == (1, 1)
    assert receipts(row)["message_received:bad"] == (False, 1)


def test_a_renamed_receiver_is_another_one() -> None:
    fault = Faulty()
    other, old = hear("other", fault), hear("old")
    keep()
    run()
    signals.message_received.disconnect(dispatch_uid="old")
    new = hear("new")
    fault.is_broken = False
    make_due()
    assert run().delivered == 1
    assert (len(other), len(old), len(new)) == (2, 1, 1)


def test_one_function_on_two_signals_is_two_receivers() -> None:
    calls: list[str] = []
    broken = {"message_received"}

    def receive(event: Any, signal: Any, **_: Any) -> None:
        calls.append(signal.name)
        if signal.name in broken:
            raise RuntimeError("boom")

    signals.event_received.connect(receive)
    signals.message_received.connect(receive)
    row = keep()
    run()
    broken.clear()
    make_due()
    assert run().delivered == 1
    assert calls == ["event_received", "message_received", "message_received"]
    assert sorted(receipts(row).values()) == [(True, 1), (True, 2)]


@pytest.mark.parametrize("character", ["x", "é", "🙂"])
def test_names_that_are_too_long_stay_apart(character: str) -> None:
    stem = character * 400
    faults = {name: Faulty() for name in (f"{stem}a", f"{stem}b", character * 238, character * 239)}
    heard = {name: hear(name, fault) for name, fault in faults.items()}
    row = keep()
    run()
    assert len(receipts(row)) == 4
    assert max(len(name) for name in receipts(row)) == 255
    faults[f"{stem}b"].is_broken = False
    make_due()
    run()
    make_due()
    run()
    assert {name[-1:] if len(name) == 401 else len(name): len(calls) for name, calls in heard.items()} == {
        "a": 3,
        "b": 2,
        238: 3,
        239: 3,
    }


def test_names_that_a_collation_would_take_for_one_stay_apart() -> None:
    names = ["notify", "Notify", "notify ", "nötify", "\uff4eotify"]
    faults = {name: Faulty() for name in names}
    heard = {name: hear(name, fault) for name, fault in faults.items()}
    row = keep()
    faults["notify"].is_broken = False
    run()
    assert receipts(row) == {f"message_received:{name}": (name == "notify", 1) for name in names}
    for fault in faults.values():
        fault.is_broken = False
    make_due()
    assert run().delivered == 1
    assert {name: len(calls) for name, calls in heard.items()} == {name: 2 - (name == "notify") for name in names}


@pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
def test_names_that_a_collation_would_take_for_one_stay_apart_in_transactions_too(atomic: bool) -> None:
    fault = Faulty()
    upper, lower = hear("R", fault, atomic=atomic), hear("r", atomic=atomic)
    row = keep()
    run()
    fault.is_broken = False
    make_due()
    assert run().delivered == 1
    assert (len(upper), len(lower)) == (2, 1)
    assert receipts(row) == {"message_received:R": (True, 2), "message_received:r": (True, 1)}


def test_an_error_tracker_around_receivers_changes_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentry's SDK replaces what the signal finds with wrappers made on the spot."""
    fault = Faulty()
    good, bad = hear("good"), hear("bad", fault)

    @receiver_of_module
    def decorated(event: Any, **_: Any) -> None: ...

    signals.message_received.connect(decorated)
    row = keep()
    run()
    live = signals.EventSignal._live_receivers

    def wrapped(self: Any, sender: Any) -> Any:
        found = live(self, sender)
        return ([lambda *a, r=one, **k: r(*a, **k) for one in found[0]], [])

    monkeypatch.setattr(signals.EventSignal, "_live_receivers", wrapped)
    fault.is_broken = False
    make_due()
    assert run().delivered == 1
    assert (len(good), len(bad)) == (1, 2)
    assert set(receipts(row).values()) == {(True, 1), (True, 2)}


def receiver_of_module(function: Any) -> Any:
    """A decorator as careful projects write them."""

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return around


def test_an_asynchronous_receiver_is_run_to_its_end_and_noted() -> None:
    done: list[str] = []
    broken = [True]

    async def receive(event: Any, **_: Any) -> None:
        await asyncio.sleep(0)
        if broken[0]:
            raise RuntimeError("boom")
        done.append(event.message_id)

    async def give_up(event: Any, **_: Any) -> None:
        raise asyncio.CancelledError

    signals.message_received.connect(receive, dispatch_uid="async")
    row = keep()
    assert run().failed == 1
    broken[0] = False
    make_due()
    assert run().delivered == 1
    assert len(done) == 1
    assert receipts(row) == {"message_received:async": (True, 2)}
    signals.message_received.connect(give_up, dispatch_uid="cancelled")
    keep()
    assert run().failed == 1


def test_a_transaction_around_an_asynchronous_receiver_is_refused() -> None:
    async def receive(event: Any, **_: Any) -> None: ...

    with pytest.raises(ValueError, match="asynchronous, and would run outside the transaction"):
        signals.message_received.connect(receive, atomic=True)


def test_receivers_get_what_every_signal_s_receivers_get() -> None:
    got: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        got.append(kwargs)

    signals.message_received.connect(receive, sender=WebhookEvent, dispatch_uid="r")
    row = keep(message_id="m", extra={"a": 1})
    assert run().delivered == 1
    assert got[0].keys() == {"signal", "sender", "event", "tenant"}
    assert (got[0]["sender"], got[0]["tenant"], got[0]["signal"]) == (WebhookEvent, "default", signals.message_received)
    assert (got[0]["event"].message_id, got[0]["event"].extra) == ("m", {"a": 1})
    # Bound to its tenant's client; that is not called here.
    assert got[0]["event"]._require_client() is not None
    assert row.tenant == "default"


def test_an_event_without_receivers_is_delivered() -> None:
    row = keep()
    assert run().delivered == 1
    assert receipts(row) == {}


def test_the_name_in_the_ledger_is_the_signal_s_and_the_receiver_s() -> None:
    hear("r")
    (connected,) = signals.message_received.connected()
    assert ledger_name(connected) == "message_received:r"
