"""The "open in relay" link: ``OPEN_IN_RELAY_URL`` with an object's ids filled in."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from bloonio_chat.conf import LINK_PLACEHOLDERS, get_config
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import web_link
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

# A browser would go up from there.
_DOTS: Final = frozenset({".", ".."})


def relay_url_of(thing: Conversation | Ticket, other: Conversation | Ticket | None) -> str | None:
    """Return the relay's page about a conversation or a ticket; ``other`` is its ticket, or its conversation.

    Ids are percent-encoded. ``None`` where no template is set, where it names an id that is not there, and where it
    leads to no web page.
    """
    try:
        config = get_config()
        template = config.app.open_in_relay_url
        tenant_id = config.tenant(thing.tenant).tenant_id
    except ChatRelayConfigurationError:
        # Checks tell; rows of a tenant that is no longer set can't be opened.
        return None
    ids = {**dict.fromkeys(LINK_PLACEHOLDERS, ""), "tenant_id": tenant_id}
    for each in (thing, other):
        if each is not None:
            ids["ticket_id" if isinstance(each, Ticket) else "conversation_id"] = each.relay_id
    url = template or ""
    for name, value in ids.items():
        if f"{{{name}}}" in url:
            if not value or value in _DOTS:
                return None
            url = url.replace(f"{{{name}}}", quote(value, safe=""))
    link = web_link(url)
    return None if link is None else link.url
