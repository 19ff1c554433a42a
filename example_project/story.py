"""One customer's story, told step by step: what is called, what comes back, and which signals the site hears.

A step succeeds only if the relay answered what it should, and the site heard exactly the signals that belong to it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from bloonio_chat import ChatRelayClient, MessageRole, TicketStatus
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.sandbox import SandboxRelay
from example_project.desk.models import HeardEvent

OPERATOR = "mira@shop.example"


class Story:
    """A question, the bot's answer, a human asked for, a ticket, an operator who takes it, gives back, and resolves."""

    def __init__(self, relay: SandboxRelay, client: ChatRelayClient) -> None:
        self._relay = relay
        self._client = client
        self._conversation_id = ""
        self._ticket_id = ""
        self._heard_before: Counter[str] = Counter()

    def tell(self) -> bool:
        """Play all steps; return whether each of them happened."""
        happened = True
        for number, (title, act, signals) in enumerate(self._steps(), start=1):
            print(f"\n{number}. {title}")
            for line in act():
                print(f"   {line}")
            happened = self._check_signals(Counter(signals)) and happened
        return happened

    def _steps(self) -> Iterator[tuple[str, Callable[[], Iterator[str]], list[str]]]:
        yield "The shop teaches the bot, and names an operator", self._prepare, []
        yield "A customer asks", self._ask, ["conversation_started", "message_received"]
        yield "The bot answers", self._read_bot, []
        yield (
            "The customer wants a human",
            self._want_human,
            ["message_received", "escalation_triggered", "ticket_created"],
        )
        yield "An operator takes it", self._claim, ["agent_assigned", "ticket_assigned"]
        yield "She gives it back to the queue", self._release, ["agent_released"]
        yield "She takes it again, and answers", self._claim_again, ["agent_assigned", "ticket_assigned"]
        yield "She resolves it", self._resolve, ["agent_resolved", "ticket_resolved"]

    def _prepare(self) -> Iterator[str]:
        document = self._client.ingest_knowledge(
            title="Delivery times", body="We deliver parcels within two working days.", language="en"
        )
        yield f"called ingest_knowledge -> {document.title!r}, {document.status}"
        operator = self._client.provision_operator(email=OPERATOR, display_name="Mira")
        yield f"called provision_operator -> {operator.display_name}, created: {operator.created}"

    def _ask(self) -> Iterator[str]:
        conversation = self._client.create_conversation(
            visitor_user_id="customer-1", visitor_display_name="Jo", locale="en"
        )
        self._conversation_id = conversation.id
        yield f"called create_conversation -> {conversation.id}, {conversation.status}"
        message = self._client.send_message(conversation.id, content="How long do you take to deliver parcels?")
        yield f"called send_message -> {message.role}: {message.content}"

    def _read_bot(self) -> Iterator[str]:
        last = self._client.list_messages(self._conversation_id)[-1]
        expect(last.role == MessageRole.BOT and "two working days" in last.content, f"no answer of the bot: {last}")
        yield f"called list_messages -> {last.role}: {last.content}"

    def _want_human(self) -> Iterator[str]:
        message = self._client.send_message(self._conversation_id, content="I want to talk to a human, please.")
        yield f"called send_message -> {message.role}: {message.content}"
        tickets = self._client.list_tickets(status=TicketStatus.OPEN)
        expect(len(tickets) == 1, f"{len(tickets)} open tickets")
        ticket = tickets[0]
        self._ticket_id = ticket.id
        yield f"called list_tickets -> {ticket.ticket_number}, {ticket.status}, priority {ticket.priority}"

    def _claim(self) -> Iterator[str]:
        escalation = self._relay.claim(self._conversation_id, OPERATOR)
        yield f"at the relay: Mira claims it, for the {times(escalation.claim_count)} time"
        yield from self._see_ticket(TicketStatus.ASSIGNED)

    def _release(self) -> Iterator[str]:
        escalation = self._relay.release(self._conversation_id)
        yield f"at the relay: {escalation.status}"

    def _claim_again(self) -> Iterator[str]:
        yield from self._claim()
        answer = self._relay.answer(self._conversation_id, "It left this morning.", OPERATOR)
        last = self._client.list_messages(self._conversation_id)[-1]
        expect(last.id == answer.id and last.role == MessageRole.AGENT, f"no answer of the operator: {last}")
        yield f"called list_messages -> {last.role}: {last.content}"

    def _resolve(self) -> Iterator[str]:
        self._relay.resolve(self._conversation_id)
        yield from self._see_ticket(TicketStatus.RESOLVED)
        conversation = self._client.fetch_conversation(self._conversation_id)
        expect(conversation.status == "closed", f"the conversation is {conversation.status}")
        yield f"called fetch_conversation -> {conversation.status}"

    def _see_ticket(self, status: TicketStatus) -> Iterator[str]:
        ticket = self._client.fetch_ticket(self._ticket_id)
        expect(ticket.status == status, f"the ticket is {ticket.status}, not {status}")
        yield f"called fetch_ticket -> {ticket.ticket_number}, {ticket.status}"

    def _check_signals(self, expected: Counter[str]) -> bool:
        self._relay.wait()
        wait_for_deliveries()
        heard = Counter(HeardEvent.objects.values_list("event_type", flat=True))
        new = heard - self._heard_before
        self._heard_before = heard
        for event in HeardEvent.objects.order_by("-pk")[: new.total()][::-1]:
            print(f"   signal {event.event_type}{f': {event.details}' if event.details else ''}")
        if new != expected:
            print(f"   FAILED: expected the signals {dict(expected)}, heard {dict(new)}")
        return new == expected


class StoryError(Exception):
    """The relay did not answer what the story needs."""


def expect(happened: bool, problem: str) -> None:
    if not happened:
        raise StoryError(problem)


def wait_for_deliveries() -> None:
    """Wait for the inbox: it has answered the relay, and delivers in threads of this process."""
    deadline = time.monotonic() + 30
    while InboxEvent.objects.filter(due_ms__isnull=False).exists():
        expect(time.monotonic() < deadline, "the inbox still has something to deliver")
        time.sleep(0.02)


def times(count: int) -> str:
    return {1: "first", 2: "second"}.get(count, f"{count}th")
