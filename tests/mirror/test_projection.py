"""The database does what the folding says, whatever the batches: all of a batch or none, in a few queries."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connections, transaction
from django.db.models import ProtectedError, RestrictedError
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bloonio_chat import mirror
from bloonio_chat.callbacks.ports import Projectable, ports
from bloonio_chat.mirror import contention, projection
from bloonio_chat.mirror.comparing import differences
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.marks import settled_mark
from bloonio_chat.mirror.models import Conversation, ForgottenVisitor, Message, Ticket, visitor_digest
from bloonio_chat.mirror.projection import merge, project
from bloonio_chat.sdk.events import WebhookEvent
from tests.mirror.happenings import (
    HEARD,
    NOON,
    SEEDS,
    TENANT,
    Heard,
    all_seen,
    at,
    conversation,
    envelope,
    fold,
    message,
    reordered,
    stored,
    takeover,
    ticket,
    write,
)

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]
# Where a transaction around the test would be the caller's, in which nothing is done again.
on_its_own = pytest.mark.django_db(transaction=True, databases="__all__")

ABOUT: dict[str, Any] = {"conversation_id": "c1", "visitor_user_id": "v1"}
_numbers = itertools.count()


def batch(*events: WebhookEvent, tenant: str = TENANT) -> list[Projectable]:
    return [Projectable(tenant, event) for event in events]


def forget(visitor: str, time: datetime) -> None:
    digest = visitor_digest(TENANT, visitor)
    ForgottenVisitor.objects.create(tenant=TENANT, digest=digest, forgotten_at=time)


def story(number: int, *, messages: int = 3) -> list[WebhookEvent]:
    about = {"conversation_id": f"c{number}", "visitor_user_id": f"v{number}"}
    return [
        envelope("conversation-started", at(0), **about),
        *(envelope("message-received", at(n), message_id=f"m{number}-{n}", **about) for n in range(messages)),
        envelope("ticket-created", at(5), ticket_id=f"t{number}", **about),
        takeover("agent-assigned", at(6), conversation_id=f"c{number}", operator_id="op1"),
    ]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(HEARD, min_size=1, max_size=12), SEEDS, st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_batches_of_any_size_in_any_order_end_in_the_folded_rows(
    heard: list[Heard], seed: int, sizes: list[int]
) -> None:
    rest = reordered(heard, seed)
    # A tenant of its own, so that no example finds another's rows.
    tenant = f"shop {next(_numbers)}"
    for size in itertools.cycle(sizes):
        if not rest:
            break
        write(rest[:size], tenant)
        rest = rest[size:]
    assert stored(tenant) == all_seen(fold(heard))
    assert not Conversation.objects.filter(synced_from="").exists()


def test_it_is_what_the_port_does() -> None:
    assert ports.project is project
    ports.project(batch(*story(1)))
    assert set(Message.objects.values_list("relay_id", flat=True)) == {"m1-0", "m1-1", "m1-2"}


def test_nothing_is_nothing(database: str) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        project([])
        merge([])
        merge([Fetched(TENANT, conversation("c" * 256), NOON)])
    assert not queries.captured_queries


def test_a_batch_takes_as_many_queries_as_ten_do(database: str) -> None:
    counts = []
    # More would not fit into one statement of Django 5.2 on SQLite, which binds 999 values at the most.
    for conversations in (1, 10):
        events = [event for number in range(conversations) for event in story(number + conversations * 100)]
        with CaptureQueriesContext(connections[database]) as queries:
            project(batch(*events))
        counts.append(len([each for each in queries.captured_queries if "SAVEPOINT" not in each["sql"]]))
    assert counts[0] == counts[1]


def test_a_batch_larger_than_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "STATEMENT_ROWS", 7)
    events = [event for number in range(20) for event in story(number)]
    project(batch(*events))
    assert stored() == all_seen(fold(events))


def test_a_repeat_writes_nothing(database: str) -> None:
    project(batch(*story(1)))
    with CaptureQueriesContext(connections[database]) as queries:
        project(batch(*story(1), *story(1)))
    assert not [each["sql"] for each in queries.captured_queries if "INSERT" in each["sql"]]


def test_tenants_keep_to_themselves() -> None:
    mixed = [*batch(*story(1)), *batch(*story(1, messages=1), tenant="shop-b")]
    project(mixed)
    assert stored() == all_seen(fold(story(1)))
    assert stored("shop-b") == all_seen(fold(story(1, messages=1)))


def test_all_of_a_batch_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    project(batch(*story(1)))
    before = stored()
    upsert = projection._upsert

    def fail_at_tickets(model: Any, rows: Any, key: Any, columns: Any, using: str) -> None:
        upsert(model, rows, key, columns, using)
        if model is Ticket and len(columns) > 1:
            raise DatabaseError("the disk is full")

    monkeypatch.setattr(projection, "_upsert", fail_at_tickets)
    with pytest.raises(DatabaseError, match="disk"):
        project(batch(*story(2), envelope("ticket-resolved", at(9), ticket_id="t1", **ABOUT)))
    assert stored() == before


def test_rows_that_were_there_are_brought_up_to_date_in_place() -> None:
    project(batch(*story(1)))
    keys = [row.pk for model in (Conversation, Ticket, Message) for row in model._default_manager.order_by("pk")]
    merge(
        [
            Fetched(TENANT, conversation("c1", at(9), status="closed"), at(10)),
            Fetched(TENANT, message("m1-0", "c1"), at(10)),
            Fetched(TENANT, ticket("t1", at(9), status="resolved"), at(10)),
        ]
    )
    assert keys == [
        row.pk for model in (Conversation, Ticket, Message) for row in model._default_manager.order_by("pk")
    ]
    row = Conversation.objects.get()
    assert (row.status, row.agent_status, row.synced_from) == ("closed", "ASSIGNED", "fetch")
    assert Message.objects.get(relay_id="m1-0").content == "Où est ma commande ? 🙂"
    # The relay's answer did not say it, but the event had.
    assert Ticket.objects.get().conversation == row
    assert Ticket.objects.get().is_open is False


def test_an_objects_id_may_be_too_long(caplog: pytest.LogCaptureFixture) -> None:
    merge([Fetched(TENANT, message("m" * 256, "c1"), NOON), Fetched(TENANT, message("m1", "c1"), NOON)])
    assert [row.relay_id for row in Message.objects.all()] == ["m1"]
    assert "over 255 characters" in caplog.text


def test_texts_stay_out_where_the_project_says_so(settings: Any) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    attachment = {"type": "image", "mime": "image/png", "size": 1, "url": "https://cdn.test/a.png"}
    merge([Fetched(TENANT, message(attachments=[attachment]), NOON)])
    assert Message.objects.values_list("content", "attachments").get() == ("", [])
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = True
    merge([Fetched(TENANT, message(attachments=[attachment]), at(1))])
    assert Message.objects.values_list("content", "attachments").get() == ("Où est ma commande ? 🙂", [attachment])


def _nested(levels: int) -> Any:
    tree: Any = {}
    for _ in range(levels - 1):
        tree = {"a": tree}
    return tree


@pytest.mark.parametrize("levels", [1, 25, 26, 32, 150])
def test_what_is_nested_deeper_than_a_database_takes_is_cut(levels: int) -> None:
    tree = _nested(levels)
    attachment = {"type": "image", "mime": "image/png", "size": 1, "url": "https://cdn.test/a.png", "more": tree}
    citation = {"chunk_id": "k", "document_id": "d", "document_version": 2, "more": tree}
    things: list[Any] = [
        conversation(metadata=tree, mood=[tree]),
        message(attachments=[attachment], citations=[citation], mood=tree),
        ticket(conversation_id="c1", mood=tree),
    ]
    merge([Fetched(TENANT, thing, NOON) for thing in things])
    row = Conversation.objects.get()
    assert (row.metadata == tree) == (levels <= 25)
    assert row.extra["mood"][0] is not None
    for model, thing in zip((Conversation, Message, Ticket), things, strict=True):
        assert differences(model._default_manager.get(), thing) == []


@pytest.mark.parametrize("hour", [0, 1])
def test_the_hour_that_comes_twice_differs_from_nothing(settings: Any, hour: int) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Paris"
    # Both are half past two in Paris.
    time = datetime(2026, 10, 25, hour, 30, tzinfo=timezone.utc)
    thing = conversation("c1", time, created_at=time)
    merge([Fetched(TENANT, thing, time)])
    row = Conversation.objects.get()
    assert (row.updated_at.hour, row.updated_at.minute) == (2, 30)
    assert row.updated_at in (time.replace(hour=0), time.replace(hour=1))
    assert differences(row, thing) == []
    assert differences(row, conversation("c1", time.replace(hour=2), created_at=time)) == ["updated_at"]


@pytest.mark.parametrize("use_tz", [True, False])
def test_what_is_told_in_the_hour_that_comes_twice_overrules_a_page_from_before(
    settings: Any, monkeypatch: pytest.MonkeyPatch, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Paris"
    of_page = ticket("t1", datetime(2026, 10, 24, 12, tzinfo=timezone.utc), status="assigned")
    merge([Fetched(TENANT, of_page, of_page.updated_at)])
    # A page is asked for in the second half past two of that night; then the ticket is resolved.
    asked_at = datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc)
    monkeypatch.setattr(projection, "aware_now", lambda: asked_at + timedelta(seconds=3))
    project(batch(envelope("ticket-resolved", asked_at + timedelta(seconds=2), ticket_id="t1")))
    assert Ticket.objects.get().status == "resolved"
    mark = settled_mark(Ticket.objects.get(), asked_at)
    merge([Fetched(TENANT, of_page, asked_at, mark=mark)])
    row = Ticket.objects.get()
    assert row.status == "resolved"
    assert row.marked_at is not None


def test_a_forgotten_visitor_does_not_come_back() -> None:
    project(batch(*story(1)))
    assert Message.objects.count() == 3
    forget("v1", at(50))
    project(batch(*story(1), *story(2), envelope("message-received", at(40), message_id="late", **ABOUT)))
    merge([Fetched(TENANT, message("m1-0", "c1"), at(60)), Fetched(TENANT, ticket("t1", conversation_id="c1"), at(60))])
    tombstone = Conversation.objects.get(relay_id="c1")
    assert (tombstone.visitor_user_id, tombstone.facts, tombstone.forgotten_at) == ("", [], at(50))
    assert tombstone.is_open is False
    assert Ticket.objects.get(relay_id="t1").forgotten_at == at(50)
    assert set(Message.objects.values_list("conversation__relay_id", flat=True)) == {"c2"}


def test_an_id_that_is_cut_is_forgotten_as_it_is_kept() -> None:
    forget("v" * 255, at(50))
    merge([Fetched(TENANT, conversation("c1", visitor_user_id="v" * 300), at(60))])
    merge([Fetched(TENANT, ticket("t1", user_id="v" * 300), at(60))])
    assert Conversation.objects.get().forgotten_at == at(50)
    assert Ticket.objects.get().forgotten_at == at(50)


@on_its_own
def test_who_is_forgotten_while_a_batch_is_written_is_erased_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    save = projection._save

    def and_forget(rows: Any, using: str) -> None:
        save(rows, using)
        if not ForgottenVisitor.objects.exists():
            # In the same transaction, so that it is seen with the rows and not before.
            forget("v1", at(50))

    monkeypatch.setattr(projection, "_save", and_forget)
    project(batch(*story(1), *story(2)))
    assert Conversation.objects.get(relay_id="c1").forgotten_at == at(50)
    assert Ticket.objects.get(relay_id="t1").forgotten_at == at(50)
    assert set(Message.objects.values_list("conversation__relay_id", flat=True)) == {"c2"}


def test_visitors_are_looked_up_once_for_a_batch(database: str) -> None:
    with CaptureQueriesContext(connections[database]) as queries:
        project(batch(*story(1), *story(2)))
    looked_up = [each for each in queries.captured_queries if '"digest"' in each["sql"].replace("`", '"')]
    assert len([each for each in looked_up if each["sql"].startswith("SELECT")]) == 1


def test_rows_send_no_signals_of_single_saves() -> None:
    """Receivers of ``post_save`` are not called: nobody may count on them, and a batch would call thousands."""
    heard: list[Any] = []

    def receiver(**kwargs: Any) -> None:
        heard.append(kwargs)

    post_save.connect(receiver, sender=Conversation)
    try:
        project(batch(*story(1)))
    finally:
        post_save.disconnect(receiver, sender=Conversation)
    assert heard == []


# ---- in a transaction, and in each other's way -----------------------------------------------------------------


@on_its_own
def test_within_a_transaction_of_the_callers_it_is_a_part_of_it(database: str) -> None:
    def project_and_fail() -> None:
        with transaction.atomic(using=database):
            project(batch(*story(1)))
            assert Conversation.objects.count() == 1
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        project_and_fail()
    assert not Conversation.objects.exists()


class Obstacle:
    """Work that fails so many times."""

    def __init__(self, error: DatabaseError, times: int) -> None:
        self.error, self.times, self.attempts = error, times, 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.attempts <= self.times:
            raise self.error
        return "done"


def caused(error: DatabaseError, sqlstate: str) -> DatabaseError:
    error.__cause__ = Exception("of the driver")
    error.__cause__.sqlstate = sqlstate  # type: ignore[attr-defined]  # as psycopg's have it
    return error


IN_THE_WAY = [
    caused(IntegrityError("duplicate key"), "23505"),
    IntegrityError(1062, "Duplicate entry 'default-c1'"),
    IntegrityError("UNIQUE constraint failed: bloonio_chat_mirror_ticket.tenant"),
    contention.StaleReadError("a conversation"),
    caused(OperationalError("deadlock detected"), "40P01"),
    caused(OperationalError("could not serialize"), "40001"),
    OperationalError(1213, "Deadlock found when trying to get lock"),
    OperationalError(1205, "Lock wait timeout exceeded"),
    OperationalError(1020, "Record has changed since last read"),
    OperationalError("database is locked"),
]


@on_its_own
@pytest.mark.parametrize("error", IN_THE_WAY, ids=str)
def test_work_that_met_another_writer_is_done_again(database: str, error: DatabaseError) -> None:
    pauses: list[float] = []
    work = Obstacle(error, 3)
    assert contention.retrying(work, using=database, sleep=pauses.append, random=lambda: 0.5) == "done"
    assert work.attempts == 4
    assert pauses == [0.02, 0.04, 0.08]


@on_its_own
def test_it_is_not_done_again_for_ever(database: str) -> None:
    pauses: list[float] = []
    work = Obstacle(OperationalError(1213, "Deadlock found"), 100)
    with pytest.raises(OperationalError):
        contention.retrying(work, using=database, sleep=pauses.append, random=lambda: 1.0)
    assert work.attempts == contention.MOST_ATTEMPTS
    assert max(pauses) == contention.LONGEST_PAUSE_SECONDS
    assert len(pauses) == contention.MOST_ATTEMPTS - 1


def test_psycopg2_says_it_under_another_name() -> None:
    error = OperationalError("deadlock detected")
    error.__cause__ = Exception("of the driver")
    error.__cause__.pgcode = "40P01"  # type: ignore[attr-defined]  # as psycopg2's have it
    assert contention.is_contention(error)


def test_a_second_row_of_one_key_is_another_writers(database: str) -> None:
    project(batch(*story(1)))
    with mirror.writable(), pytest.raises(IntegrityError) as caught, transaction.atomic(using=database):
        Conversation.objects.create(tenant=TENANT, relay_id="c1")
    assert contention.is_contention(caught.value)


@on_its_own
@pytest.mark.parametrize(
    "error",
    [
        OperationalError(2013, "Lost connection"),
        caused(DatabaseError("disk full"), "53100"),
        DatabaseError(),
        IntegrityError(4025, "CONSTRAINT `metadata` failed"),
        IntegrityError("CHECK constraint failed: metadata"),
        caused(IntegrityError("violates check constraint"), "23514"),
        ProtectedError("Cannot delete some instances of model 'Message'", set()),
        RestrictedError("Cannot delete some instances of model 'Message'", set()),
    ],
    ids=str,
)
def test_another_trouble_is_the_callers(database: str, error: DatabaseError) -> None:
    work = Obstacle(error, 1)
    with pytest.raises(DatabaseError):
        contention.retrying(work, using=database, sleep=_never, random=lambda: 1.0)
    assert work.attempts == 1


def test_a_transaction_of_the_callers_is_the_callers_to_repeat(database: str) -> None:
    work = Obstacle(OperationalError(1213, "Deadlock found"), 1)
    with pytest.raises(OperationalError), transaction.atomic(using=database):
        contention.retrying(work, using=database, sleep=_never, random=lambda: 1.0)
    assert work.attempts == 1


@on_its_own
def test_a_batch_that_met_another_writer_is_folded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was folded before the first attempt was undone is not folded on."""
    save, attempts = projection._save, []

    def interrupted(rows: Any, using: str) -> None:
        save(rows, using)
        attempts.append(rows)
        if len(attempts) == 1:
            raise OperationalError(1213, "Deadlock found")

    monkeypatch.setattr(projection, "_save", interrupted)
    project(batch(*story(1)), sleep=lambda _: None, random=lambda: 0.0)
    assert len(attempts) == 2
    assert stored() == all_seen(fold(story(1)))


def _never(seconds: float) -> None:
    raise AssertionError(f"slept {seconds} s")
