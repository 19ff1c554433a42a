"""A thousand conversations with every fault on: nothing is lost, nothing is done twice, and all three ends agree."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bloonio_chat import ChatRelayClient, ChatRelaySettings, MessageRole, WebhookEvent, signals
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk.retry import RetryPolicy
from tests.whole.customers import Tally, insist, play
from tests.whole.faults import PROBABILITY, every_fault_struck, let_everything_go_wrong

SEED = int(os.environ.get("SEED", "20261122"))
CONVERSATIONS = int(os.environ.get("CONVERSATIONS", "1000"))
CUSTOMERS_AT_ONCE = 12


class Receiver:
    """The project's receiver: sometimes it fails; what it did not fail at counts as handled."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()
        self.failures = 0
        self._lock = threading.Lock()
        self._random = random.Random(SEED)

    def __call__(self, sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **_: Any) -> None:
        with self._lock:
            if self._random.random() < PROBABILITY:
                self.failures += 1
                raise RuntimeError("the receiver failed, as receivers do")
            self.handled[event.model_dump_json()] += 1


@pytest.fixture
def relay(site: str, settings: Any) -> Iterator[SandboxRelay]:
    settings.CACHES = {
        # Large enough for all events: a cache that drops what is done forgets what must not be done again.
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "a thousand conversations",
            "OPTIONS": {"MAX_ENTRIES": 1_000_000},
        }
    }
    with SandboxRelay(
        callback_base_url=site, rate_limit_per_min=None, callback_pauses=[0.05] * 200, seed=SEED
    ) as relay:
        settings.BLOONIO_CHAT_BASE_URL = relay.base_url
        settings.BLOONIO_CHAT_TENANT_ID = relay.tenant_id
        settings.BLOONIO_CHAT_TENANT_SECRET = relay.tenant_secret
        let_everything_go_wrong(relay, PROBABILITY)
        yield relay


@pytest.mark.timeout(600)
@pytest.mark.django_db(databases=["default", "other"])
def test_a_thousand_conversations_end_alike_at_the_relay_the_client_and_the_receiver(relay: SandboxRelay) -> None:
    receiver = Receiver()
    signals.event_received.connect(receiver, dispatch_uid="a thousand conversations")
    relay.ingest("Deliveries", "A parcel takes two days to be delivered.")
    client = ChatRelayClient(
        ChatRelaySettings(base_url=relay.base_url, tenant_id=relay.tenant_id, tenant_secret=relay.tenant_secret),
        retry_policy=RetryPolicy(max_attempts=4, base_seconds=0.01),
    )

    with client, ThreadPoolExecutor(CUSTOMERS_AT_ONCE) as customers:
        tallies = list(customers.map(lambda number: play(number, client, relay), range(CONVERSATIONS)))
        relay.wait(timeout_seconds=300)

        _the_client_agrees(client, relay, tallies)

    every_fault_struck(relay)
    emitted = [callback for callback in relay.callbacks if callback.duplicate_of is None]
    assert {callback.outcome for callback in relay.callbacks} == {"delivered"}

    # The receiver's events are the relay's, by type, and each was handled once.
    assert receiver.failures > 0
    assert set(receiver.handled.values()) == {1}
    handled = Counter(str(WebhookEvent.model_validate_json(event).event_type) for event in receiver.handled)
    assert handled == Counter(callback.event_type for callback in emitted)
    humans = sum(tally.wanted_human for tally in tallies)
    assert handled["conversation_started"] == CONVERSATIONS
    assert handled["message_received"] == CONVERSATIONS + humans
    assert handled["ticket_created"] == handled["escalation_triggered"] == handled["agent_released"] == humans
    assert handled["agent_assigned"] == handled["ticket_assigned"] == 2 * humans


def _the_client_agrees(client: ChatRelayClient, relay: SandboxRelay, tallies: list[Tally]) -> None:
    """What the customers believe, what the client reads, and what the relay has are one and the same."""
    assert sorted(tally.conversation_id for tally in tallies) == sorted(relay.conversations)
    read = insist(lambda: list(client.iter_conversations()))
    assert {conversation.id: str(conversation.status) for conversation in read} == {
        key: conversation.status for key, conversation in relay.conversations.items()
    }
    tickets = insist(lambda: list(client.iter_tickets()))
    assert {ticket.id: str(ticket.status) for ticket in tickets} == {
        key: ticket.status for key, ticket in relay.tickets.items()
    }
    assert len(tickets) == sum(tally.wanted_human for tally in tallies)
    by_conversation: dict[str, list[str]] = {}
    for message in relay.messages:
        if message.role == MessageRole.VISITOR:
            by_conversation.setdefault(message.conversation_id, []).append(message.content)
    assert by_conversation == {tally.conversation_id: tally.said for tally in tallies}
