"""``bloonio_sync``: everything that the relay lists, once and no more often than it changes, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DataError, OperationalError, connections, transaction
from django.db.models import Count, QuerySet

from bloonio_chat import mirror
from bloonio_chat.mirror import checkpoints, pacing, rates, reading
from bloonio_chat.mirror.models import Conversation, Message, RelayPace, SyncCheckpoint, Ticket
from bloonio_chat.mirror.pacing import PacedCaller
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.walking import Walk
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk import operations
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import (
    ChatRelayAnswerError,
    ChatRelayConfigurationError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayForbiddenError,
    ChatRelayInputError,
    ChatRelayNotFoundError,
    ChatRelayServerError,
    ChatRelayTimeoutError,
)
from tests.mirror.at_relay import Lines, Time, asked, configure, escalated, refusing, tell
from tests.mirror.equality import differing
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database", "many_calls", "short_pages"),
]

OPTIONS = {"tenant": None, "since": None, "marked": False, "restart": False, "dry_run": False}
PAGE = 4


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few objects make many pages."""
    monkeypatch.setattr(reading, "LARGEST_LIMIT", PAGE)


@pytest.fixture
def run(its_time: Time) -> Callable[..., dict[str, int]]:
    def run(report: Lines | None = None, *, stop: Callable[[], bool] = lambda: False, **options: Any) -> dict[str, int]:
        return dict(sync({**OPTIONS, **options}, report or Lines(), stop=stop, clock=its_time, sleep=its_time.sleep))

    return run


def filled(relay: SandboxRelay, count: int = 9, *, are_told_of: bool = False) -> None:
    """Conversations with two messages each; every third has a ticket, and an operator. ``are_told_of``: by events."""
    relay.ingest("Deliveries", "A parcel takes two days to be delivered.")
    for number in range(count):
        conversation = relay.open_conversation(f"v{number}", visitor_display_name=f"Visitor {number}", locale="en")
        relay.say(conversation.id, "How long does a parcel take to be delivered?")
        if number % 3 == 0:
            relay.escalate(conversation.id)
            relay.claim(conversation.id)
    for conversation in relay.conversations.values() if are_told_of else ():
        tell(relay, "conversation-started", conversation)


# ---- reading ------------------------------------------------------------------------------------------------------


