"""The routes of the relay's callbacks, each with and without a trailing slash; mount them with ``include()``.

The relay posts to ``{callback base URL}/api/v1/chat-callbacks/<event>`` (protocol §4)::

    path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))
"""

from __future__ import annotations

from django.urls import re_path

from bloonio_chat.callbacks.views import callback
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.events import EVENT_PATH

app_name = "bloonio_chat"

# "\Z" and not "$", which would let a line feed follow.
urlpatterns = [
    *(
        re_path(rf"^{event.path}/?\Z", callback, {"event_path": event.path}, name=event.path)
        for event in WebhookEventType
    ),
    # An event that the relay adds later is neither refused nor lost.
    re_path(rf"^(?P<event_path>{EVENT_PATH})/?\Z", callback, name="any-event"),
]
