"""What projects have around the callbacks: transactions that could undo what the answer promises, and time zones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F, Value
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone as django_timezone

from bloonio_chat import signals
from bloonio_chat.callbacks.views import callback
from bloonio_chat.inbox.clock import DatabaseClock
from bloonio_chat.inbox.models import InboxEvent, InboxSweep
from tests.callbacks.relay import envelope, now_ms, post, signed, written
from tests.databases import RoomsRouter
from tests.inbox.events import hear, keep, make_due, receipts, run
from tests.inbox.workers import elsewhere

with_transactions = pytest.mark.django_db(transaction=True, databases="__all__")


def in_a_transaction(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware as projects write it that want all of a request or nothing."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with transaction.atomic(using=RoomsRouter.alias):
            return get_response(request)

    return middleware


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    before = {alias: connections[alias].settings_dict["ATOMIC_REQUESTS"] for alias in connections}
    for alias in connections:
        connections[alias].settings_dict["ATOMIC_REQUESTS"] = True
    yield
    for alias in connections:
        connections[alias].settings_dict["ATOMIC_REQUESTS"] = before[alias]


def refused(caplog: pytest.LogCaptureFixture, response: HttpResponse, why: str) -> bool:
    criticals = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert any(why in record.getMessage() and RoomsRouter.alias in record.getMessage() for record in criticals)
    return (response.status_code, response["Retry-After"]) == (503, "5")


@with_transactions
@pytest.mark.usefixtures("database", "atomic_requests")
def test_row_and_error_survive_a_receiver_that_raises_under_atomic_requests() -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("boom")

    hear("good")
    hear("bad", fail)
    row = keep()
    assert elsewhere(lambda: InboxEvent.objects.filter(pk=row.pk, state="received").exists())
    assert vars(run()) == {"delivered": 0, "failed": 1, "dead": 0}

    def look() -> tuple[str, int, bool, dict[str, tuple[bool, int]]]:
        kept = InboxEvent.objects.get(pk=row.pk)
        return kept.state, kept.attempts, "RuntimeError: boom" in kept.last_error, receipts(kept)

    assert elsewhere(look) == (
        "failed",
        1,
        True,
        {"message_received:good": (True, 1), "message_received:bad": (False, 1)},
    )


@with_transactions
@pytest.mark.usefixtures("database")
def test_a_middleware_with_a_transaction_gets_503_and_a_loud_log(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = settings.MIDDLEWARE
    settings.MIDDLEWARE = [*before, f"{__name__}.in_a_transaction"]
    response = post(Client(), "message-received", envelope())
    assert refused(caplog, response, "a transaction is open on the database")
    settings.MIDDLEWARE = before
    assert not InboxEvent.objects.exists()
    keep()


@with_transactions
def test_nothing_is_delivered_in_a_transaction(database: str) -> None:
    heard = hear("r")
    keep()
    with transaction.atomic(using=database), pytest.raises(TransactionManagementError, match="a transaction is open"):
        run()
    assert not heard
    assert run().delivered == 1


@with_transactions
def test_a_transaction_around_the_view_gets_503(database: str, caplog: pytest.LogCaptureFixture) -> None:
    body = written(envelope())
    request = RequestFactory().post("/", body, "application/json", headers=signed(body))
    with transaction.atomic(using=database):
        response = callback(request, "message-received")
    assert refused(caplog, response, "a transaction is open on the database")
    assert not InboxEvent.objects.exists()


@with_transactions
def test_a_transaction_on_another_database_is_none_of_ours(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic(using="other"):
        row = keep()
    assert elsewhere(lambda: InboxEvent.objects.filter(pk=row.pk).exists())


@with_transactions
def test_a_database_without_autocommit_gets_503(database: str, caplog: pytest.LogCaptureFixture) -> None:
    connection = connections[database]
    connection.set_autocommit(False)
    try:
        response = post(Client(), "message-received", envelope())
        assert refused(caplog, response, "AUTOCOMMIT")
    finally:
        connection.rollback()
        connection.set_autocommit(True)
    assert not InboxEvent.objects.exists()


@pytest.mark.django_db(databases="__all__")
@pytest.mark.usefixtures("database")
def test_the_transaction_of_a_django_test_case_does_not_stand_in_the_way() -> None:
    heard = hear("r")
    row = keep()
    assert post(Client(), "message-received", bytes(row.body)).status_code == 200
    assert run().delivered == 1
    assert len(heard) == 1


@pytest.mark.django_db(databases="__all__")
def test_a_transaction_within_a_django_test_case_still_does(database: str, caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic(using=database):
        response = post(Client(), "message-received", envelope())
    assert refused(caplog, response, "a transaction is open on the database")
    assert not InboxEvent.objects.exists()


# ---- time zones ------------------------------------------------------------------------------------------------

# MariaDB knows their names only where its tables of them were filled.
ZONES = {"UTC": "+00:00", "America/St_Johns": "-03:30", "Asia/Kolkata": "+05:30", "Pacific/Apia": "+13:00"}
# A wrong zone is off by half an hour at least, and a busy machine by far less.
TOLERANCE_MS = 60_000


@contextmanager
def session_in(database: str, zone: str) -> Iterator[None]:
    """Have the session's zone another than the one that Django has set."""
    change, back = {
        "sqlite": ("SELECT 1", "SELECT 1"),
        "postgresql": (f"SET TIME ZONE '{zone}'", "RESET TIME ZONE"),
        "mariadb": (f"SET time_zone = '{ZONES[zone]}'", "SET time_zone = DEFAULT"),
    }[database]
    with connections[database].cursor() as cursor:
        cursor.execute(change)
        yield
        cursor.execute(back)


