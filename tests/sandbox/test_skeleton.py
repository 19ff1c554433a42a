"""The walking skeleton: a call out, a signed callback in, a signal."""

from __future__ import annotations

from typing import Any

import pytest
from django.dispatch import receiver

from bloonio_chat import WebhookEvent, get_chat_client, signals
from bloonio_chat.sandbox import SandboxRelay


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_conversation_comes_back_as_a_signal(live_server: Any, settings: Any) -> None:
    heard: list[tuple[WebhookEvent, str]] = []

    @receiver(signals.conversation_started)
    def hear(sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **_: Any) -> None:
        heard.append((event, tenant))

    with SandboxRelay(callback_base_url=live_server.url) as relay:
        settings.BLOONIO_CHAT_BASE_URL = relay.base_url
        settings.BLOONIO_CHAT_TENANT_ID = relay.tenant_id
        settings.BLOONIO_CHAT_TENANT_SECRET = relay.tenant_secret
        conversation = get_chat_client().create_conversation(visitor_user_id="user-1", locale="en")
        relay.wait()

    assert [(each.event_type, each.status) for each in relay.callbacks] == [("conversation_started", 200)]
    [(event, tenant)] = heard
    assert (event.conversation_id, event.visitor_user_id, tenant) == (conversation.id, "user-1", "default")
