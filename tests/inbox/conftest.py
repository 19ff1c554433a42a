"""The inbox as the project has it, on each database; deliveries happen when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps

from tests.databases import database as database


@pytest.fixture(autouse=True)
def inbox(settings: Any) -> Iterator[None]:
    """Plug the room in; nothing runs by itself."""
    settings.BLOONIO_CHAT_INBOX_RUNNER = "command"
    apps.get_app_config("bloonio_chat_inbox").ready()
    yield
    from bloonio_chat.inbox import handover

    assert handover.join(10), "a thread of this process still delivers"
