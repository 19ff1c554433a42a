"""Handing one event to the project's receivers."""

from __future__ import annotations

import functools
import logging

from bloonio_chat.clients import get_chat_client
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.signals import ReceiverOutcome, signals_of

logger = logging.getLogger("bloonio_chat.callbacks")


def deliver(event: WebhookEvent, *, tenant: str) -> list[ReceiverOutcome]:
    """Call every receiver of an event and return what became of each; what they raise is logged, not raised.

    ``tenant`` is the alias. ``event_received`` goes first, then the event's own signal.
    """
    event.bind(functools.partial(get_chat_client, tenant))
    outcomes = []
    for signal in signals_of(event):
        if not signal.receivers:
            continue
        for outcome in signal.deliver(event=event, tenant=tenant):
            if outcome.error is not None:
                logger.error(
                    "Receiver %s of %s raised for tenant %s.",
                    outcome.receiver,
                    signal.name,
                    tenant,
                    exc_info=outcome.error,
                    extra={"receiver": outcome.receiver, "signal": signal.name},
                )
            outcomes.append(outcome)
    return outcomes
