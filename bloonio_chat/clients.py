"""One client per tenant: ``get_chat_client()`` and its asynchronous twin."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from bloonio_chat.conf import get_config
from bloonio_chat.sdk.client import ChatRelayClient, ConnectionPool

if TYPE_CHECKING:
    from bloonio_chat.sdk.async_client import AsyncChatRelayClient

_pool = ConnectionPool()
_clients: dict[str, ChatRelayClient] = {}
_async_clients: dict[asyncio.AbstractEventLoop, _LoopsClients] = {}


class _LoopsClients:
    """The clients of one event loop, closed when it ends.

    An asynchronous receiver under WSGI has a loop of its own for each event; what it leaves open would add up.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.by_tenant: dict[str, AsyncChatRelayClient] = {}
        # A loop finishes the asynchronous generators that were begun in it before it closes: the one moment at which
        # it tells, and connections can still be closed in order.
        self._until_the_end = self._close_at_the_end(loop)
        with contextlib.suppress(StopIteration):
            self._until_the_end.__anext__().send(None)

    async def _close_at_the_end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _async_clients.pop(loop, None)
            for client in self.by_tenant.values():
                await client.aclose()


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
    loop = asyncio.get_running_loop()
    clients = _async_clients.get(loop)
    if clients is None:
        for other in [each for each in _async_clients if each.is_closed()]:
            # Closed without a word, by a bare loop.close().
            del _async_clients[other]
        clients = _async_clients[loop] = _LoopsClients(loop)
    client = clients.by_tenant.get(settings.tenant_id)
    if client is None or client.settings is not settings:
        client = clients.by_tenant[settings.tenant_id] = AsyncChatRelayClient(settings)
    return client
