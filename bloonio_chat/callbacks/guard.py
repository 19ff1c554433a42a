"""Delivery in the request, guarded by a cache: what happens without the inbox.

A claim, with a random token and a short lease, while receivers work; a mark that the event is done, which outlives the
relay's retries, afterwards. The relay hears 200 only once that mark is set, so a crash in between costs a repeat, never
an event. There is no ledger here: when one receiver fails, all of them are called again.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from django.core.cache import BaseCache, caches

from bloonio_chat.callbacks.delivery import deliver
from bloonio_chat.callbacks.ports import ACCEPTED, RETRY_LATER, Acceptance
from bloonio_chat.conf import get_config
from bloonio_chat.sdk.receive import Received

logger = logging.getLogger("bloonio_chat.callbacks")

# How long a repeat waits for a process that may have died; receivers that need longer want the inbox.
CLAIM_LEASE_SECONDS: Final = 60
_DONE: Final = "done"


def accept(received: Received) -> Acceptance:
    """Deliver an event that was not delivered yet. Never raises an ``Exception``."""
    try:
        return _accept(received)
    except Exception:
        logger.exception("The idempotency cache failed; the relay is asked to send the event again.")
        return RETRY_LATER


def _accept(received: Received) -> Acceptance:
    app = get_config().app
    cache = caches[app.idempotency_cache]
    key = f"bloonio_chat:{received.key}"
    token = os.urandom(8)
    if not cache.add(key, token, CLAIM_LEASE_SECONDS):
        # Someone else's claim, or done. A cache that is gone also says no, and then has nothing to show.
        return ACCEPTED if cache.get(key) == _DONE else RETRY_LATER
    done = False
    try:
        if not deliver(received.event, tenant=received.tenant.alias):
            cache.set(key, _DONE, app.idempotency_ttl_seconds)
            # Some caches fail without a word.
            done = cache.get(key) == _DONE
    finally:
        if not done:
            _release(cache, key, token)
    return ACCEPTED if done else RETRY_LATER


def _release(cache: BaseCache, key: str, token: bytes) -> None:
    """Give a claim back, unless its lease ran out and another has it by now."""
    try:
        if cache.get(key) == token:
            cache.delete(key)
    except Exception:
        # Whatever ended the delivery matters more, and the lease runs out by itself.
        logger.exception("A claim could not be given back; repeats of its event wait until its lease runs out.")