def database_now() -> int:
    InboxSweep.objects.update_or_create(name="x", defaults={"at_ms": 0, "holder": ""})
    now: int = InboxSweep.objects.annotate(now=DatabaseClock() + Value(0)).values_list("now", flat=True)[0]
    # An index is searched by it, and rows are written with it, so it has to be the same number everywhere.
    InboxSweep.objects.update(at_ms=DatabaseClock())
    written = InboxSweep.objects.get().at_ms
    assert abs(written - now) < TOLERANCE_MS
    assert not InboxSweep.objects.filter(at_ms__gt=F("at_ms") + 0).exists()
    return now


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "no USE_TZ"])
def test_the_databases_clock_is_unix_time_in_every_zone(database: str, zone: str, use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = zone
    with session_in(database, zone):
        assert abs(database_now() - time.time() * 1000) < TOLERANCE_MS


@with_transactions
@pytest.mark.parametrize("zone", ["America/St_Johns", "Pacific/Apia"])
@pytest.mark.parametrize("use_tz", [True, False], ids=["USE_TZ", "no USE_TZ"])
def test_a_zone_shifts_no_due_time_and_no_order(database: str, zone: str, use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = zone

    def fail(_: Any) -> None:
        raise RuntimeError("boom")

    heard = hear("r", fail)
    before = now_ms()
    # A middleware may have put on the visitor's zone, which is not the database's.
    with django_timezone.override("Asia/Kolkata"):
        late = keep(occurred_at="2026-01-02T03:04:05Z", message_id="late")
        early = keep(occurred_at="2026-01-02T03:04:04-00:30", message_id="later still")
        keep(occurred_at="2026-01-02T04:04:04+02:00", message_id="early")
    assert late.due_ms is not None
    assert before - 1000 < late.due_ms < now_ms() + 1000
    before = now_ms()
    assert run().failed == 3
    after = now_ms()
    assert heard == ["early", "late", "later still"]
    for row in InboxEvent.objects.all():
        # Nearly 15 seconds after the first attempt, by this machine's clock, which is the database's too.
        assert row.due_ms is not None
        assert before + 14_000 < row.due_ms < after + 16_000
    assert run().total == 0, "not due yet, by the same clock"
    make_due()
    assert run().failed == 3
    moment = InboxEvent.objects.get(pk=early.pk).occurred_at
    if not use_tz:
        moment = django_timezone.make_aware(moment, django_timezone.get_default_timezone())
    assert moment == datetime(2026, 1, 2, 3, 34, 4, tzinfo=timezone.utc)


@with_transactions
def test_the_hour_that_comes_twice_is_no_skew(database: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Paris"
    second_half_past_two = datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc).timestamp()
    monkeypatch.setattr(time, "time_ns", lambda: int(second_half_past_two * 1e9))
    monkeypatch.setattr(time, "time", lambda: second_half_past_two)
    assert abs(keep(conversation_id=None).skew_ms) < 2000


@with_transactions
@pytest.mark.usefixtures("database")
def test_receivers_run_in_autocommit() -> None:
    in_atomic: list[bool] = []

    def look(event: Any, **_: Any) -> None:
        in_atomic.append(connections[RoomsRouter.alias].in_atomic_block)

    signals.message_received.connect(look, dispatch_uid="plain")
    signals.event_received.connect(look, dispatch_uid="atomic", atomic=True)
    keep()
    assert run().delivered == 1
    assert in_atomic == [True, False]
