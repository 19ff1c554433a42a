"""``connect(…, atomic=True)``: what a receiver does in the inbox's database is done once, with its ledger row."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxSweep
from tests.databases import RoomsRouter
from tests.inbox.events import hear, keep, make_due, never, receipts, run, states
from tests.inbox.workers import Time, elsewhere

# Its own transactions are what is tested, so the tests run in none.
pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.usefixtures("database")]


def work(name: str) -> None:
    """Stand for what a receiver writes into its own tables: here one more row each time."""
    InboxSweep.objects.create(name=uuid.uuid4().hex, at_ms=0, holder=name)


def works() -> list[str]:
    return sorted(InboxSweep.objects.values_list("holder", flat=True))


def doing(*deeds: Callable[[], object]) -> Callable[[Any], None]:
    """Do one more of the deeds with each call, and nothing after the last, beside the work itself."""
    rest = list(deeds)

    def do(event: Any) -> None:
        work(event.message_id)
        if rest:
            rest.pop(0)()

    return do


def fail() -> None:
    raise RuntimeError("boom")


def test_work_and_ledger_are_one_transaction() -> None:
    seen: list[object] = []

    def look() -> None:
        seen.append(connections[RoomsRouter.alias].in_atomic_block)
        # Nobody sees the work before the ledger has its row.
        seen.append(elsewhere(lambda: (works(), receipts(row))))

    heard = hear("r", doing(look), atomic=True)
    row = keep(message_id="m")
    assert run().delivered == 1
    assert seen == [True, ([], {})]
    assert (heard, works()) == (["m"], ["m"])
    assert elsewhere(lambda: receipts(row)) == {"message_received:r": (True, 1)}


def test_an_error_undoes_the_work_and_the_next_attempt_does_it_once() -> None:
    heard = hear("r", doing(fail, fail), atomic=True)
    row = keep(message_id="m")
    for _ in range(3):
        assert works() == []
        run()
        make_due()
    assert (len(heard), works()) == (3, ["m"])
    assert receipts(row) == {"message_received:r": (True, 3)}
    assert run().total == 0


def test_others_that_fail_do_not_have_it_done_again() -> None:
    hear("r", doing(), atomic=True)
    hear("bad", lambda event: fail())
    keep(message_id="m")
    for _ in range(3):
        assert run().failed == 1
        make_due()
    assert works() == ["m"]


def lose_the_lane() -> None:
    """Have another worker take the lane of the conversation, while a receiver is in its transaction."""
    lanes = list(InboxEvent.objects.filter(conversation_id="c1").values_list("lane", flat=True))

    def take() -> int:
        return int(InboxLane.objects.filter(lane__in=lanes).update(token="another's"))

    # That transaction is the one writer that SQLite has: nobody else can write before it ends.
    assert (take() if RoomsRouter.alias == "sqlite" else elsewhere(take)) == 1


def test_a_lease_lost_in_the_middle_undoes_the_work() -> None:
    heard, after = hear("r", doing(lose_the_lane), atomic=True), hear("after")
    row = keep(message_id="m")
    clock = Time()
    assert run(sleep=clock.sleep).total == 0
    assert (works(), receipts(row), states()) == ([], {}, ["delivering"])
    InboxLane.objects.all().delete()
    assert run().delivered == 1
    assert (len(heard), len(after), works()) == (2, 1, ["m"])
    assert receipts(row)["message_received:r"] == (True, 1)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_two_workers_with_one_event_do_the_work_once() -> None:
    """The first one stands still for longer than its lease; when it goes on, the other one is done."""
    others: list[int] = []

    def stand_still() -> None:
        elsewhere(lambda: InboxLane.objects.update(leased_until_ms=1))
        others.append(elsewhere(lambda: run().delivered))

    heard = hear("r", doing(stand_still), atomic=True)
    row = keep(message_id="m")
    assert run(sleep=Time().sleep).total == 0
    assert others == [1]
    assert (len(heard), works(), states()) == (2, ["m"], ["delivered"])
    assert receipts(row) == {"message_received:r": (True, 1)}
    assert not InboxLane.objects.exists()


def test_what_was_noted_before_a_lane_was_lost_is_not_written() -> None:
    """The new holder's ledger counts: the late failure of one that lost the lane must not undo a success."""
    hear("failed before", lambda event: fail())
    hear("r", doing(lose_the_lane), atomic=True)
    other = hear("other")
    # Both lanes are leased together, and what the first one did is written with the second one's outcome.
    row, second = keep(message_id="m", occurred_at="2026-01-01T00:00:00Z"), keep(conversation_id=None)
    InboxEvent.objects.filter(pk=row.pk).update(due_ms=1)
    run(sleep=Time().sleep)
    assert receipts(row) == {}
    assert receipts(second)
    assert len(other) == 1


