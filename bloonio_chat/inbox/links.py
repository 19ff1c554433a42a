"""The inbox's page in the admin, for other rooms to link to."""

from __future__ import annotations

from django.db import router
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from bloonio_chat.conf import get_config
from bloonio_chat.inbox.lanes import lane_of
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.sdk.errors import ChatRelayConfigurationError


def events_of(tenant: str, conversation_id: str) -> str | None:
    """Return the admin's URL for the events of a conversation.

    ``tenant`` is the alias. ``None`` where there are none, for an unknown tenant, and without the admin.
    """
    try:
        settings = get_config().tenants.get(tenant)
    except ChatRelayConfigurationError:
        # Checks tell.
        return None
    if settings is None or not conversation_id:
        return None
    lane = lane_of(settings.tenant_id, conversation_id, "")
    if not InboxEvent.objects.using(router.db_for_read(InboxEvent)).filter(lane=lane).exists():
        return None
    try:
        url = reverse("admin:bloonio_chat_inbox_inboxevent_changelist")
    except NoReverseMatch:
        return None
    return f"{url}?{urlencode({'q': conversation_id})}"
