"""The mirror's page in the admin, for other rooms to link to."""

from __future__ import annotations

from django.urls import NoReverseMatch, reverse

from bloonio_chat.mirror.models import Conversation


def conversation_page(tenant: str, conversation_id: str) -> str | None:
    """Return the admin's URL of a conversation; ``tenant`` is the alias.

    ``None`` where there is no such conversation here, and without the admin.
    """
    found = Conversation.objects.filter(tenant=tenant, relay_id=conversation_id).values_list("pk", flat=True).first()
    if found is None:
        return None
    try:
        return reverse("admin:bloonio_chat_mirror_conversation_change", args=[found])
    except NoReverseMatch:
        return None
