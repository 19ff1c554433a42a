"""One client per tenant: ``get_chat_client()`` and its asynchronous twin (design "Out")."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from bloonio_chat.conf import get_config
from bloonio_chat.sdk.client import ChatRelayClient, ConnectionPool

if TYPE_CHECKING:
    from bloonio_chat.sdk.async_client import AsyncChatRelayClient

_pool = ConnectionPool()
_clients: dict[str, ChatRelayClient] = {}
_async_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncChatRelayClient]]
_async_clients = weakref.WeakKeyDictionary()


def get_chat_client(tenant: str | None = None) -> ChatRelayClient:
    """Return the client of a tenant: the same for all threads of this process, over one pool of connections.

    ``tenant`` is an alias of ``BLOONIO_CHAT_TENANTS``; ``None`` is the tenant of the flat settings. Raises
    :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` when it is not set, or set wrongly.
    """
    settings = get_config().tenant(tenant)
    client = _clients.get(settings.tenant_id)
    # Settings that changed since (override_settings) make another object, and so another client.
    if client is None or client.settings is not settings:
        client = _clients[settings.tenant_id] = ChatRelayClient(settings, pool=_pool)
    return client


def get_async_chat_client(tenant: str | None = None) -> AsyncChatRelayClient:
    """Return the asynchronous client of a tenant for the running event loop.

    Needs a loop that lasts, as under an ASGI server; elsewhere write ``async with AsyncChatRelayClient(...)``. Raises
    like :func:`get_chat_client`, ``RuntimeError`` where no loop runs, and ``ImportError`` without the extra ``async``.
    """
    from bloonio_chat.sdk.async_client import AsyncChatRelayClient

    settings = get_config().tenant(tenant)
    clients = _async_clients.setdefault(asyncio.get_running_loop(), {})
    client = clients.get(settings.tenant_id)
    if client is None or client.settings is not settings:
        client = clients[settings.tenant_id] = AsyncChatRelayClient(settings)
    return client
