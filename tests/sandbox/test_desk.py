"""The bot, escalations, tickets and operators (protocol §1 and §3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest

from bloonio_chat.sandbox import Refusal, SandboxRelay


def _roles(relay: SandboxRelay, conversation_id: str) -> list[str]:
    return [message.role for message in relay.messages_of(conversation_id)]


def test_the_bot_answers_from_what_was_ingested(relay: SandboxRelay) -> None:
    relay.ingest("Delivery", "Parcels take two days.")
    document = relay.ingest("Returns", "Refunds go to your card.\n\nUnworn shoes come back within 30 days.")
    conversation = relay.open_conversation("a", locale="en")
    relay.say(conversation.id, "Can unworn shoes come back?")
    answer = relay.messages_of(conversation.id)[-1]
    assert (answer.role, answer.content) == ("bot", "Unworn shoes come back within 30 days.")
    assert answer.confidence == 1.0
    [citation] = answer.citations
    assert (citation["document_id"], citation["document_version"], citation["score"]) == (document.id, 1, 1.0)
    assert relay.escalations == {}


def test_accents_and_case_do_not_matter_to_the_bot(relay: SandboxRelay) -> None:
    relay.ingest("Échanges", "Les échanges sont gratuits.")
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "ECHANGES GRATUITS ?")
    assert relay.messages_of(conversation.id)[-1].content == "Les échanges sont gratuits."


@pytest.mark.parametrize(("locale", "said"), [("en-GB", "Hello! How can I help you?"), ("fr", "Bonjour ! Comment")])
def test_a_greeting_is_greeted(relay: SandboxRelay, locale: str, said: str) -> None:
    conversation = relay.open_conversation("a", locale=locale)
    relay.say(conversation.id, "Bonjour")
    assert relay.messages_of(conversation.id)[-1].content.startswith(said)
    assert relay.tickets == {}


@pytest.mark.parametrize(
    ("words", "reason", "priority", "hours"),
    [
        ("Where is my parcel?", "low_confidence", "p3", 24),
        ("I want to talk to a human", "user_request", "p2", 4),
        ("Je veux parler à un conseiller", "user_request", "p2", 4),
        ("My lawyer will write to you", "restricted_topic", "p1", 1),
    ],
)
def test_the_bot_escalates(relay: SandboxRelay, words: str, reason: str, priority: str, hours: int) -> None:
    relay.ingest("Returns", "Within 30 days.")
    conversation = relay.open_conversation("a", locale="en")
    relay.say(conversation.id, words)
    escalation = relay.escalations[conversation.id]
    [ticket] = relay.tickets.values()
    assert (escalation.reason, escalation.status, escalation.ticket_id) == (reason, "WAITING", ticket.id)
    assert re.fullmatch(r"LOK-\d{6}", ticket.ticket_number)
    assert (ticket.priority, ticket.status, ticket.user_id, ticket.subject) == (priority, "open", "a", words)
    assert ticket.sla_due_at == ticket.created_at + timedelta(hours=hours)
    assert (ticket.escalation_id, ticket.conversation_id) == (escalation.id, conversation.id)
    assert _roles(relay, conversation.id) == ["visitor", "bot"]


def test_the_bot_is_silent_once_it_has_escalated(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "human please")
    relay.say(conversation.id, "human please!")
    assert _roles(relay, conversation.id) == ["visitor", "bot", "visitor"]
    assert len(relay.tickets) == 1


def test_in_human_mode_the_first_message_goes_to_the_queue(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay(mode="human")
    conversation = relay.open_conversation("a")
    assert relay.escalations == {}
    relay.say(conversation.id, "Hello")
    assert relay.escalations[conversation.id].reason == "direct"
    assert _roles(relay, conversation.id) == ["visitor"]


def test_ticket_numbers_count_up(relay: SandboxRelay) -> None:
    for name in "ab":
        relay.escalate(relay.open_conversation(name).id)
    assert [ticket.ticket_number for ticket in relay.tickets.values()] == ["LOK-000001", "LOK-000002"]


def test_a_case_from_claim_to_resolution(relay: SandboxRelay) -> None:
    ann = relay.provision_operator("ann@shop.example", "Ann")
    conversation = relay.open_conversation("a")
    relay.say(conversation.id, "human please")
    [ticket] = relay.tickets.values()
    escalation = relay.claim(conversation.id, "ann@shop.example")
    assert (escalation.status, escalation.claim_count, escalation.operator_id) == ("ASSIGNED", 1, ann.operator_id)
    assert (ticket.status, ticket.assignee_user_id) == ("assigned", ann.operator_id)
    message = relay.answer(conversation.id, "Hello, Ann here")
    assert (message.role, message.operator_id, ticket.status) == ("agent", ann.operator_id, "waiting_on_user")
    relay.say(conversation.id, "Hi Ann")
    assert ticket.status == "in_progress"
    relay.release(conversation.id)
    assert (escalation.status, escalation.operator_id, ticket.status, ticket.assignee_user_id) == (
        *("WAITING", None, "open"),
        None,
    )
    relay.claim(conversation.id, ann.operator_id)
    assert (escalation.claim_count, escalation.released_at) == (2, None)
    relay.clock.advance(60)
    relay.resolve(conversation.id)
    assert (escalation.status, ticket.status, conversation.status) == ("RESOLVED", "resolved", "closed")
    assert ticket.resolved_at == escalation.resolved_at == conversation.closed_at


def test_answering_takes_what_waits(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("a")
    relay.answer(conversation.id, "May I help?")
    assert relay.escalations[conversation.id].status == "ASSIGNED"
    assert relay.escalations[conversation.id].reason == "direct"


def test_what_one_operator_has_no_other_gets(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("a")
    relay.provision_operator("ann@shop.example", "Ann")
    relay.provision_operator("bob@shop.example", "Bob")
    relay.claim(conversation.id, "ann@shop.example")
    for act in (
        lambda: relay.claim(conversation.id, "bob@shop.example"),
        lambda: relay.answer(conversation.id, "Hi", "bob@shop.example"),
        lambda: relay.escalate(conversation.id),
    ):
        with pytest.raises(Refusal, match=r"409"):
            act()


def test_nobody_releases_or_resolves_what_nobody_has(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("a")
    for act in (relay.release, relay.resolve):
        with pytest.raises(Refusal, match=r"409"):
            act(conversation.id)
    relay.claim(conversation.id)
    relay.resolve(conversation.id)
    for again in (relay.release, relay.resolve, relay.claim):
        with pytest.raises(Refusal, match=r"409"):
            again(conversation.id)
    with pytest.raises(Refusal, match=r"409"):
        relay.answer(conversation.id, "Hello?")


@pytest.mark.parametrize("keys", [None, []])
def test_an_operator_without_routing_keys_sees_everything(relay: SandboxRelay, keys: list[str] | None) -> None:
    relay.provision_operator("ann@shop.example", "Ann", routing_keys=keys)
    for key in (None, "store-7"):
        relay.escalate(relay.open_conversation("a", routing_key=key).id)
    assert len(relay.queue("ann@shop.example")) == 2


def test_an_operator_with_routing_keys_sees_only_those(relay: SandboxRelay) -> None:
    relay.provision_operator("bob@shop.example", "Bob", routing_keys=["store-7", "store-8"])
    ours = relay.open_conversation("a", metadata={"routing_key": "store-7"})
    theirs = relay.open_conversation("b", routing_key="store-9")
    nobodys = relay.open_conversation("c")
    for each in (ours, theirs, nobodys):
        relay.escalate(each.id)
    assert [each.conversation_id for each in relay.queue("bob@shop.example")] == [ours.id]
    with pytest.raises(Refusal, match=r"403"):
        relay.claim(theirs.id, "bob@shop.example")
    relay.claim(ours.id)
    assert relay.queue("bob@shop.example") == []
    relay.claim(nobodys.id)
    assert relay.operators[relay.escalations[nobodys.id].operator_id or ""].email == "operator@sandbox.invalid"


def test_an_unknown_operator_or_conversation_is_404(relay: SandboxRelay) -> None:
    with pytest.raises(Refusal, match=r"404"):
        relay.claim(relay.open_conversation("a").id, "nobody@shop.example")
    with pytest.raises(Refusal, match=r"404"):
        relay.say("nothing", "Hello")
