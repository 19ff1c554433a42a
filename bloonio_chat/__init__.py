"""Connects a Django project to the Bloonio Chat Relay.

Importing this package loads nothing; each public name is loaded when it is first asked for (PEP 562).
"""

from __future__ import annotations

import importlib

# Type checkers take this name for true; typing itself would cost more than all the rest of this module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from bloonio_chat import signals as signals
    from bloonio_chat.clients import get_async_chat_client as get_async_chat_client
    from bloonio_chat.clients import get_chat_client as get_chat_client
    from bloonio_chat.sdk.async_client import AsyncChatRelayClient as AsyncChatRelayClient
    from bloonio_chat.sdk.client import ChatRelayClient as ChatRelayClient
    from bloonio_chat.sdk.enums import ConversationStatus as ConversationStatus
    from bloonio_chat.sdk.enums import MessageRole as MessageRole
    from bloonio_chat.sdk.enums import TicketPriority as TicketPriority
    from bloonio_chat.sdk.enums import TicketStatus as TicketStatus
    from bloonio_chat.sdk.enums import WebhookEventType as WebhookEventType
    from bloonio_chat.sdk.errors import ChatRelayError as ChatRelayError
    from bloonio_chat.sdk.events import WebhookEvent as WebhookEvent
    from bloonio_chat.sdk.settings import ChatRelaySettings as ChatRelaySettings
    from bloonio_chat.sdk.types import Conversation as Conversation
    from bloonio_chat.sdk.types import KnowledgeDocument as KnowledgeDocument
    from bloonio_chat.sdk.types import Message as Message
    from bloonio_chat.sdk.types import Ticket as Ticket

_HOMES = {
    "AsyncChatRelayClient": "bloonio_chat.sdk.async_client",
    "ChatRelayClient": "bloonio_chat.sdk.client",
    "ChatRelayError": "bloonio_chat.sdk.errors",
    "ChatRelaySettings": "bloonio_chat.sdk.settings",
    "Conversation": "bloonio_chat.sdk.types",
    "ConversationStatus": "bloonio_chat.sdk.enums",
    "KnowledgeDocument": "bloonio_chat.sdk.types",
    "Message": "bloonio_chat.sdk.types",
    "MessageRole": "bloonio_chat.sdk.enums",
    "Ticket": "bloonio_chat.sdk.types",
    "TicketPriority": "bloonio_chat.sdk.enums",
    "TicketStatus": "bloonio_chat.sdk.enums",
    "WebhookEvent": "bloonio_chat.sdk.events",
    "WebhookEventType": "bloonio_chat.sdk.enums",
    "get_async_chat_client": "bloonio_chat.clients",
    "get_chat_client": "bloonio_chat.clients",
}

__all__ = [*sorted(_HOMES), "signals"]  # all are texts; the table is the one list of names


def __getattr__(name: str) -> object:
    if name == "signals":
        return importlib.import_module("bloonio_chat.signals")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
