"""Marked rows are fetched: once for many events, within the share of calls, and whatever the relay answers."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.test import Client

from bloonio_chat import mirror
from bloonio_chat.callbacks.ports import Projectable, ports
from bloonio_chat.mirror import fetching, hydration, marks, rates
from bloonio_chat.mirror.hydration import drain, hydrate, hydrate_patiently
from bloonio_chat.mirror.models import Conversation, Message, RelayPace, Ticket
from bloonio_chat.mirror.projection import project
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox import objects as relays
from bloonio_chat.sdk import operations
from bloonio_chat.sdk.errors import ChatRelayAnswerError
from tests.mirror.at_relay import TENANT, Time, asked, configure, escalated, event_of, refusing, tell
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


def nobodys(relay: SandboxRelay, relay_id: str) -> relays.Conversation:
    """A conversation that events tell of and that the relay does not have."""
    now = relay.clock.moment()
    return relays.Conversation(relay_id, relay.tenant_id, "v1", "en", "text", now, now)


# ---- fetching -----------------------------------------------------------------------------------------------------


def test_ten_events_of_one_conversation_cost_one_fetch(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1", visitor_display_name="Ann", metadata={"cart": 3}, locale="en")
    messages = [relay.say(conversation.id, f"message {number}") for number in range(3)]
    batch = [
        Projectable(TENANT, event_of(relay, "message-received", conversation, message_id=message.id))
        for message in messages
        for _ in range(3)
    ]
    project([*batch, Projectable(TENANT, event_of(relay, "conversation-started", conversation))])

    assert hydrate(50, clock=its_time) == 1
    assert asked(relay) == {"fetch_conversation": 1, "list_messages": 1}
    row = Conversation.objects.get()
    assert (row.visitor_display_name, row.metadata, row.locale, row.marked_at) == ("Ann", {"cart": 3}, "en", None)
    assert row.updated_at == row.messages_as_of == conversation.updated_at
    kept = {message.relay_id: message.content for message in Message.objects.all()}
    assert kept == {message.id: message.content for message in relay.messages_of(conversation.id)}
    assert hydrate(50, clock=its_time) == 0


def test_a_ticket_is_fetched_and_says_what_the_relay_says(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1")
    ticket = escalated(relay, conversation)
    tell(relay, "ticket-created", ticket)
    relay.claim(conversation.id)
    assert hydrate(50, clock=its_time) == 2
    row = Ticket.objects.get()
    assert (row.status, row.assignee_user_id, row.subject) == ("assigned", ticket.assignee_user_id, ticket.subject)
    assert row.conversation.relay_id == conversation.id
    assert row.marked_at is None


def test_no_more_are_fetched_than_asked_for(relay: SandboxRelay, its_time: Time) -> None:
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    assert hydrate(2, clock=its_time) == 2
    assert Conversation.objects.filter(marked_at__isnull=False).count() == 1
    assert hydrate(50, clock=its_time, stop=lambda: True) == 0


def test_an_event_during_the_fetch_is_not_lost(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = relay.open_conversation("v1")
    tell(relay, "conversation-started", conversation)
    fetch_messages = fetching.fetch_messages

    def meanwhile(*arguments: Any) -> Any:
        found = fetch_messages(*arguments)
        message = relay.say(conversation.id, "one more thing")
        tell(relay, "message-received", conversation, message_id=message.id)
        return found

    monkeypatch.setattr(hydration, "fetch_messages", meanwhile)
    assert hydrate(1, clock=its_time) == 1
    assert Conversation.objects.get().marked_at is not None
    monkeypatch.setattr(hydration, "fetch_messages", fetch_messages)
    assert hydrate(1, clock=its_time) == 1
    assert Conversation.objects.get().marked_at is None
    assert Message.objects.filter(content="one more thing").exists()


def test_two_workers_do_not_fetch_the_same(relay: SandboxRelay, its_time: Time) -> None:
    tell(relay, "conversation-started", relay.open_conversation("v1"))
    now_ms = int(its_time() * 1000)
    [mine], [yours] = (marks.find_marked(TENANT, now_ms=now_ms, limit=9) for _ in range(2))
    assert mine.take(now_ms=now_ms)
    assert not yours.take(now_ms=now_ms)
    assert hydrate(9, clock=its_time) == 0
    # Mine died.
    its_time.now += marks.LEASE_SECONDS
    assert hydrate(9, clock=its_time) == 1
    # Too late: the row is somebody else's, and stays as it is.
    mine.postpone(taken_ms=now_ms, now_ms=now_ms)
    assert Conversation.objects.get().fetch_tries == 0


def test_who_found_a_row_before_it_was_marked_again_does_not_take_it(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1")
    tell(relay, "conversation-started", conversation)
    now_ms = int(its_time() * 1000)
    [found] = marks.find_marked(TENANT, now_ms=now_ms, limit=9)
    tell(relay, "message-received", conversation, message_id="m1")
    assert not found.take(now_ms=now_ms)


@pytest.mark.usefixtures("many_calls")
def test_who_has_waited_longest_is_the_first_however_much_is_told_of_it(relay: SandboxRelay, its_time: Time) -> None:
    busy = relay.open_conversation("busy")
    tell(relay, "conversation-started", busy)
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
        tell(relay, "message-received", busy, message_id=f"m{number}")
    assert hydrate(1, clock=its_time) == 1
    assert Conversation.objects.get(relay_id=busy.id).fetched_at is not None


def test_what_is_marked_while_it_is_fetched_waits_behind_the_others(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, other = relay.open_conversation("busy"), relay.open_conversation("v1")
    tell(relay, "conversation-started", busy)
    tell(relay, "conversation-started", other)
    fetch_messages = fetching.fetch_messages

    def meanwhile(*arguments: Any) -> Any:
        found = fetch_messages(*arguments)
        tell(relay, "message-received", busy, message_id=f"m{len(relay.calls)}")
        return found

    monkeypatch.setattr(hydration, "fetch_messages", meanwhile)
    for conversation in (busy, other):
        assert hydrate(1, clock=its_time) == 1
        assert Conversation.objects.get(relay_id=conversation.id).fetched_at is not None
    assert Conversation.objects.get(relay_id=busy.id).waiting_since is not None
    assert Conversation.objects.get(relay_id=other.id).waiting_since is None


def test_messages_past_what_the_relay_lists_are_known_to_be_missing(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1")
    relay.escalate(conversation.id)
    for number in range(99):
        relay.say(conversation.id, f"message {number}")
    tell(relay, "conversation-started", conversation)
    hydrate(9, clock=its_time)
    assert not Conversation.objects.get().messages_truncated
    relay.say(conversation.id, "the hundredth")
    last = relay.say(conversation.id, "and one more")
    tell(relay, "message-received", conversation, message_id=last.id)
    hydrate(9, clock=its_time)
    assert Conversation.objects.get().messages_truncated
    assert Message.objects.exclude(fetched_at=None).count() == 100
    stub = Message.objects.get(relay_id=last.id)
    assert (stub.fetched_at, stub.content) == (None, "")


def test_without_mirror_messages_they_are_not_even_asked_for(
    relay: SandboxRelay, its_time: Time, settings: Any
) -> None:
    settings.BLOONIO_CHAT_MIRROR_MESSAGES = False
    conversation = relay.open_conversation("v1")
    message = relay.say(conversation.id, "my card number is 1234")
    tell(relay, "message-received", conversation, message_id=message.id)
    assert hydrate(9, clock=its_time) == 1
    assert asked(relay) == {"fetch_conversation": 1}
    assert Conversation.objects.get().messages_as_of is None
    assert set(Message.objects.values_list("content", flat=True)) == {""}


def test_without_the_inbox_nothing_is_fetched_in_a_request(relay: SandboxRelay) -> None:
    from tests.callbacks.relay import post, signed

    conversation = relay.open_conversation("v1")
    body = event_of(relay, "conversation-started", conversation).model_dump_json(exclude_none=True).encode()
    headers = signed(body, tenant_id=relay.tenant_id, secret=relay.tenant_secret)
    assert ports.accept is None
    assert post(Client(), "conversation-started", body, headers).status_code == 200
    assert Conversation.objects.get().marked_at is not None
    assert relay.calls == []


# ---- the share of calls -------------------------------------------------------------------------------------------


def test_half_of_the_tenants_calls_are_left_to_the_project(limited: SandboxRelay, its_time: Time) -> None:
    for number in range(40):
        tell(limited, "conversation-started", limited.open_conversation(f"v{number}"))
    began = its_time.now
    fetched = hydrate_patiently(600, clock=its_time, sleep=its_time.sleep)
    assert fetched == 40
    assert {call.status for call in limited.calls} == {200}
    times = [call.at.timestamp() - began for call in limited.calls]
    most = max(sum(1 for other in times if time <= other < time + 60) for time in times)
    assert 20 < most <= rates.CALLS_PER_MINUTE


def test_one_drain_does_not_wait_for_calls(limited: SandboxRelay, its_time: Time) -> None:
    for number in range(9):
        tell(limited, "conversation-started", limited.open_conversation(f"v{number}"))
    drained = drain(TENANT, limit=9, clock=its_time)
    assert drained.fetched == 2
    assert drained.wait_ms > 0
    its_time.now += drained.wait_ms / 1000
    assert drain(TENANT, limit=9, clock=its_time).fetched == 1


def test_a_clock_that_was_wrong_holds_nothing_up_for_long(relay: SandboxRelay, its_time: Time) -> None:
    tell(relay, "conversation-started", relay.open_conversation("v1"))
    RelayPace.objects.create(tenant=TENANT, free_at_ms=int((its_time() + 10 * 365 * 86_400) * 1000))
    assert drain(TENANT, limit=9, clock=its_time).fetched == 1


@pytest.mark.parametrize("route", ["", fetching.CONVERSATION, fetching.MESSAGES])
def test_a_pause_by_a_clock_that_was_wrong_holds_nothing_up(relay: SandboxRelay, its_time: Time, route: str) -> None:
    conversation = relay.open_conversation("v1")
    message = relay.say(conversation.id, "Hello")
    tell(relay, "conversation-started", conversation)
    year_ahead_ms = int((its_time() + 365 * 86_400) * 1000)
    RelayPace.objects.create(tenant=TENANT, route=route, paused_until_ms=year_ahead_ms, failures=rates.MISSING_AFTER)
    assert drain(TENANT, limit=9, clock=its_time).fetched == 1
    assert Message.objects.filter(relay_id=message.id).exists()
    assert RelayPace.objects.get(route=route).paused_until_ms == 0


def test_a_failure_after_a_pause_by_a_clock_that_was_wrong_makes_a_pause_of_its_own(its_time: Time) -> None:
    now_ms = int(its_time() * 1000)
    RelayPace.objects.create(tenant=TENANT, paused_until_ms=now_ms + 365 * 86_400_000)
    assert rates.pause(TENANT, now_ms=now_ms, random=lambda: 1.0) == rates.FIRST_PAUSE_SECONDS
    assert rates.look(TENANT, 1, now_ms=now_ms) == rates.FIRST_PAUSE_SECONDS * 1000


def test_calls_that_wait_for_nobody_are_the_others_to_wait_for(relay: SandboxRelay, its_time: Time) -> None:
    now_ms = int(its_time() * 1000)
    for _ in range(10):
        rates.note_call(TENANT, now_ms=now_ms)
    wait_ms = rates.take(TENANT, 1, now_ms=now_ms)
    assert 0 < wait_ms < 30_000
    # However many they are, nobody waits much longer than a minute for them.
    for _ in range(200):
        rates.note_call(TENANT, now_ms=now_ms)
    assert wait_ms < rates.take(TENANT, 1, now_ms=now_ms) <= 63_000
    # What the relay asked for is not made shorter.
    rates.obey(TENANT, 600, now_ms=now_ms)
    rates.note_call(TENANT, now_ms=now_ms)
    assert rates.take(TENANT, 1, now_ms=now_ms) >= 600_000


@pytest.mark.parametrize(("retry_after", "seconds"), [(40.0, 40), (90_000.0, 3600)])
def test_what_the_relay_asks_for_is_waited_for_an_hour_at_the_most(
    relay: SandboxRelay, its_time: Time, retry_after: float, seconds: int
) -> None:
    tell(relay, "conversation-started", relay.open_conversation("v1"))
    relay.faults.calls.set("rate_limit", count=1, value=min(retry_after, 86_400.0))
    assert hydrate(9, clock=its_time) == 0
    calls = len(relay.calls)
    its_time.now += seconds - 1
    assert hydrate(9, clock=its_time) == 0
    assert len(relay.calls) == calls
    # The next call may come then; two, for the messages too, an interval later.
    its_time.now += 10
    assert hydrate(9, clock=its_time) == 1


def test_a_storm_of_429_costs_one_call_a_time(relay: SandboxRelay, its_time: Time) -> None:
    for number in range(20):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    relay.faults.calls.set("rate_limit", probability=1.0, value=30.0)
    hydrate_patiently(600, clock=its_time, sleep=its_time.sleep)
    assert 10 <= len(relay.calls) <= 21
    relay.faults.clear()
    assert hydrate_patiently(600, clock=its_time, sleep=its_time.sleep) == 20


# ---- a relay in trouble -------------------------------------------------------------------------------------------


def test_a_dead_relay_is_asked_ever_more_seldom_and_the_mark_stays(
    relay: SandboxRelay, its_time: Time, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = relay.open_conversation("v1")
    tell(relay, "conversation-started", conversation)
    settings.BLOONIO_CHAT_BASE_URL = "http://127.0.0.1:9"
    pauses = []
    for _ in range(12):
        with caplog.at_level(logging.WARNING, "bloonio_chat.mirror"):
            assert hydrate(9, clock=its_time, random=lambda: 1.0) == 0
        [pace] = RelayPace.objects.all()
        pauses.append(round(pace.paused_until_ms / 1000 - its_time()))
        its_time.now = max(pace.paused_until_ms, Conversation.objects.get().fetch_after_ms) / 1000
    assert pauses == [15, 30, 60, 120, 240, 480, *[900] * 6]
    assert "ChatRelayConnectionError" in caplog.text
    assert Conversation.objects.get().marked_at is not None
    settings.BLOONIO_CHAT_BASE_URL = relay.base_url
    assert hydrate(9, clock=its_time) == 1
    row = Conversation.objects.get()
    assert (row.marked_at, row.fetch_after_ms, row.fetch_tries) == (None, 0, 0)
    assert RelayPace.objects.get().failures == 0


def test_after_an_outage_what_waited_is_fetched_at_once(relay: SandboxRelay, its_time: Time, settings: Any) -> None:
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    settings.BLOONIO_CHAT_BASE_URL, began = "http://127.0.0.1:9", its_time.now
    while its_time.now < began + 80 * 60:
        assert hydrate(9, clock=its_time, random=lambda: 1.0) == 0
        # Somebody who asks for it by hand makes it no worse.
        drain(TENANT, limit=9, despite_pause=True, clock=its_time, random=lambda: 1.0)
        its_time.now += 60
    assert max(Conversation.objects.values_list("fetch_tries", flat=True)) <= 1
    settings.BLOONIO_CHAT_BASE_URL, fetched, back = relay.base_url, 0, its_time.now
    while fetched < 3:
        fetched += hydrate(9, clock=its_time)
        its_time.now += 60
    assert its_time.now - back <= rates.LONGEST_PAUSE_SECONDS + 120


def test_what_fails_during_a_pause_does_not_make_it_longer(its_time: Time) -> None:
    now_ms = int(its_time() * 1000)
    first = rates.pause(TENANT, now_ms=now_ms, random=lambda: 1.0)
    assert rates.pause(TENANT, now_ms=now_ms + 1000, random=lambda: 1.0) == first - 1
    assert RelayPace.objects.get().failures == 1


def test_deliveries_never_hear_of_it(relay: SandboxRelay, its_time: Time, settings: Any) -> None:
    from bloonio_chat.inbox.processing import process

    tell(relay, "conversation-started", relay.open_conversation("v1"))
    settings.BLOONIO_CHAT_BASE_URL = "http://127.0.0.1:9"
    assert ports.hydrate is hydrate
    assert process().total == 0
    assert RelayPace.objects.get().failures == 1


def test_a_suspended_tenant_is_left_alone_for_long(relay: SandboxRelay, its_time: Time) -> None:
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    relay.tenant.suspended = True
    assert hydrate(9, clock=its_time) == 0
    its_time.now += 440
    assert hydrate(9, clock=its_time) == 0
    assert [call.status for call in relay.calls] == [403]
    relay.tenant.suspended = False
    its_time.now += 470
    assert hydrate(9, clock=its_time) > 0
    assert not Conversation.objects.filter(fetch_tries__gt=0).exists()


def test_an_object_at_which_the_relay_fails_holds_up_no_other(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1")
    ticket = escalated(relay, conversation)
    tell(relay, "ticket-created", ticket)
    # The ticket is what is asked for first, and what fails.
    with mirror.writable():
        Ticket.objects.update(waiting_since=Ticket.objects.get().waiting_since - timedelta(days=1))
    relay.faults.calls.set("server_error", probability=1.0, only="fetch_ticket")
    hydrate(9, clock=its_time)
    its_time.now += 20
    assert hydrate(9, clock=its_time) == 1
    assert Conversation.objects.get().marked_at is None
    assert Ticket.objects.get().fetch_tries == 1
    relay.faults.clear()
    its_time.now += marks.PAUSES_SECONDS[0]
    assert hydrate(9, clock=its_time) == 1
    assert Ticket.objects.get().fetch_tries == 0


def test_what_the_relay_does_not_have_stays_a_stub_and_is_asked_for_ever_more_seldom(
    relay: SandboxRelay, its_time: Time
) -> None:
    tell(relay, "conversation-started", nobodys(relay, "gone"))
    began, asked_at = its_time.now, []
    while Conversation.objects.get().marked_at is not None:
        calls = len(relay.calls)
        assert hydrate(9, clock=its_time) == 0
        if len(relay.calls) > calls:
            asked_at.append(round(its_time.now - began))
        # One that is gone is no route that is missing.
        assert rates.missing_routes(TENANT, now_ms=int(its_time() * 1000)) == set()
        its_time.now += 60 if len(asked_at) < 3 else 600
    hour = 3600
    assert asked_at == [0, 60, 660, hour + 660, 7 * hour + 660, 31 * hour + 660]
    row = Conversation.objects.get()
    assert (row.fetched_at, row.visitor_user_id, row.waiting_since) == (None, "v1", None)
    # Another event has it looked for again, at once.
    tell(relay, "message-received", nobodys(relay, "gone"), message_id="m1")
    assert hydrate(9, clock=its_time) == 0
    assert len(relay.calls) == len(asked_at) + 1
    assert Conversation.objects.get().fetch_tries == 1


def test_an_event_that_comes_as_a_row_is_given_up_has_it_looked_for_again(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = nobodys(relay, "gone")
    tell(relay, "conversation-started", gone)
    with mirror.writable():
        Conversation.objects.update(fetch_tries=marks.MOST_TRIES - 1)
    fetch = fetching.fetch_conversation

    def meanwhile(*arguments: Any) -> Any:
        tell(relay, "message-received", gone, message_id="m1")
        return fetch(*arguments)

    monkeypatch.setattr(hydration, "fetch_conversation", meanwhile)
    assert drain(TENANT, limit=1, clock=its_time).failed == 1
    row = Conversation.objects.get()
    assert row.marked_at is not None
    assert (row.fetch_tries, row.fetch_after_ms, row.taken_until_ms) == (0, 0, 0)


def test_a_relay_without_these_routes_is_asked_once_an_hour(relay: SandboxRelay, its_time: Time, settings: Any) -> None:
    with SandboxRelay(
        rate_limit_per_min=None, missing_operations=["fetch_conversation", "list_messages", "fetch_ticket"]
    ) as old:
        configure(settings, old)
        for number in range(12):
            conversation = old.open_conversation(f"v{number}")
            tell(old, "ticket-created", escalated(old, conversation))
        assert hydrate_patiently(600, clock=its_time, sleep=its_time.sleep) == 0
        assert len(old.calls) == 0
        assert RelayPace.objects.exclude(route="").count() == 2
        assert rates.missing_routes(TENANT, now_ms=int(its_time() * 1000)) == {fetching.CONVERSATION, fetching.TICKET}
        assert Conversation.objects.filter(fetched_at=None, marked_at__isnull=False).count() == 12
        tries = sum(Conversation.objects.values_list("fetch_tries", flat=True))
        assert tries == rates.MISSING_AFTER
        its_time.now += rates.MISSING_SECONDS
        assert hydrate_patiently(600, clock=its_time, sleep=its_time.sleep) == 0
        assert sum(Conversation.objects.values_list("fetch_tries", flat=True)) == tries + 1


def test_what_is_gone_keeps_nothing_waiting_that_was_never_asked_for(relay: SandboxRelay, its_time: Time) -> None:
    for number in range(rates.MISSING_AFTER):
        tell(relay, "conversation-started", nobodys(relay, f"gone {number}"))
    assert hydrate_patiently(120, clock=its_time, sleep=its_time.sleep) == 0
    assert rates.missing_routes(TENANT, now_ms=int(its_time() * 1000)) == {fetching.CONVERSATION}
    for number in range(3):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    its_time.now += rates.MISSING_SECONDS
    calls = len(relay.calls)
    assert hydrate_patiently(5, clock=its_time, sleep=its_time.sleep) >= 1
    assert relay.calls[calls].status == 200
    assert rates.missing_routes(TENANT, now_ms=int(its_time() * 1000)) == set()


def test_what_is_gone_keeps_nothing_waiting_that_was_asked_for_before(relay: SandboxRelay, its_time: Time) -> None:
    for number in range(rates.MISSING_AFTER):
        tell(relay, "conversation-started", nobodys(relay, f"gone {number}"))
    assert hydrate_patiently(120, clock=its_time, sleep=its_time.sleep) == 0
    tell(relay, "conversation-started", relay.open_conversation("v1"))
    with mirror.writable():
        Conversation.objects.exclude(relay_id__startswith="gone").update(fetch_tries=1)
    its_time.now += rates.MISSING_SECONDS
    assert hydrate_patiently(60, clock=its_time, sleep=its_time.sleep) == 1


def test_as_long_as_nothing_is_missing_who_waits_longest_is_the_first_however_often_tried(
    relay: SandboxRelay, its_time: Time
) -> None:
    for number in range(2):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    oldest = Conversation.objects.order_by("waiting_since")[0]
    with mirror.writable():
        Conversation.objects.filter(pk=oldest.pk).update(fetch_tries=3)
    assert hydrate(1, clock=its_time) == 1
    assert Conversation.objects.get(pk=oldest.pk).fetched_at is not None


def test_a_relay_that_lists_no_messages_still_gives_conversations(
    relay: SandboxRelay, its_time: Time, settings: Any
) -> None:
    with SandboxRelay(rate_limit_per_min=None, missing_operations=["list_messages"]) as old:
        configure(settings, old)
        for number in range(12):
            tell(old, "conversation-started", old.open_conversation(f"v{number}", locale="en"))
        assert hydrate_patiently(600, clock=its_time, sleep=its_time.sleep) == 12
        assert set(Conversation.objects.values_list("locale", "marked_at", "messages_as_of")) == {("en", None, None)}
        assert rates.missing_routes(TENANT, now_ms=int(its_time() * 1000)) == {fetching.MESSAGES}


def test_an_answer_that_can_not_be_read_lets_its_row_wait(relay: SandboxRelay, its_time: Time) -> None:
    conversation = relay.open_conversation("v1")
    conversation.status = None  # type: ignore[assignment]  # what no relay should say
    tell(relay, "conversation-started", conversation)
    tell(relay, "conversation-started", relay.open_conversation("v2"))
    assert drain(TENANT, limit=9, clock=its_time).fetched == 1
    assert Conversation.objects.get(relay_id=conversation.id).fetch_tries == 1


@pytest.mark.parametrize("kind", ["conversation", "ticket"])
def test_an_answer_that_is_another_object_lets_its_row_wait_and_changes_nothing(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    asked_for, other = (relay.open_conversation(visitor) for visitor in ("v1", "v2"))
    objects = [asked_for, other] if kind == "conversation" else [escalated(relay, each) for each in (asked_for, other)]
    tell(relay, f"{kind}-{'started' if kind == 'conversation' else 'created'}", objects[0])
    operation = getattr(operations, f"fetch_{kind}")
    monkeypatch.setattr(operations, f"fetch_{kind}", lambda relay_id: operation(objects[1].id))
    drained = drain(TENANT, limit=50, clock=its_time)
    assert drained.failed == 1
    assert asked(relay)[f"fetch_{kind}"] == 1
    model = Conversation if kind == "conversation" else Ticket
    row = model._default_manager.get(relay_id=objects[0].id)
    assert (row.fetched_at, row.fetch_tries) == (None, 1)
    assert not model._default_manager.filter(relay_id=objects[1].id).exists()


def test_a_message_that_can_not_be_read_hides_no_other(
    relay: SandboxRelay, its_time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = relay.open_conversation("v1", locale="en")
    bad, good = relay.say(conversation.id, "secret words"), relay.say(conversation.id, "hello")
    bad.role = None  # type: ignore[assignment]  # what no relay should say
    tell(relay, "conversation-started", conversation)
    assert hydrate(9, clock=its_time) == 1
    row = Conversation.objects.get()
    # Not all is here, so a sync asks for the messages again.
    assert (row.locale, row.marked_at, row.messages_as_of) == ("en", None, None)
    assert Message.objects.filter(relay_id=good.id, content="hello").exists()
    assert not Message.objects.filter(relay_id=bad.id).exists()
    assert f"list_messages: left out what is not as the protocol says: '{bad.id}'" in caplog.text
    assert "secret" not in caplog.text


def test_a_conversation_whose_messages_can_not_be_had_is_here_and_its_mark_stays(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: Any) -> Any:
        raise ChatRelayAnswerError("list_messages: the relay's answer is too large.")

    monkeypatch.setattr(hydration, "fetch_messages", too_much)
    tell(relay, "conversation-started", relay.open_conversation("v1", locale="en"))
    drained = drain(TENANT, limit=9, clock=its_time)
    assert (drained.fetched, drained.failed, drained.error) == (0, 1, None)
    row = Conversation.objects.get()
    assert (row.locale, row.messages_as_of, row.fetch_tries) == ("en", None, 1)
    assert row.marked_at is not None


# ---- a database that does not take it -----------------------------------------------------------------------------


@pytest.mark.usefixtures("many_calls")
def test_an_object_that_the_database_does_not_take_holds_up_no_other(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, *_ = conversations = [relay.open_conversation(f"v{number}") for number in range(3)]
    for conversation in conversations:
        tell(relay, "conversation-started", conversation)
    refusing(monkeypatch, lambda fetched: fetched.object.id == bad.id, DataError("so deep: secret words"))
    assert hydrate(9, clock=its_time) == 2
    row = Conversation.objects.get(relay_id=bad.id)
    assert (row.fetched_at, row.fetch_tries, row.taken_until_ms) == (None, 1, 0)
    assert row.fetch_after_ms == int((its_time() + marks.PAUSES_SECONDS[0]) * 1000)
    assert f"conversation '{bad.id}' could not be written (DataError)" in caplog.text
    assert "secret" not in caplog.text


def test_a_database_in_trouble_is_not_the_objects_fault(
    relay: SandboxRelay, its_time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = relay.open_conversation("v1")
    tell(relay, "conversation-started", conversation)
    refusing(monkeypatch, lambda fetched: fetched.object.id == conversation.id, OperationalError("database is locked"))
    with pytest.raises(OperationalError):
        hydrate(9, clock=its_time)
    assert Conversation.objects.get().fetch_tries == 0


# ---- several tenants ----------------------------------------------------------------------------------------------


def test_each_tenant_has_a_share_and_a_pause_of_its_own(relay: SandboxRelay, its_time: Time, settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {
        "shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET, "BASE_URL": "http://127.0.0.1:9"}
    }
    tell(relay, "conversation-started", relay.open_conversation("v1"))
    project([Projectable("shop-b", event_of(relay, "conversation-started", nobodys(relay, "b1")))])
    project([Projectable("gone", event_of(relay, "conversation-started", nobodys(relay, "c1")))])
    assert hydrate(9, clock=its_time) == 1
    assert dict(RelayPace.objects.values_list("tenant", "failures")) == {TENANT: 0, "shop-b": 1}
    marked = Conversation.objects.filter(marked_at__isnull=False)
    assert set(marked.values_list("tenant", flat=True)) == {"shop-b", "gone"}
