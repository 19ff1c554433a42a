"""The routes of the relay's callbacks, each with and without a trailing slash; mount them with ``include()``.

The relay posts to ``{callback base URL}/api/v1/chat-callbacks/<event>`` (protocol §4)::

    path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))
"""

from __future__ import annotations

from collections.abc import Iterator

from django.urls import URLPattern, path, re_path

from bloonio_chat.callbacks.views import callback
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.events import EVENT_PATH

app_name = "bloonio_chat"


def _routes(event_path: str) -> Iterator[URLPattern]:
    yield path(event_path, callback, {"event_path": event_path}, name=event_path)
    yield path(f"{event_path}/", callback, {"event_path": event_path})


urlpatterns = [
    *(route for event in WebhookEventType for route in _routes(event.path)),
    # An event that the relay adds later is neither refused nor lost. "$" instead of "\Z" would let a line feed follow.
    re_path(rf"^(?P<event_path>{EVENT_PATH})/?\Z", callback, name="any-event"),
]
