"""A relay that sees what a real one would (a 500 and not its traceback), and what the project's receivers saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from bloonio_chat import signals
from bloonio_chat.sdk.events import WebhookEvent
from tests.callbacks.servers import Servers


@pytest.fixture
def relay() -> Client:
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


@pytest.fixture
def events() -> Iterator[list[WebhookEvent]]:
    """Every event that reached ``event_received``."""
    seen: list[WebhookEvent] = []

    def collect(event: WebhookEvent, **_: Any) -> None:
        seen.append(event)

    signals.event_received.connect(collect)
    yield seen
    signals.event_received.disconnect(collect)


@pytest.fixture
def rejections() -> Iterator[list[dict[str, Any]]]:
    """The arguments of every ``callback_rejected``."""
    seen: list[dict[str, Any]] = []

    def collect(**arguments: Any) -> None:
        seen.append(arguments)

    signals.callback_rejected.connect(collect)
    yield seen
    signals.callback_rejected.disconnect(collect)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()
