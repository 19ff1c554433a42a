"""What ends a worker, or takes its database away, in the middle: no outcome is lost, nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connections, transaction

from bloonio_chat import signals
from bloonio_chat.inbox import handover, outcomes, processing
from bloonio_chat.inbox.handover import Handover
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt
from tests.databases import RoomsRouter
from tests.inbox.events import hear, keep, keep_many, make_due, receipts, run, states
from tests.inbox.workers import Time, elsewhere

# Outcomes wait for a database only outside of transactions.
pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.usefixtures("database")]
# What a receiver asks for itself is its failure; what comes from outside says nothing about the event.
ENDS = [(SystemExit, "failed"), (KeyboardInterrupt, "delivering"), (GeneratorExit, "delivering")]


def attempts() -> list[int]:
    return list(InboxEvent.objects.order_by("pk").values_list("attempts", flat=True))


# ---- what ends the process -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "left_as"), ENDS)
def test_what_was_done_is_written_and_what_was_not_touched_is_as_it_was(end: type[BaseException], left_as: str) -> None:
    def leave(event: Any) -> None:
        if event.message_id == "m2":
            raise end

    first = hear("first")
    second = hear("second", leave)
    rows = [keep(message_id=f"m{number}") for number in range(5)]
    InboxEvent.objects.filter(pk=rows[4].pk).update(state="failed", attempts=3)
    with pytest.raises(end):
        run()
    assert states() == ["delivered", "delivered", left_as, "received", "failed"]
    assert attempts() == [1, 1, 1, 0, 3]
    assert (first, second) == (["m0", "m1", "m2"],) * 2
    # The one that was called before it, in the same event, is known to be done.
    ledger = {"message_received:first": (True, 1)}
    assert receipts(rows[2]) == ({**ledger, "message_received:second": (False, 1)} if left_as == "failed" else ledger)
    assert not InboxLane.objects.exists(), "nobody has to wait for the lease"
    signals.message_received.disconnect(dispatch_uid="second")
    hear("second")
    make_due()
    assert run().delivered == 3
    assert attempts() == [1, 1, 2, 1, 4]
    assert len(first) == 5, "it is not called again for the one in the middle"
    ledger["message_received:second"] = (True, 2 if left_as == "failed" else 1)
    assert receipts(rows[2]) == ledger


def test_what_ends_the_process_within_a_transaction_undoes_that() -> None:
    def leave(_: Any) -> None:
        InboxReceipt.objects.update(last_error="undone")
        raise KeyboardInterrupt

    hear("before")
    hear("r", leave, atomic=True)
    row = keep()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert receipts(row) == {"message_received:before": (True, 1)}
    assert not InboxReceipt.objects.filter(last_error="undone").exists()
    assert not InboxLane.objects.exists()


def test_a_mirror_that_ends_the_process_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from bloonio_chat.callbacks.ports import ports

    def leave(_: Any) -> None:
        raise KeyboardInterrupt

    keep_many(3)
    monkeypatch.setattr(ports, "project", leave)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert (states(), attempts()) == (["received"] * 3, [0] * 3)
    assert not InboxLane.objects.exists()


def test_a_receiver_that_leaves_ends_no_thread_of_the_inline_runner_for_good(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads end silently on SystemExit; had they been counted still, soon none would be started."""

    def leave(_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(handover, "_handover", Handover())
    monkeypatch.setattr(handover, "PAUSE_AFTER_ERROR_SECONDS", 0)
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 100
    hear("leaves", leave)
    for _ in range(2 * handover.THREADS):
        keep(conversation_id=None)
        assert handover.join(20)
    signals.message_received.disconnect(dispatch_uid="leaves")
    heard = hear("r")
    keep(conversation_id=None, message_id="last")
    assert handover.join(20)
    assert "last" in heard


# ---- a database that goes away ---------------------------------------------------------------------------------


@contextmanager
def failing(*errors: Exception, when: Callable[[str], bool]) -> Iterator[list[str]]:
    """Have the next statements of this kind fail, each with one of the errors; gives those that did.

    Not before a receiver was called: what fails until then costs no outcome.
    """
    left, failed, called = list(errors), [], hear("called")

    def execute_or_fail(execute: Any, sql: str, *rest: Any) -> Any:
        if called and left and when(sql):
            failed.append(sql)
            raise left.pop(0)
        return execute(sql, *rest)

    with connections[RoomsRouter.alias].execute_wrapper(execute_or_fail):
        yield failed


def writes_receipts(sql: str) -> bool:
    return sql.startswith("INSERT") and "inboxreceipt" in sql


def writes_states(sql: str) -> bool:
    return sql.startswith("UPDATE") and "finished_at" in sql


def renews(sql: str) -> bool:
    return sql.startswith("UPDATE") and "inboxlane" in sql


@pytest.mark.parametrize("when", [writes_receipts, writes_states, renews])
@pytest.mark.parametrize(
    "error",
    [OperationalError("gone"), OperationalError(1213, "Deadlock found"), InterfaceError("connection already closed")],
    ids=repr,
)
def test_outcomes_are_written_after_a_pause(error: Exception, when: Callable[[str], bool]) -> None:
    heard, clock = hear("r"), Time()
    rows = keep_many(3)
    with failing(error, error, when=when) as failed:
        tally = run(sleep=clock.sleep, monotonic=clock.monotonic)
    assert vars(tally) == {"delivered": 3, "failed": 0, "dead": 0}
    assert len(failed) == 2
    assert clock.naps == [0.1, 0.5]
    assert len(heard) == 3
    assert (states(), attempts()) == (["delivered"] * 3, [1] * 3)
    ledger = {"message_received:r": (True, 1), "message_received:called": (True, 1)}
    assert [receipts(row) for row in rows] == [ledger] * 3
    assert not InboxLane.objects.exists()


def test_the_database_is_waited_for_as_long_as_the_lease_may_hold() -> None:
    clock = Time()
    heard = hear("r")
    keep()
    with failing(*[OperationalError("gone")] * 1000, when=renews), pytest.raises(OperationalError):
        run(sleep=clock.sleep, monotonic=clock.monotonic)
    assert 30 < clock.now - 1000 < 120
    assert states() == ["delivering"]
    # What was done is done again: nobody could write it down.
    assert run().delivered == 1
    assert len(heard) == 2


def test_a_pause_in_which_the_lane_is_lost_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        InboxLane.objects.update(token="another's")

    heard = hear("r")
    keep()
    with failing(OperationalError("gone"), when=writes_receipts):
        assert run(sleep=sleep, monotonic=clock.monotonic).total == 0
    assert states() == ["delivering"]
    assert not InboxReceipt.objects.exists()
    assert "lost 1 lane(s)" in caplog.text
    InboxLane.objects.all().delete()
    assert run().delivered == 1
    assert len(heard) == 2


def test_a_lane_that_was_lost_is_noticed_though_the_write_that_saw_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    clock = Time()
    given: list[Any] = []

    def lose_one(event: Any) -> None:
        if not given:
            given.append(event.message_id)
            lane = InboxEvent.objects.get(conversation_id=event.conversation_id).lane
            InboxLane.objects.filter(lane=lane).update(token="another's")

    hear("r", lose_one)
    keep(conversation_id="a"), keep(conversation_id="b")
    with failing(OperationalError("gone"), when=writes_receipts) as failed:
        assert run(sleep=clock.sleep, monotonic=clock.monotonic).delivered == 1
    assert len(failed) == 1
    assert sorted(states()) == ["delivered", "delivering"]
    assert InboxReceipt.objects.count() == 2
    assert "lost 1 lane(s)" in caplog.text


def test_what_a_database_does_not_take_of_an_error_costs_no_other_outcome() -> None:
    """A character that its encoding lacks, say: what is said of the error is written without it."""

    def fail(event: Any) -> None:
        if event.message_id == "bad":
            raise ValueError("\U0001f642 é")

    hear("r", fail)
    bad, good = keep(message_id="bad", conversation_id="c2"), keep(message_id="good")
    refused = failing(DataError("invalid byte sequence"), when=writes_receipts)
    with in_latin1() if RoomsRouter.alias == "mariadb" else refused:
        assert vars(run()) == {"delivered": 1, "failed": 1, "dead": 0}
        bad.refresh_from_db()
        assert "ValueError: \\U0001f642" in bad.last_error
        assert receipts(good)["message_received:r"] == (True, 1)
        assert receipts(bad)["message_received:r"] == (False, 1)
    assert attempts() == [1, 1]


@contextmanager
def in_latin1() -> Iterator[None]:
    """Have the columns of errors in an encoding that lacks most characters, as in databases of long ago."""
    table = "bloonio_chat_inbox_inboxreceipt"
    with connections["mariadb"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} MODIFY last_error longtext CHARACTER SET latin1 NOT NULL")
        try:
            yield
        finally:
            InboxReceipt.objects.all().delete()
            cursor.execute(f"ALTER TABLE {table} MODIFY last_error longtext CHARACTER SET utf8mb4 NOT NULL")


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_connection_that_a_receiver_s_stay_has_cost_is_opened_again(database: str) -> None:
    """The server ended it meanwhile, as at a restart."""
    own, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mariadb": ("SELECT connection_id()", "KILL {}"),
    }[database]

    def execute(statement: str) -> Any:
        with connections[database].cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def lose_it(_: Any) -> None:
        number = execute(own)[0]
        elsewhere(lambda: execute(end.format(number)))

    clock = Time()
    heard = hear("r", lose_it)
    row = keep()
    assert run(sleep=clock.sleep).delivered == 1
    assert clock.naps == [0.1]
    assert (len(heard), states()) == (1, ["delivered"])
    assert receipts(row) == {"message_received:r": (True, 1)}


