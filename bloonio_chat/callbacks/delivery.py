"""Handing one event to the mirror and to the project's receivers, one step after the other."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from django.db import transaction

from bloonio_chat.callbacks.ports import Projectable, ports
from bloonio_chat.clients import get_chat_client
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.signals import ConnectedReceiver, signals_of

logger = logging.getLogger("bloonio_chat.callbacks")

# The name under which the mirror's part of a delivery is noted.
PROJECTION: Final = "projection"


def receivers_of(event: WebhookEvent, *, tenant: str) -> list[ConnectedReceiver]:
    """Return whom to call with an event: the receivers of ``event_received``, then those of its own signal.

    ``tenant`` is the alias, whose client the event gets for its ``fetch_…`` methods.
    """
    event.bind(functools.partial(get_chat_client, tenant))
    return [receiver for signal in signals_of(event) if signal.receivers for receiver in signal.connected()]


def call(
    receiver: ConnectedReceiver,
    event: WebhookEvent,
    *,
    tenant: str,
    within: Callable[[], AbstractContextManager[object]] | None = None,
) -> BaseException | None:
    """Call one receiver, within a context if one is given, and return what it raised, if anything; it is logged.

    What is to stop the process is not caught.
    """
    try:
        if within is None:
            receiver.call(event, tenant)
        else:
            with within():
                receiver.call(event, tenant)
    except (Exception, asyncio.CancelledError) as error:
        # The project's code may raise anything.
        logger.exception(
            "Receiver %s of %s raised for tenant %s.",
            receiver.name,
            receiver.signal.name,
            tenant,
            extra={"receiver": receiver.name, "signal": receiver.signal.name},
        )
        return error
    return None


def project(batch: Sequence[Projectable]) -> list[BaseException | None]:
    """Hand events to the mirror, if there is one; return what became of each.

    A batch that fails is tried again one by one, so that one event holds up no other.
    """
    if ports.project is None or not batch:
        return [None] * len(batch)
    try:
        ports.project(batch)
    except Exception as error:
        if len(batch) == 1:
            logger.exception("The mirror could not take an event of tenant %s.", batch[0].tenant)
            return [error]
        return [outcome for one in batch for outcome in project([one])]
    return [None] * len(batch)


def deliver(event: WebhookEvent, *, tenant: str) -> list[BaseException]:
    """Hand an event to the mirror, then call every receiver; return what was raised, which is logged too.

    ``tenant`` is the alias.
    """
    raised = [] if ports.project is None else project([Projectable(tenant, event)])
    for receiver in receivers_of(event, tenant=tenant):
        raised.append(call(receiver, event, tenant=tenant, within=transaction.atomic if receiver.atomic else None))
    return [error for error in raised if error is not None]