# ---- what receivers do with transactions ------------------------------------------------------------------------


def break_a_statement() -> None:
    with connections[RoomsRouter.alias].cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")


def test_a_database_error_that_the_receiver_caught_in_a_savepoint_is_its_own_affair() -> None:
    def careful() -> None:
        with pytest.raises(DatabaseError), transaction.atomic(using=RoomsRouter.alias):
            break_a_statement()

    hear("r", doing(careful), atomic=True)
    keep(message_id="m")
    assert run().delivered == 1
    assert works() == ["m"]


def test_a_database_error_that_the_receiver_swallowed_is_all_or_nothing() -> None:
    def careless() -> None:
        with pytest.raises(DatabaseError):
            break_a_statement()

    hear("r", doing(careless), atomic=True)
    keep(message_id="m")
    # PostgreSQL has undone all of it, and says so at the next statement; the others have undone nothing.
    expected = "failed" if RoomsRouter.alias == "postgresql" else "delivered"
    run()
    assert (states(), works()) == ([expected], [] if expected == "failed" else ["m"])
    make_due()
    run()
    assert (states(), works()) == (["delivered"], ["m"])


def test_a_receiver_that_rolls_back_has_not_succeeded() -> None:
    hear("r", doing(lambda: transaction.set_rollback(True, using=RoomsRouter.alias)), atomic=True)
    keep(message_id="m")
    assert run().failed == 1
    assert works() == []
    make_due()
    assert run().delivered == 1
    assert works() == ["m"]


def test_on_commit_runs_once_the_work_and_the_ledger_are_safe() -> None:
    seen: list[object] = []

    def later() -> None:
        transaction.on_commit(lambda: seen.append(elsewhere(lambda: (works(), receipts(row)))), using=RoomsRouter.alias)

    hear("r", doing(later, fail), atomic=True)
    row = keep(message_id="m")
    assert run().delivered == 1
    assert seen == [(["m"], {"message_received:r": (True, 1)})]


def test_on_commit_does_not_run_where_the_receiver_fails() -> None:
    ran: list[int] = []

    def later_but_fail() -> None:
        transaction.on_commit(lambda: ran.append(1), using=RoomsRouter.alias)
        fail()

    hear("r", doing(later_but_fail), atomic=True)
    keep()
    assert run().failed == 1
    make_due()
    assert run().delivered == 1
    assert ran == []


def test_an_error_in_on_commit_does_not_have_the_work_done_again(caplog: pytest.LogCaptureFixture) -> None:
    heard = hear("r", doing(lambda: transaction.on_commit(fail, using=RoomsRouter.alias)), atomic=True)
    other = hear("other")
    row = keep(message_id="m")
    run()
    assert receipts(row)["message_received:r"] == (True, 1)
    assert "boom" in caplog.text, "it is not hidden either"
    make_due()
    run()
    assert (len(heard), len(other), works(), states()) == (1, 1, ["m"], ["delivered"])


def test_a_plain_receiver_s_work_stays_where_it_fails() -> None:
    hear("r", doing(fail))
    keep(message_id="m")
    run()
    make_due()
    assert run(sleep=never).delivered == 1
    assert works() == ["m", "m"]
