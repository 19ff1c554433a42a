"""Twenty visitors and four operators, all of them at once, at a relay where everything goes wrong."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from bloonio_chat import ChatRelayClient, ChatRelayError, ChatRelaySettings, Conversation
from bloonio_chat.sandbox import Refusal, SandboxRelay
from bloonio_chat.sdk.retry import RetryPolicy
from tests.whole.customers import PATIENCE, insist

VISITORS = 20
OPERATORS = 4
CUSTOMERS_AT_ONCE = 8


def chat(relay: SandboxRelay, conversations: int, *, seed: int) -> None:
    """Have so many conversations, and return when everybody is done; callbacks may still be under way."""
    relay.ingest("Deliveries", "A parcel takes two days to be delivered.")
    emails = [f"operator{number}@shop.example" for number in range(OPERATORS)]
    for number, email in enumerate(emails):
        relay.provision_operator(email, f"Operator {number}")
    over = threading.Event()
    client = ChatRelayClient(
        ChatRelaySettings(base_url=relay.base_url, tenant_id=relay.tenant_id, tenant_secret=relay.tenant_secret),
        retry_policy=RetryPolicy(max_attempts=4, base_seconds=0.01),
    )
    with client, ThreadPoolExecutor(CUSTOMERS_AT_ONCE + OPERATORS) as everybody:
        operators = [
            everybody.submit(_operate, relay, email, random.Random(f"{seed}/{email}"), over) for email in emails
        ]
        customers = [everybody.submit(_visit, client, relay, number) for number in range(conversations)]
        try:
            for customer in customers:
                customer.result()
        finally:
            over.set()
        for operator in operators:
            operator.result()


def _visit(client: ChatRelayClient, relay: SandboxRelay, number: int) -> None:
    conversation = _opened(client, number)
    _say(client, conversation.id, "How long does a parcel take to be delivered?")
    if number % 2 == 0:
        _say(client, conversation.id, "Let me talk to a human.")
    if number % 5 == 0:
        _say(client, conversation.id, "Merci 🙂 d'avance")


def _opened(client: ChatRelayClient, number: int) -> Conversation:
    visitor = f"visitor-{number % VISITORS}"
    for _ in range(PATIENCE):
        try:
            return client.create_conversation(
                visitor_user_id=visitor,
                visitor_display_name=f"Visitor {number}",
                locale="en",
                metadata={"number": number, "cart": [1.5, None, {"deep": True}]},
            )
        except ChatRelayError as error:
            if error.maybe_processed:
                listed = insist(lambda: list(client.iter_conversations(visitor_user_id=visitor)))
                for conversation in listed:
                    if conversation.metadata.get("number") == number:
                        return conversation
    raise AssertionError(f"conversation {number} could not be opened")


def _say(client: ChatRelayClient, conversation_id: str, content: str) -> None:
    for _ in range(PATIENCE):
        try:
            client.send_message(conversation_id, content=content)
        except ChatRelayError as error:
            if error.status_code == 409:
                # An operator has closed it meanwhile.
                return
            if error.maybe_processed:
                messages = insist(lambda: client.list_messages(conversation_id))
                if content in [message.content for message in messages]:
                    return
        else:
            return
    raise AssertionError(f"{content!r} could not be said")


def _operate(relay: SandboxRelay, email: str, chance: random.Random, over: threading.Event) -> None:
    """Take what waits, if nobody was faster; answer it, give it back or resolve it.

    The first that each of them takes is given back, and nobody leaves before the queue is empty: so some are taken
    twice.
    """
    has_given_back = False
    while True:
        is_last_look = over.is_set()
        waiting = relay.queue(email)
        chance.shuffle(waiting)
        for escalation in waiting[:3]:
            try:
                relay.claim(escalation.conversation_id, email)
                relay.answer(escalation.conversation_id, f"{email} is here.", email)
                if not has_given_back or chance.random() < 0.3:
                    has_given_back = True
                    relay.release(escalation.conversation_id)
                elif chance.random() < 0.6:
                    relay.resolve(escalation.conversation_id)
            except Refusal:
                # Another operator was faster.
                continue
        if is_last_look and not waiting:
            return
        over.wait(0.05)