def test_within_a_transaction_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's, say: it is lost, and a pause mends nothing."""
    hear("r")
    keep()
    clock = Time()
    monkeypatch.setattr(processing, "why_not_durable", lambda connection: None)
    with (
        pytest.raises(OperationalError),
        transaction.atomic(using=RoomsRouter.alias),
        failing(OperationalError("gone"), when=writes_receipts),
    ):
        run(sleep=clock.sleep)
    assert clock.naps == []


def test_an_event_that_is_deleted_while_it_is_delivered_takes_no_other_along() -> None:
    def delete(event: Any) -> None:
        if event.message_id == "gone":
            InboxEvent.objects.filter(pk=gone.pk).delete()

    heard = hear("r", delete)
    keep(message_id="m0")
    gone = keep(message_id="gone")
    keep(message_id="m1")
    with pytest.raises(IntegrityError):
        run()
    assert run().delivered == 2
    assert states() == ["delivered"] * 2
    assert set(heard) == {"m0", "gone", "m1"}
    make_due()
    assert run().total == 0


@pytest.mark.usefixtures("database")
def test_what_a_slow_receiver_did_is_in_the_ledger_before_the_next_is_called() -> None:
    clock = Time()
    seen: list[dict[str, tuple[bool, int]]] = []

    def be_slow(_: Any) -> None:
        clock.now += 0.3

    hear("slow", be_slow)
    hear("next", lambda _: seen.append(receipts(event)))
    event = keep()
    assert run(monotonic=clock.monotonic).delivered == 1
    assert seen == [{"message_received:slow": (True, 1)}]


def test_a_write_is_as_late_as_a_moment_or_so_many_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    write = outcomes.Outcomes._write

    def note(self: Any) -> set[str]:
        writes.append(len(self._finished))
        return write(self)

    monkeypatch.setattr(outcomes.Outcomes, "_write", note)
    monkeypatch.setattr(outcomes, "MOST_UNWRITTEN", 6)
    clock = Time()
    hear("quick")
    for _ in range(7):
        keep()
    assert run(monotonic=clock.monotonic).delivered == 7
    # A receipt and a state for each event; and what is left, at the end.
    assert writes == [3, 3, 1]
    writes.clear()

    def be_slow(_: Any) -> None:
        clock.now += 0.3

    hear("slow", be_slow)
    keep()
    assert run(monotonic=clock.monotonic).delivered == 1
    # As soon as the slow one is done, and then the event's own state.
    assert writes == [0, 1]
