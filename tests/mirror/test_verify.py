"""``bloonio_verify``: tells every difference, and nothing that is none; says ids and columns, never what they hold."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bloonio_chat import mirror
from bloonio_chat.mirror.examining import Examination
from bloonio_chat.mirror.models import Conversation, Message, MirrorModel, Ticket
from bloonio_chat.mirror.pacing import MOST_OBJECTS_IN_VAIN
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.verifying import verify
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk import operations
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import ChatRelayConfigurationError, ChatRelayConnectionError, ChatRelayServerError
from tests.mirror.at_relay import Lines, Time, asked, configure, escalated, tell
from tests.mirror.test_sync import OPTIONS

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database", "many_calls")]


@pytest.fixture
def run(its_time: Time) -> Callable[..., dict[str, int]]:
    def run(report: Lines | None = None, *, sample: int | None = None, tenant: str | None = None) -> dict[str, int]:
        options = {"tenant": tenant, "sample": sample}
        return dict(verify(options, report or Lines(), clock=its_time, sleep=its_time.sleep, random=Random(7).random))

    return run


@pytest.fixture
def synced(relay: SandboxRelay, its_time: Time) -> SandboxRelay:
    """Six conversations, each with what a visitor and the bot said, two with tickets, all of them in the mirror."""
    relay.ingest("Deliveries", "A parcel takes two days to be delivered.")
    for number in range(6):
        conversation = relay.open_conversation(
            f"visitor-{number}", visitor_display_name="Ann Secret", metadata={"cart": [1, 2.5, None, {"a": "b"}]}
        )
        relay.say(conversation.id, "How long does a parcel take to be delivered?")
        if number < 2:
            escalated(relay, conversation)
            relay.claim(conversation.id)
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    # Rows say when they were written by the real clock: a busy machine takes its time.
    its_time.now += 600
    return relay


def write(row: MirrorModel, **columns: Any) -> None:
    with mirror.writable():
        type(row)._default_manager.filter(pk=row.pk).update(**columns)


CLEAN = {"equal": 20, "missing": 0, "stale": 0, "extra": 0, "unknown": 0}


def test_a_mirror_that_says_what_the_relay_says(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    report = Lines()
    assert run(report) == CLEAN
    assert (report.totals, report.done, report.lines) == ([8], 8, [])
    assert run(tenant="default") == CLEAN


def test_a_verification_changes_nothing(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    def rows() -> list[dict[str, Any]]:
        return [
            row for model in (Conversation, Message, Ticket) for row in model._default_manager.order_by("pk").values()
        ]

    write(Conversation.objects.all()[0], locale="xx")
    before = rows()
    assert run()["stale"] == 1
    assert rows() == before


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (Conversation, {"visitor_display_name": "Somebody"}),
        (Conversation, {"metadata": {"cart": [1, 2.5, None, {"a": "c"}]}}),
        (Conversation, {"extra": {"more": 1}}),
        (Conversation, {"last_message_at": None}),
        (Message, {"content": "another text"}),
        (Message, {"confidence": 0.123}),
        (Message, {"attachments": [{"url": "http://example.com"}]}),
        (Ticket, {"status": "open"}),
        (Ticket, {"tags": []}),
        (Ticket, {"assignee_user_id": ""}),
        (Ticket, {"conversation": None}),
    ],
)
def test_each_column_that_differs_is_told_by_its_name_and_mended_by_a_restart(
    synced: SandboxRelay,
    run: Callable[..., dict[str, int]],
    its_time: Time,
    model: type[MirrorModel],
    columns: dict[str, Any],
) -> None:
    row = model._default_manager.order_by("pk")[0]
    write(row, **columns)
    report = Lines()
    assert run(report) == {**CLEAN, "equal": 19, "stale": 1}
    [line] = report.lines
    name = {"conversation": "conversation_id"}.get(*columns, *columns)
    assert line == f"default: {model._meta.model_name} {row.relay_id} differs in {name}."
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run() == CLEAN


def test_missing_ones_are_told_and_brought_by_a_restart(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    with mirror.writable():
        message, ticket = Message.objects.all()[0], Ticket.objects.all()[0]
        message.delete()
        ticket.delete()
    conversation = synced.open_conversation("another")
    report = Lines()
    assert run(report) == {**CLEAN, "equal": 18, "missing": 3}
    assert sorted(report.lines) == sorted(
        [
            f"default: conversation {conversation.id} is missing here.",
            f"default: message {message.relay_id} is missing here.",
            f"default: ticket {ticket.relay_id} is missing here.",
        ]
    )
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run() == {**CLEAN, "equal": 21}


def test_extra_ones_are_told(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    *_, conversation = synced.conversations
    del synced._state.conversations[conversation]
    message = next(message.id for message in synced.messages if message.conversation_id != conversation)
    del synced._state.messages[message]
    ticket = next(iter(synced.tickets))
    del synced._state.tickets[ticket]
    report = Lines()
    # Of the messages of a conversation that is gone, nothing is told apart from it.
    assert run(report) == {**CLEAN, "equal": 15, "extra": 3}
    assert sorted(report.lines) == sorted(
        [
            f"default: conversation {conversation} is not at the relay.",
            f"default: message {message} is not at the relay.",
            f"default: ticket {ticket} is not at the relay.",
        ]
    )


def test_a_stub_differs_in_everything_and_says_that_it_waits(
    synced: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    conversation = synced.open_conversation("another")
    tell(synced, "conversation-started", conversation)
    report = Lines()
    assert run(report)["stale"] == 1
    assert report.lines == [
        f"default: conversation {conversation.id} differs in all, since it was never fetched. "
        "It is marked, and waits to be fetched."
    ]


def test_a_row_that_changes_while_we_look_is_looked_at_again(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, its_time: Time
) -> None:
    original = Examination._page

    def page(self: Examination, kind: Any, offset: int, limit: int) -> Any:
        found = original(self, kind, offset, limit)
        if kind.model is Conversation and offset == 0:
            # Right after the relay has answered, an event comes, and what it has marked is fetched.
            conversation = next(iter(synced.conversations.values()))
            synced.say(conversation.id, "One more thing")
            sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
            with mirror.writable():
                Conversation.objects.filter(relay_id=conversation.id).update(synced_at=self._now())
        return found

    monkeypatch.setattr(Examination, "_page", page)
    counts = run()
    assert counts["stale"] == counts["missing"] == counts["extra"] == 0


# ---- what can't be told -------------------------------------------------------------------------------------------


def test_messages_past_what_the_relay_lists_are_unknown(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    conversation = relay.open_conversation("v1")
    relay.escalate(conversation.id)
    for number in range(101):
        last = relay.say(conversation.id, f"message {number}")
    tell(relay, "message-received", conversation, message_id=last.id)
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    report = Lines()
    # A ticket, a conversation and the messages that are listed.
    assert run(report) == {**CLEAN, "equal": 102, "unknown": 1, "unknown_truncated": 1}
    assert report.lines == []


def test_a_stub_that_the_relay_does_not_have_is_unknown(
    synced: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    with mirror.writable():
        Conversation.objects.create(tenant="default", relay_id="told of")
    assert run() == {**CLEAN, "unknown": 1, "unknown_not_found": 1}


def test_what_a_relay_lacks_routes_for_is_unknown(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    missing = ["list_messages", "list_tickets"]
    with SandboxRelay(rate_limit_per_min=None, missing_operations=missing) as old:
        configure(settings, old)
        old._state.conversations.update(synced._state.conversations)
        for conversation in old.conversations.values():
            conversation.tenant_id = old.tenant_id
        assert run() == {**CLEAN, "equal": 6, "unknown": 14, "unknown_no_route": 14}


def test_a_suspended_tenants_rows_are_unknown(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    synced.tenant.suspended = True
    nothing = {**CLEAN, "equal": 0, "tenants_not_compared": 1}
    assert run() == {**nothing, "unknown": 20, "unknown_forbidden": 20}


@pytest.mark.parametrize("sample", [None, 5])
@pytest.mark.parametrize("why", ["suspended", "no routes"])
@pytest.mark.parametrize("rows", [0, 2])
def test_that_nothing_could_be_compared_is_no_success(
    run: Callable[..., dict[str, int]],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    sample: int | None,
    why: str,
    rows: int,
) -> None:
    with mirror.writable():
        for number in range(rows):
            Conversation.objects.create(tenant="default", relay_id=f"c{number}", fetched_at=aware_now())
    missing = ["list_conversations", "list_tickets"] if why == "no routes" else []
    with SandboxRelay(rate_limit_per_min=None, missing_operations=missing) as blind:
        configure(settings, blind)
        blind.tenant.suspended = why == "suspended"
        with pytest.raises(CommandError, match=r"Of 1 tenant\(s\) nothing could be compared"):
            call_command("bloonio_verify", *([] if sample is None else ["--sample", str(sample)]), verbosity=0)
        caplog.clear()
        counts = run(sample=sample)
    assert (counts["equal"], counts["unknown"], counts["tenants_not_compared"]) == (0, rows, 1)
    assert "Tenant default: nothing could be compared" in caplog.text


def test_a_relay_and_a_mirror_that_are_empty_are_equal(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    assert run() == {**CLEAN, "equal": 0}


@pytest.mark.parametrize("sample", [None, 5])
def test_a_stub_at_an_empty_relay_is_no_tenant_that_could_not_be_compared(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], sample: int | None
) -> None:
    with mirror.writable():
        Conversation.objects.create(tenant="default", relay_id="told of")
    assert run(sample=sample) == {**CLEAN, "equal": 0, "unknown": 1, "unknown_not_found": 1}
    call_command("bloonio_verify", *([] if sample is None else ["--sample", str(sample)]), verbosity=0)


def test_that_nothing_can_be_read_is_no_success(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    relay.open_conversation("v1").status = None  # type: ignore[assignment]  # what no relay should say
    assert run() == {**CLEAN, "equal": 0, "unknown": 1, "unknown_unreadable": 1, "tenants_not_compared": 1}


def test_a_relay_that_does_not_answer_is_an_error(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], settings: Any
) -> None:
    settings.BLOONIO_CHAT_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(ChatRelayConnectionError):
        run()


def test_a_relay_that_fails_now_and_then_is_waited_for(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    synced.faults.calls.set("server_error", probability=0.1)
    synced.faults.calls.set("rate_limit", probability=0.1, value=20)
    assert run() == CLEAN
    assert its_time.slept


@pytest.mark.parametrize("sample", [None, 60])
def test_what_can_not_be_read_is_unknown_and_hides_nothing(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], sample: int | None
) -> None:
    conversations, tickets = list(synced.conversations.values()), list(synced.tickets.values())
    conversations[2].status = None  # type: ignore[assignment]  # what no relay should say
    tickets[0].updated_at = None  # type: ignore[assignment]  # nor this
    synced.messages_of(conversations[3].id)[0].role = None  # type: ignore[assignment]  # nor this
    write(Conversation.objects.get(relay_id=conversations[5].id), locale="xx")
    counts = run(sample=sample)
    # The messages of a conversation that can't be read are not looked at.
    assert (counts["stale"], counts["missing"], counts["extra"], counts["unknown_unreadable"]) == (1, 0, 0, 3)
    assert counts["equal"] == 20 - 3 - 1 - len(synced.messages_of(conversations[2].id))


def test_a_message_that_can_not_be_read_and_is_not_here_is_unknown(
    synced: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    message = synced.messages[0]
    message.role = None  # type: ignore[assignment]  # what no relay should say
    with mirror.writable():
        Message.objects.get(relay_id=message.id).delete()
    assert run() == {**CLEAN, "equal": 19, "unknown": 1, "unknown_unreadable": 1}


def test_a_messages_route_that_always_fails_is_an_error(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    for number in range(MOST_OBJECTS_IN_VAIN):
        relay.open_conversation(f"visitor-{number}")
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    relay.faults.calls.set("server_error", probability=1.0, only="list_messages")
    with pytest.raises(ChatRelayServerError):
        run()


@pytest.mark.parametrize("operation", ["list_messages", "fetch_conversation"])
def test_a_row_at_which_the_relay_fails_is_unknown_and_hides_nothing(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    bad = next(iter(synced.conversations))
    # Not in the list, so that it is asked for by itself.
    if operation == "fetch_conversation":
        del synced._state.conversations[bad]
    original = ChatRelayClient.call

    def call(self: ChatRelayClient, called: Any, /) -> Any:
        if called.name == operation and bad in called.query:
            raise ChatRelayServerError("503")
        return original(self, called)

    monkeypatch.setattr(ChatRelayClient, "call", call)
    counts = run()
    assert (counts["stale"], counts["missing"], counts["extra"]) == (0, 0, 0)
    unknown = len(synced.messages_of(bad)) if operation == "list_messages" else 1
    assert counts["unknown_unreadable"] == unknown


def test_an_answer_that_is_another_object_is_not_compared(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = synced.conversations
    del synced._state.conversations[first]
    operation = operations.fetch_conversation
    monkeypatch.setattr(operations, "fetch_conversation", lambda relay_id: operation(second))
    counts = run()
    assert (counts["stale"], counts["unknown_unreadable"]) == (0, 1)


# ---- what is not to be there --------------------------------------------------------------------------------------


def test_texts_that_are_not_mirrored_are_not_compared(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time, settings: Any
) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    conversation = relay.open_conversation("v1")
    message = relay.say(conversation.id, "Hello")
    tell(relay, "message-received", conversation, message_id=message.id)
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run() == {**CLEAN, "equal": 1 + len(relay.tickets)}
    assert "list_messages" not in asked(relay)


# ---- samples ------------------------------------------------------------------------------------------------------


def test_a_sample_asks_for_no_more_than_it_says(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    before = len(synced.calls)
    counts = run(sample=2)
    assert counts["equal"] >= 4
    assert {name: count for name, count in counts.items() if name != "equal"} == {
        name: 0 for name in CLEAN if name != "equal"
    }
    assert len(synced.calls) - before <= 10


@pytest.mark.parametrize("what", ["missing", "extra", "stale"])
def test_a_sample_of_all_finds_what_there_is(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], what: str
) -> None:
    *_, conversation = synced.conversations
    if what == "missing":
        with mirror.writable():
            Conversation.objects.get(relay_id=conversation).delete()
    elif what == "extra":
        del synced._state.conversations[conversation]
    else:
        write(Conversation.objects.get(relay_id=conversation), status="closed")
    assert run(sample=60)[what] == 1


def test_a_sample_of_an_empty_mirror_and_of_an_empty_relay(
    relay: SandboxRelay, run: Callable[..., dict[str, int]]
) -> None:
    assert run(sample=5) == {**CLEAN, "equal": 0}
    relay.open_conversation("v1")
    assert run(sample=5) == {**CLEAN, "equal": 0, "missing": 1}


def test_options_that_make_no_sense(relay: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    with pytest.raises(ValueError, match="--sample"):
        run(sample=0)
    with pytest.raises(ChatRelayConfigurationError):
        run(tenant="nobody")


# ---- what is shown ------------------------------------------------------------------------------------------------


def test_only_so_many_lines_and_nothing_of_a_persons(synced: SandboxRelay, run: Callable[..., dict[str, int]]) -> None:
    for number in range(30):
        synced.open_conversation(f"visitor-{number}", visitor_display_name="Bo Secret")
    for row in Conversation.objects.all():
        write(row, visitor_display_name="Cy Secret")
    report = Lines()
    counts = run(report)
    assert (counts["missing"], counts["stale"]) == (30, 6)
    assert len(report.lines) == 21
    assert "Further" in report.lines[-1]
    assert not [line for line in report.lines if "Secret" in line or "visitor-" in line]


def test_the_command_ends_with_an_error_where_they_differ(
    synced: SandboxRelay, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("bloonio_verify")
    assert "20 equal" in capsys.readouterr().out
    write(Ticket.objects.all()[0], subject="Something else")
    with pytest.raises(CommandError, match="differs") as caught:
        call_command("bloonio_verify")
    assert "bloonio_sync --restart mends" in str(caught.value)
    assert "extra" not in str(caught.value)


def test_the_command_says_what_to_do_with_what_the_relay_has_no_more(synced: SandboxRelay) -> None:
    *_, conversation = synced.conversations
    del synced._state.conversations[conversation]
    with pytest.raises(CommandError, match=r"with mirror\.writable\(\): row\.delete\(\)") as caught:
        call_command("bloonio_verify", verbosity=0)
    assert "bloonio_sync" not in str(caught.value)
    with mirror.writable():
        Conversation.objects.get(tenant="default", relay_id=conversation).delete()
    call_command("bloonio_verify", verbosity=0)


def test_a_row_that_is_newer_than_what_the_relay_says_is_mended_once_it_is_deleted(
    synced: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    *_, conversation = synced.conversations.values()
    row = Conversation.objects.get(relay_id=conversation.id)
    write(row, updated_at=row.updated_at + timedelta(hours=1), locale="xx")
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run()["stale"] == 1
    with mirror.writable():
        row.delete()
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run() == CLEAN


# ---- the comparison itself ----------------------------------------------------------------------------------------


def test_the_comparison_knows_every_field_of_the_protocol() -> None:
    from bloonio_chat.mirror import comparing
    from bloonio_chat.sdk import types

    # What tells which object it is, and whose; the conversation is compared apart.
    keys = {"id", "tenant_id", "conversation_id"}
    for model, kind in ((Conversation, types.Conversation), (Message, types.Message), (Ticket, types.Ticket)):
        assert set(comparing._COLUMNS[model]) == set(kind.model_fields) - keys


def test_what_a_column_can_not_hold_whole_is_no_difference(
    relay: SandboxRelay, run: Callable[..., dict[str, int]], its_time: Time
) -> None:
    conversation = relay.open_conversation("v1")
    conversation.locale = "x" * 300
    conversation.status = "a new status"
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    its_time.now += 600
    assert run() == {**CLEAN, "equal": 1}
    assert Conversation.objects.get().locale == "x" * 255
