"""Fifty repeats of one event at once: its receiver runs once, and nobody is told a falsehood."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client

from bloonio_chat import signals
from tests.callbacks.relay import envelope, post, written
from tests.services import need

THREADS = 50
REDIS = "redis://127.0.0.1:6379"


def caches_of(backend: str) -> dict[str, dict[str, Any]]:
    location = {"LOCATION": REDIS} if "redis" in backend else {}
    return {"default": {"BACKEND": backend, "KEY_PREFIX": uuid.uuid4().hex, **location}}


@pytest.mark.parametrize(
    "backend", ["django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.redis.RedisCache"]
)
def test_fifty_threads_with_one_event_run_its_receiver_once(settings: Any, backend: str) -> None:
    if "redis" in backend:
        need("Redis", port=6379)
    settings.CACHES = caches_of(backend)
    settings.BLOONIO_CHAT_IDEMPOTENCY_TTL_SECONDS = 60
    body = written(envelope(event_id="e1"))
    start, others_answered = threading.Barrier(THREADS), threading.Event()
    calls: list[int] = []
    waiting: list[int] = []

    def receive(**_: Any) -> None:
        # Works until every other thread has its answer, so that all of them meet a claim that is held.
        calls.append(threading.get_ident())
        assert others_answered.wait(30)

    signals.message_received.connect(receive)

    def send() -> int:
        client = Client(raise_request_exception=False)
        start.wait(30)
        status = post(client, "message-received", body).status_code
        if status == 503:
            waiting.append(status)
            if len(waiting) == THREADS - 1:
                others_answered.set()
        return status

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = Counter(future.result(60) for future in [pool.submit(send) for _ in range(THREADS)])
    assert statuses == {200: 1, 503: THREADS - 1}
    assert len(calls) == 1
    assert post(Client(), "message-received", body).status_code == 200
    assert len(calls) == 1


def test_fifty_threads_whose_receiver_is_quick_get_200_or_503_and_run_it_once(settings: Any) -> None:
    settings.CACHES = caches_of("django.core.cache.backends.locmem.LocMemCache")
    body = written(envelope(event_id="e1"))
    start = threading.Barrier(THREADS)
    calls: list[int] = []

    def receive(**_: Any) -> None:
        calls.append(threading.get_ident())

    signals.message_received.connect(receive)

    def send() -> int:
        client = Client(raise_request_exception=False)
        start.wait(30)
        return post(client, "message-received", body).status_code

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = Counter(future.result(60) for future in [pool.submit(send) for _ in range(THREADS)])
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 1
    assert len(calls) == 1
