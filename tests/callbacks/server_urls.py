"""The callbacks and a page that shows what the receivers of this process saw, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from bloonio_chat import signals
from bloonio_chat.sdk.events import WebhookEvent

_seen: list[tuple[str, str | None, bool]] = []


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def note(event: WebhookEvent, **_: Any) -> None:
    _seen.append(("sync", event.message_id, _in_a_loop()))


async def note_async(event: WebhookEvent, **_: Any) -> None:
    await asyncio.sleep(0)
    _seen.append(("async", event.message_id, _in_a_loop()))


@login_not_required
def seen(request: HttpRequest) -> JsonResponse:
    return JsonResponse(_seen, safe=False)


signals.event_received.connect(note)
signals.event_received.connect(note_async)

urlpatterns = [path("api/v1/chat-callbacks/", include("bloonio_chat.urls")), path("seen", seen)]