def test_an_empty_mirror_is_filled_and_the_next_sync_finds_nothing_to_do(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    filled(relay)
    report = Lines()
    counts = run(report)
    assert differing(relay, operators=False) == []
    read = {"conversations": 9, "messages": len(relay.messages), "tickets": len(relay.tickets)}
    assert counts == {**read, "changed": sum(read.values()), "hydrated": 0, "waiting": 0, "failed": 0}
    assert report.totals == [9 + len(relay.tickets)]
    assert report.done == report.totals[0]
    assert asked(relay)["list_messages"] == 9

    before = asked(relay)
    again = run()
    assert again == {**read, "messages": 0, "changed": 0, "hydrated": 0, "waiting": 0, "failed": 0}
    assert asked(relay)["list_messages"] == before["list_messages"]
    assert "fetch_conversation" not in before


def test_what_has_changed_since_is_read_and_nothing_else(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    filled(relay)
    run()
    conversation = list(relay.conversations.values())[4]
    relay.say(conversation.id, "And how long is a parcel delivered on foot?")
    ticket = next(iter(relay.tickets.values()))
    relay.resolve(str(ticket.conversation_id))
    calls = len(relay.calls)
    counts = run()
    assert differing(relay, operators=False) == []
    # Two conversations, a message and what the bot said to it, and a ticket.
    assert counts["changed"] == 5
    assert [call.operation for call in relay.calls[calls:]].count("list_messages") == 2


def test_memory_does_not_grow_with_the_lists(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay)
    run()
    positions = SyncCheckpoint.objects.values_list("position", flat=True)
    assert all(len(position["tail"]) <= PAGE for position in positions)


def test_since_leaves_out_what_has_not_changed(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    filled(relay, 3)
    for conversation in relay.conversations.values():
        conversation.updated_at = conversation.last_message_at = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
    newest = list(relay.conversations.values())[-1]
    newest.updated_at = datetime(2026, 1, 3, 12, tzinfo=timezone.utc)
    for ticket in relay.tickets.values():
        ticket.updated_at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    counts = run(since="2026-01-03")
    assert (counts["conversations"], counts["tickets"]) == (1, 0)
    assert Conversation.objects.get().relay_id == newest.id
    # Another run that is to read everything does not go on with this one.
    assert run()["conversations"] == 3


@pytest.mark.parametrize("since", ["yesterday", "2026-02-31", ""])
def test_a_time_that_is_none_is_said(relay: SandboxRelay, run: Callable[..., dict[str, int]], since: str) -> None:
    with pytest.raises(ValueError, match="--since"):
        run(since=since)


def test_options_that_contradict_each_other_are_refused(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    with pytest.raises(ValueError, match="--marked"):
        run(marked=True, restart=True)
    with pytest.raises(ChatRelayConfigurationError):
        run(tenant="nobody")


def test_a_dry_run_counts_and_writes_nothing(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay, 7)
    counts = run(dry_run=True)
    assert counts["changed"] == 7 + len(relay.messages) + len(relay.tickets)
    for model in (Conversation, Message, Ticket, SyncCheckpoint):
        assert not model._default_manager.exists()
    assert run()["changed"] == counts["changed"]
    assert run(dry_run=True)["changed"] == 0


def test_without_mirror_messages_none_are_read(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    filled(relay, 3)
    run()
    assert not Message.objects.exists()
    assert "list_messages" not in asked(relay)
    # Once they are wanted, they come.
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = True
    run()
    assert differing(relay, operators=False) == []


# ---- marks --------------------------------------------------------------------------------------------------------


def test_what_was_marked_just_now_is_fetched_by_itself(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay, 3, are_told_of=True)
    its_time_ago = Conversation.objects.get(relay_id=next(iter(relay.conversations)))
    assert its_time_ago.marked_at is not None
    assert run()["hydrated"] == 3
    assert differing(relay, operators=False) == []


def test_what_was_marked_long_before_is_in_the_list(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 3, are_told_of=True)
    for ticket in relay.tickets.values():
        tell(relay, "ticket-created", ticket)
    its_time.now += 120
    assert run()["hydrated"] == 0
    assert not {"fetch_conversation", "fetch_ticket"} & asked(relay).keys()
    assert differing(relay, operators=False) == []


def test_what_a_list_shows_after_all_does_not_wait_any_more(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 1)
    [conversation] = relay.conversations.values()
    tell(relay, "conversation-started", conversation)
    with mirror.writable():
        Conversation.objects.update(fetch_tries=5, fetch_after_ms=int((its_time() + 86_400) * 1000))
    run()
    row = Conversation.objects.get()
    assert (row.fetch_tries, row.fetch_after_ms, row.marked_at) == (0, 0, None)


def test_a_mark_stays_where_the_messages_could_not_be_read(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 3, are_told_of=True)
    its_time.now += 120
    bad = list(relay.conversations)[1]
    failing_at(monkeypatch, [bad], ChatRelayAnswerError("too large"))
    counts = run()
    assert (counts["failed"], counts["waiting"]) == (1, 1)
    row = Conversation.objects.exclude(marked_at=None).get()
    assert (row.relay_id, row.visitor_display_name, row.messages_as_of) == (bad, "Visitor 1", None)


def test_a_mark_stays_where_the_database_did_not_take_all(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 3, are_told_of=True)
    for ticket in relay.tickets.values():
        tell(relay, "ticket-created", ticket)
    another = escalated(relay, list(relay.conversations.values())[1])
    its_time.now += 120
    message = relay.messages[0]
    refusing(monkeypatch, lambda fetched: fetched.object.id in (message.id, another.id), DataError("too much"))
    assert run()["waiting"] == 1
    assert Conversation.objects.exclude(marked_at=None).get().relay_id == message.conversation_id
    # A ticket has nothing but itself.
    assert not Ticket.objects.exclude(marked_at=None).exists()


def test_a_message_that_the_database_refused_is_fetched_less_and_less_often(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay, 1)
    run()
    [conversation] = relay.conversations.values()
    relay.say(conversation.id, "And how long is a parcel delivered on foot?")
    tell(relay, "conversation-started", conversation)
    after_ms = int((its_time() + 86_400) * 1000)
    with mirror.writable():
        Conversation.objects.update(fetch_tries=5, fetch_after_ms=after_ms)
    its_time.now += 120
    refused = {each.id for each in relay.messages}
    refusing(monkeypatch, lambda fetched: fetched.object.id in refused, DataError("too much"))
    assert run()["failed"] > 0
    row = Conversation.objects.get()
    assert row.marked_at is not None
    assert (row.fetch_tries, row.fetch_after_ms) == (5, after_ms)


def test_only_what_is_marked(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay, 3)
    tell(relay, "conversation-started", next(iter(relay.conversations.values())))
    report = Lines()
    assert run(report, marked=True)["hydrated"] == 1
    assert (report.totals, report.done) == ([1], 1)
    assert Conversation.objects.count() == 1
    assert "list_conversations" not in asked(relay)


def test_marked_and_dry_only_counts(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay, 3)
    tell(relay, "conversation-started", next(iter(relay.conversations.values())))
    assert run(marked=True, dry_run=True)["waiting"] == 1
    assert relay.calls == []


def test_a_relay_without_lists_still_has_its_marked_objects_fetched(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    with SandboxRelay(rate_limit_per_min=None, missing_operations=["list_conversations", "list_tickets"]) as old:
        configure(settings, old)
        filled(old, 3)
        for conversation in old.conversations.values():
            tell(old, "conversation-started", conversation)
        for ticket in old.tickets.values():
            tell(old, "ticket-created", ticket)
        report = Lines()
        run(report)
        assert differing(old, operators=False) == []
        assert [line for line in report.lines if "lists no" in line] == [
            "The relay of tenant default lists no conversations.",
            "The relay of tenant default lists no tickets.",
        ]


# ---- lists that shift ---------------------------------------------------------------------------------------------


def between_pages(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> None:
    """Let something happen before each page but the first, with the page's number."""
    original, pages = PacedCaller.page, [0]

    def page(self: PacedCaller, operation: Any) -> Any:
        pages[0] += 1
        happens(pages[0])
        return original(self, operation)

    monkeypatch.setattr(PacedCaller, "page", page)


def test_what_is_put_in_while_we_read_is_read_too(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(relay)

    def open_another(number: int) -> None:
        if number % 2 == 0 and number < 8:
            relay.open_conversation(f"late {number}")

    between_pages(monkeypatch, open_another)
    run()
    assert len(relay.conversations) == 12
    assert differing(relay, operators=False) == []


def test_what_is_taken_out_while_we_read_hides_nothing(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        relay.open_conversation(f"v{number}")
    stays = set(list(relay.conversations)[:-6])

    def take_out_the_first(number: int) -> None:
        # The relay lists the newest first. The first two pages are for the totals.
        if number in (4, 6):
            for conversation_id in list(relay.conversations)[-3:]:
                del relay._state.conversations[conversation_id]

    between_pages(monkeypatch, take_out_the_first)
    run()
    assert set(relay.conversations) == stays
    assert set(Conversation.objects.values_list("relay_id", flat=True)) >= stays


def test_what_moves_to_the_front_behind_us_is_read_at_the_end(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        relay.open_conversation(f"v{number}")
    oldest = next(iter(relay.conversations))

    def move(number: int) -> None:
        # A relay that lists what has changed last first.
        if number == 5:
            state = relay._state
            state.conversations[oldest] = state.conversations.pop(oldest)

    between_pages(monkeypatch, move)
    run()
    assert differing(relay, operators=False) == []


def test_a_relay_that_ignores_the_offset_does_not_keep_us_for_ever(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(relay)
    listing = reading._LISTS["conversations"]
    monkeypatch.setitem(reading._LISTS, "conversations", lambda *, limit, offset=0: listing(limit=limit))
    run()
    assert Conversation.objects.exclude(fetched_at=None).count() >= PAGE
    assert asked(relay)["list_conversations"] < 12


# ---- ends and beginnings ------------------------------------------------------------------------------------------


class KilledError(BaseException):
    """As sudden as a signal."""


def test_a_run_that_was_killed_is_gone_on_with(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay)

    class Deadly(Lines):
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done >= 6:
                raise KilledError

    with pytest.raises(KilledError):
        run(Deadly())
    calls = len(relay.calls)
    assert 0 < Conversation.objects.count() < 9
    read_before = set(Message.objects.values_list("conversation__relay_id", flat=True))
    report = Lines()
    run(report)
    assert differing(relay, operators=False) == []
    # Nothing is asked for twice but the page on which it was killed.
    read_after = [call.operation for call in relay.calls[calls:]].count("list_messages")
    assert read_after == 9 - len(read_before)
    assert report.done == report.totals[0]
    assert not SyncCheckpoint.objects.filter(finished_at=None).exists()


def test_a_run_that_was_killed_among_the_tickets_reads_no_conversation_again(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    filled(relay)
    relay.faults.calls.set("server_error", probability=1.0, only="list_tickets")
    with pytest.raises(ChatRelayError):
        run()
    relay.faults.clear()
    calls = len(relay.calls)
    run()
    # One for the total.
    assert [call.operation for call in relay.calls[calls:]].count("list_conversations") == 1
    assert differing(relay, operators=False) == []


@pytest.mark.parametrize("restart", [True, False])
def test_a_run_of_long_ago_or_a_restart_begins_anew(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time, restart: bool
) -> None:
    filled(relay)
    calls = iter(range(10**6))
    run(stop=lambda: next(calls) > 8)
    assert SyncCheckpoint.objects.filter(finished_at=None).exists()
    if not restart:
        its_time.now += 49 * 3600
    assert run(restart=restart)["conversations"] == 9


def test_a_daily_sync_goes_on_with_the_one_of_the_day_before(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay)
    calls = iter(range(10**6))
    first = run(stop=lambda: next(calls) > 8)
    its_time.now += 25 * 3600
    assert run()["conversations"] < 9
    assert first["conversations"] > 0
    assert differing(relay, operators=False) == []


def test_a_restart_reads_all_messages_again_also_when_it_is_killed(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    filled(relay)
    run()
    calls = iter(range(10**6))
    first = run(restart=True, stop=lambda: next(calls) > 8)
    second = run()
    assert 0 < first["messages"] < len(relay.messages)
    assert first["messages"] + second["messages"] >= len(relay.messages)
    assert run()["messages"] == 0


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("restart", [False, True])
def test_two_runs_that_begin_together_are_one_or_the_later_one(
    relay: SandboxRelay,
    run: Callable[..., dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    its_time: Time,
    restart: bool,
) -> None:
    filled(relay, 3)
    resources, its_pacing = ["conversations", "tickets"], pacing.Pacing(Lines(), clock=its_time, sleep=its_time.sleep)
    others: list[set[int]] = []

    class Slow:
        """Another run begins after this one has looked and before it writes."""

        def atomic(self, *, using: str) -> Any:
            if not others:
                others.append(set())
                with ThreadPoolExecutor(1) as pool:
                    others[0] = pool.submit(begin_another, resources, its_pacing).result(20)
                # It has looked for what to delete by now, too.
                monkeypatch.setattr(QuerySet, "delete", lambda _: monkeypatch.setattr(QuerySet, "delete", delete))
            return transaction.atomic(using=using)

    delete = QuerySet.delete
    monkeypatch.setattr(checkpoints, "transaction", Slow())
    mine = checkpoints.open_run("default", resources, its_pacing, since=None, restart=restart)
    assert sorted(mine) == resources
    assert SyncCheckpoint.objects.count() == 2
    assert ({row.pk for row in mine.values()} == others[0]) is not restart


def begin_another(resources: list[str], its_pacing: pacing.Pacing) -> set[int]:
    try:
        found = checkpoints.open_run("default", resources, its_pacing, since=None, restart=False)
        return {row.pk for row in found.values()}
    finally:
        connections.close_all()


def test_a_stop_is_obeyed_and_said(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    filled(relay)
    report, calls = Lines(), iter(range(10**6))
    counts = run(report, stop=lambda: next(calls) > 8)
    assert 0 < counts["conversations"] < 9
    assert "goes on here" in report.lines[-1]
    run()
    assert differing(relay, operators=False) == []


# ---- a relay in trouble -------------------------------------------------------------------------------------------


def test_a_relay_that_fails_now_and_then_is_waited_for(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 5)
    for name in ("server_error", "drop_after", "truncate", "rate_limit"):
        relay.faults.calls.set(name, probability=0.1, value=503 if name == "server_error" else 20)
    run()
    assert differing(relay, operators=False) == []
    assert its_time.slept


def test_what_the_relay_asks_for_is_waited_for_and_said(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 3)
    relay.faults.calls.set("rate_limit", count=2, value=300)
    report = Lines()
    run(report)
    assert sum(its_time.slept) >= 600
    assert sum("used up" in line for line in report.lines) >= 2
    assert differing(relay, operators=False) == []


def test_a_tenant_whose_relay_is_dead_holds_up_no_other(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any, its_time: Time
) -> None:
    filled(relay, 3)
    settings.BLOONIO_CHAT_TENANTS = {
        "a-dead-one": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET, "BASE_URL": "http://127.0.0.1:9"}
    }
    report = Lines()
    with pytest.raises(ChatRelayError, match="not reached"):
        run(report)
    assert differing(relay, operators=False) == []
    assert report.totals == [None]
    assert any(line.startswith("Tenant a-dead-one is left unfinished") for line in report.lines)
    # One attempt for the total, and then some patience.
    assert len(its_time.slept) >= pacing.MOST_FAILURES - 1


def test_a_suspended_tenant_is_an_error_at_once(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 1)
    relay.tenant.suspended = True
    with pytest.raises(ChatRelayForbiddenError):
        run()
    assert its_time.slept == []


def test_a_pause_of_the_hydration_keeps_nobody_waiting_who_asks_for_a_sync(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 3)
    tell(relay, "conversation-started", next(iter(relay.conversations.values())))
    RelayPace.objects.create(tenant="default", failures=9, paused_until_ms=int((its_time() + 900) * 1000))
    run()
    assert its_time.slept == []
    assert differing(relay, operators=False) == []
    assert RelayPace.objects.get().failures == 0


def test_the_command_shows_what_came_of_it(relay: SandboxRelay, capsys: pytest.CaptureFixture[str]) -> None:
    filled(relay, 4)
    call_command("bloonio_sync")
    out = capsys.readouterr().out
    assert "4 conversations" in out
    relay.tenant.suspended = True
    with pytest.raises(CommandError, match="suspended"):
        call_command("bloonio_sync")


# ---- objects in trouble -------------------------------------------------------------------------------------------


def test_an_object_that_can_not_be_read_hides_no_other(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    filled(relay)
    conversations, tickets = list(relay.conversations.values()), list(relay.tickets.values())
    no_time, no_id, talked_in = conversations[1], conversations[4], conversations[7]
    no_time.updated_at = None  # type: ignore[assignment]  # what no relay should say
    no_id.id = ""
    tickets[0].status = None  # type: ignore[assignment]  # nor this
    relay.messages_of(talked_in.id)[0].role = None  # type: ignore[assignment]  # nor this
    report = Lines()
    counts = run(report)
    assert (counts["conversations"], counts["tickets"], counts["failed"]) == (7, 2, 4)
    assert set(Conversation.objects.exclude(fetched_at=None).values_list("relay_id", flat=True)) == {
        each.id for each in conversations if each not in (no_time, no_id)
    }
    assert Ticket.objects.exclude(fetched_at=None).count() == 2
    assert Message.objects.filter(conversation__relay_id=talked_in.id).count() == 1
    assert report.lines == ["4 objects could not be read or not be written: the log says which."]
    assert f"list_conversations: left out what is not as the protocol says: '{no_time.id}'" in caplog.text
    assert report.done == report.totals[0]

    # What is right again is read by the next one, whatever the times say.
    relay.messages_of(talked_in.id)[0].role = relay.messages_of(talked_in.id)[1].role
    run()
    assert Message.objects.filter(conversation__relay_id=talked_in.id).count() == 2


def test_a_page_of_which_nothing_can_be_read_hides_no_other(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    filled(relay, 12)
    # The relay lists the newest first.
    for conversation in list(relay.conversations.values())[3:]:
        conversation.status = None  # type: ignore[assignment]  # what no relay should say
    counts = run()
    assert (counts["conversations"], counts["failed"], counts["tickets"]) == (3, 9, 4)


def failing_at(monkeypatch: pytest.MonkeyPatch, relay_ids: list[str], error: ChatRelayError) -> list[str]:
    """Let the relay fail at these conversations' messages; return the operations called, growing."""
    original, calls = ChatRelayClient.call, []

    def call(self: ChatRelayClient, operation: Any, /) -> Any:
        calls.append(operation.name)
        if operation.name == "list_messages" and any(relay_id in operation.query for relay_id in relay_ids):
            raise error
        return original(self, operation)

    monkeypatch.setattr(ChatRelayClient, "call", call)
    return calls


@pytest.mark.parametrize(
    "error", [ChatRelayAnswerError("too large"), ChatRelayServerError("503"), ChatRelayInputError("422")], ids=repr
)
def test_a_conversation_at_whose_messages_the_relay_fails_is_here_without_them(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, error: ChatRelayError
) -> None:
    filled(relay)
    bad = list(relay.conversations)[4]
    with monkeypatch.context() as patch:
        failing_at(patch, [bad], error)
        assert run()["failed"] == 1
    row = Conversation.objects.get(relay_id=bad)
    assert (row.visitor_display_name, row.messages_as_of) == ("Visitor 4", None)
    assert Ticket.objects.count() == 3
    run()
    assert differing(relay, operators=False) == []


@pytest.mark.parametrize(
    "error",
    [ChatRelayServerError("503"), ChatRelayTimeoutError("late"), ChatRelayConnectionError("cut off")],
    ids=repr,
)
def test_neighbours_at_whose_messages_the_relay_fails_end_no_sync(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, error: ChatRelayError
) -> None:
    filled(relay, 12)
    # All on one page.
    monkeypatch.setattr(reading, "LARGEST_LIMIT", 12)
    bad = list(relay.conversations)[2:9:2]
    with monkeypatch.context() as patch:
        failing_at(patch, bad, error)
        assert run()["failed"] == len(bad)
        # What is between them is as it was, so that nothing else is asked for.
        counts = run()
    assert (counts["failed"], counts["conversations"], counts["tickets"]) == (len(bad), 12, 4)
    run()
    assert differing(relay, operators=False) == []


def test_a_relay_that_fails_at_everything_is_left(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(relay)
    original, calls = ChatRelayClient.call, []

    def call(self: ChatRelayClient, operation: Any, /) -> Any:
        calls.append(operation.name)
        # It dies once it was asked for messages.
        if "list_messages" in calls:
            raise ChatRelayServerError("503")
        return original(self, operation)

    monkeypatch.setattr(ChatRelayClient, "call", call)
    with pytest.raises(ChatRelayServerError):
        run()
    began = calls.index("list_messages")
    assert calls[began:] == [*["list_messages"] * 3 * pacing.MOST_FAILURES, *["list_conversations"] * 5]


def test_a_messages_route_that_always_fails_ends_the_sync(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = pacing.MOST_OBJECTS_IN_VAIN
    filled(relay, most + 6)
    monkeypatch.setattr(reading, "LARGEST_LIMIT", 2 * most)
    with monkeypatch.context() as patch:
        calls = failing_at(patch, list(relay.conversations), ChatRelayServerError("503"))
        with pytest.raises(ChatRelayServerError):
            run()
        assert calls.count("list_messages") == most * pacing.MOST_FAILURES
        # Who goes on counts on, and tries another one each time.
        for _ in range(2):
            calls.clear()
            with pytest.raises(ChatRelayServerError):
                run()
            assert calls.count("list_messages") == pacing.MOST_FAILURES
    # Once it answers, the rest is read, and then what was left out.
    assert run()["messages"] == 2 * 4
    run()
    assert differing(relay, operators=False) == []


def test_conversations_that_were_said_to_have_no_messages_close_the_route_for_no_other(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(relay, rates.MISSING_AFTER - 1)
    bad = list(relay.conversations)
    failing_at(monkeypatch, bad, ChatRelayNotFoundError("404"))
    for _ in range(3):
        run()
    good = relay.open_conversation("another")
    relay.say(good.id, "How long does a parcel take to be delivered?")
    run()
    assert Message.objects.filter(conversation__relay_id=good.id).count() == 2


def test_a_conversation_said_twice_to_have_no_messages_is_asked_again_once_it_changes(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    filled(relay)
    bad = list(relay.conversations)[:3]
    calls = failing_at(monkeypatch, bad, ChatRelayNotFoundError("404"))
    asked_for = []
    for _ in range(4):
        calls.clear()
        run()
        asked_for.append(calls.count("list_messages"))
        its_time.now += 3600
    assert asked_for == [9, 3, 0, 0]
    for changed in (bad[0], list(relay.conversations)[-1]):
        relay.say(changed, "How long does a parcel take to be delivered?")
    calls.clear()
    run()
    assert calls.count("list_messages") == 2


def test_a_run_that_takes_days_is_gone_on_with_and_one_that_was_left_for_days_is_not(
    its_time: Time,
) -> None:
    its_pacing, offset = pacing.Pacing(Lines(), clock=its_time, sleep=its_time.sleep), 0

    def go_on() -> int:
        # The first list has been read on the first day.
        resources = ["conversations", "tickets"]
        run = checkpoints.open_run("default", resources, its_pacing, since=None, restart=False)
        # Whichever of them the database gives first.
        first, found = (run[resource] for resource in resources)
        if first.finished_at is None:
            checkpoints.reach(first, Walk(is_done=True), now=its_pacing.now())
        walk = Walk.at(found.position)
        began_at_offset = walk.offset
        walk.offset += 100
        checkpoints.reach(found, walk, now=its_pacing.now())
        return began_at_offset

    for _ in range(80):
        assert go_on() == offset
        offset += 100
        its_time.now += 3600
    its_time.now += checkpoints.OLDEST.total_seconds()
    assert go_on() == 0


def test_marked_ones_at_which_the_relay_fails_end_no_sync(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(relay, pacing.MOST_FAILURES + 3, are_told_of=True)
    calls = failing_at(monkeypatch, list(relay.conversations)[:-2], ChatRelayServerError("503"))
    counts = run(marked=True)
    bad = pacing.MOST_FAILURES + 1
    assert (counts["hydrated"], counts["waiting"]) == (2, bad)
    # Each is asked for once, and waits; in between the relay is asked whether it answers.
    assert (calls.count("fetch_conversation"), calls.count("list_conversations")) == (2 + bad, bad)


def test_a_relay_that_is_gone_while_marked_ones_are_fetched_is_left(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    filled(relay, 3, are_told_of=True)
    relay.faults.calls.set("server_error", probability=1.0)
    with pytest.raises(ChatRelayServerError):
        run(marked=True)
    assert len(relay.calls) == 1 + pacing.MOST_FAILURES
    assert len(its_time.slept) >= pacing.MOST_FAILURES - 1


def test_what_the_database_does_not_take_hides_no_other(
    relay: SandboxRelay,
    run: Callable[..., dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    filled(relay)
    bad = {next(iter(relay.tickets)), list(relay.conversations)[4], relay.messages[0].id}
    refusing(monkeypatch, lambda fetched: fetched.object.id in bad, DataError("secret words"))
    assert run()["failed"] == 3
    assert Ticket.objects.exclude(fetched_at=None).count() == 2
    # Of the one that was refused, its messages tell.
    assert Conversation.objects.exclude(fetched_at=None).count() == 8
    assert Message.objects.count() == len(relay.messages) - 1
    assert all(f"'{relay_id}' could not be written (DataError)" in caplog.text for relay_id in bad)
    assert "secret" not in caplog.text


def test_a_tenant_whose_rows_can_not_be_written_holds_up_no_other(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BLOONIO_CHAT_TENANTS = {
        "a-second": {"TENANT_ID": relay.tenant_id, "TENANT_SECRET": relay.tenant_secret, "BASE_URL": relay.base_url}
    }
    with SandboxRelay(rate_limit_per_min=None, seed=3) as other:
        configure(settings, other)
        filled(relay, 3)
        filled(other, 3)
        locked = OperationalError("database is locked: secret words")
        refusing(monkeypatch, lambda fetched: fetched.tenant == "a-second", locked)
        report = Lines()
        with pytest.raises(OperationalError):
            run(report)
    assert dict(Conversation.objects.values_list("tenant").annotate(count=Count("pk"))) == {"default": 3}
    assert report.lines == ["Tenant a-second is left unfinished: OperationalError"]


def test_an_answer_that_is_another_object_is_asked_for_once(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for, other = relay.open_conversation("v1"), relay.open_conversation("v2")
    tell(relay, "conversation-started", asked_for)
    operation = operations.fetch_conversation
    monkeypatch.setattr(operations, "fetch_conversation", lambda relay_id: operation(other.id))
    counts = run(marked=True)
    assert (counts["hydrated"], counts["waiting"]) == (0, 1)
    assert asked(relay) == {"fetch_conversation": 1}


# ---- what does not belong here ------------------------------------------------------------------------------------


def test_what_is_past_its_time_is_passed_over_unless_it_is_here(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    filled(relay, 6)
    run()
    old = datetime.now(timezone.utc) - timedelta(days=40)
    conversations = list(relay.conversations.values())
    for conversation in conversations[:4]:
        conversation.created_at = conversation.updated_at = conversation.last_message_at = old
    for ticket in relay.tickets.values():
        ticket.created_at = ticket.updated_at = old
    fresh = relay.open_conversation("another")
    ticket = escalated(relay, fresh)
    ticket.updated_at = old
    settings.BLOONIO_CHAT_MIRROR_RETENTION_DAYS = 30
    run()
    assert Conversation.objects.count() == 7
    assert Ticket.objects.filter(relay_id=ticket.id).exists()
    for row in Conversation.objects.filter(relay_id__in=[each.id for each in conversations[:4]]):
        with mirror.writable():
            row.delete()
    run(restart=True)
    assert Conversation.objects.count() == 3
