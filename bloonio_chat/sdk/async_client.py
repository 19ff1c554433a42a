"""The asynchronous client: drives the same :mod:`~bloonio_chat.sdk.exchange` on ``httpx2``."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, TypeVar

import certifi

try:
    import anyio
    import httpx2
except ImportError as error:
    raise ImportError(
        'AsyncChatRelayClient needs the extra "async": pip install "django-bloonio-chat[async]"', name=error.name
    ) from None

from bloonio_chat.sdk import operations
from bloonio_chat.sdk.attempts import LARGEST_ANSWER, Answer, Failure, Pause, Request, causes, failure, too_large
from bloonio_chat.sdk.calls import AsyncMethod
from bloonio_chat.sdk.enums import TicketStatus
from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.exchange import Keyring, exchange
from bloonio_chat.sdk.operations import Operation
from bloonio_chat.sdk.paging import Pages
from bloonio_chat.sdk.retry import RetryPolicy
from bloonio_chat.sdk.settings import ChatRelaySettings, ca_bundle
from bloonio_chat.sdk.types import Conversation, Ticket

_T = TypeVar("_T")
_Self = TypeVar("_Self", bound="AsyncChatRelayClient")

CONNECTIONS_AT_ONCE: Final = 100


class _Watch:
    """Notes when an attempt begins to be sent: until then the relay can't have seen anything of it."""

    def __init__(self) -> None:
        self.reached = False
        self._stream: Any = None

    async def trace(self, event: str, info: Any) -> None:
        # A CONNECT is for the proxy; the relay sees nothing of it.
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.reached = True
        elif event.endswith("connect_tcp.complete"):
            self._stream = info["return_value"]
        elif event.endswith("start_tls.failed") and self._stream is not None:
            # httpcore2 forgets the socket when time runs out, or the caller cancels, during a handshake.
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


class AsyncChatRelayClient:
    """A tenant's asynchronous access to the relay: the methods of the synchronous one, each to be awaited.

    A client belongs to the event loop that first uses it. Where the loop does not last, use ``async with``, else call
    :meth:`aclose`. ``settings`` default to what the environment says; ``retry_policy``, ``clock`` (Unix time in
    seconds) and ``sleep`` are there to be replaced in tests.

    Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` when a setting is missing; every method raises
    :class:`~bloonio_chat.sdk.errors.ChatRelayError`, and nothing else.
    """

    def __init__(
        self,
        settings: ChatRelaySettings | None = None,
        *,
        retry_policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings if settings is not None else ChatRelaySettings()
        self._policy = retry_policy or RetryPolicy(max_attempts=self.settings.max_attempts)
        self._keyring = Keyring(self.settings)
        self._clock = clock
        self._sleep = sleep
        self._loop: asyncio.AbstractEventLoop | None = None
        # Reads proxies from the environment, once. The sync client's certificates, so that both trust the same relays.
        self._http = httpx2.AsyncClient(
            verify=_certificates(),
            follow_redirects=False,
            timeout=self.settings.request_timeout_seconds,
            limits=httpx2.Limits(max_connections=CONNECTIONS_AT_ONCE, max_keepalive_connections=CONNECTIONS_AT_ONCE),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self.settings.tenant_id} at {self.settings.base_url}>"

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client's connections. It can't be used afterwards."""
        await self._http.aclose()

    async def call(self, operation: Operation[_T], /) -> _T:
        """Carry out one of :mod:`~bloonio_chat.sdk.operations` and return its result.

        Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` for a client that is closed, or was first
        used in another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._http.is_closed or (self._loop or loop) is not loop:
            problem = "is closed" if self._http.is_closed else "belongs to another event loop"
            raise ChatRelayConfigurationError(f"This client {problem}: make one for each loop, with async with.")
        self._loop = loop
        steps: Generator[Request | Pause, Answer | Failure | None, _T] = exchange(
            operation, self.settings, self._keyring, self._policy, clock=self._clock
        )
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(await self._send(step))
        except StopIteration as done:
            result: _T = done.value
            return result

    async def _send(self, request: Request) -> Answer | Failure:
        watch = _Watch()
        outer = sys.exc_info()[1]
        try:
            # httpx2 limits each wait; a trickle of bytes would keep those short and the whole endless.
            with anyio.fail_after(self.settings.request_timeout_seconds):
                async with self._http.stream(
                    request.method,
                    request.url,
                    headers=dict(request.headers),
                    content=request.body or None,
                    extensions={"trace": watch.trace},
                ) as response:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > LARGEST_ANSWER:
                            return too_large()
                    return Answer(response.status_code, response.headers, bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            return _failure(error, reached=watch.reached, outer=outer)

    create_conversation = AsyncMethod(operations.create_conversation)
    fetch_conversation = AsyncMethod(operations.fetch_conversation)
    list_conversations = AsyncMethod(operations.list_conversations)
    send_message = AsyncMethod(operations.send_message)
    list_messages = AsyncMethod(operations.list_messages)
    list_tickets = AsyncMethod(operations.list_tickets)
    fetch_ticket = AsyncMethod(operations.fetch_ticket)
    ingest_knowledge = AsyncMethod(operations.ingest_knowledge)
    mint_visitor_token = AsyncMethod(operations.mint_visitor_token)
    fetch_tenant_info = AsyncMethod(operations.fetch_tenant_info)
    provision_operator = AsyncMethod(operations.provision_operator)
    fetch_operator_token = AsyncMethod(operations.fetch_operator_token)
    create_contact_ticket = AsyncMethod(operations.create_contact_ticket)

    async def iter_conversations(self, *, visitor_user_id: str | None = None) -> AsyncIterator[Conversation]:
        """Yield every conversation, or every one of a visitor, page by page, each once; raises as
        ``list_conversations``.

        Protocol §3, ``GET /fetch/conversations``.
        """
        pages = Pages(
            lambda limit, offset: operations.list_conversations(
                limit=limit, offset=offset, visitor_user_id=visitor_user_id
            )
        )
        while (operation := pages.operation) is not None:
            for item in pages.take(await self.call(operation)):
                yield item

    async def iter_tickets(
        self, *, status: TicketStatus | str | None = None, assignee_user_id: str | None = None
    ) -> AsyncIterator[Ticket]:
        """Yield every ticket that matches, page by page, each once; raises as ``list_tickets``.

        Protocol §3, ``GET /fetch/tickets``.
        """
        pages = Pages(
            lambda limit, offset: operations.list_tickets(
                limit=limit, offset=offset, status=status, assignee_user_id=assignee_user_id
            )
        )
        while (operation := pages.operation) is not None:
            for item in pages.take(await self.call(operation)):
                yield item


def _certificates() -> ssl.SSLContext:
    bundle = ca_bundle() or certifi.where()
    try:
        if os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError:
        pass
    raise ChatRelayConfigurationError("REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names a file without certificates in it.")


def _failure(error: Exception, *, reached: bool, outer: BaseException | None) -> Failure:
    return failure(
        reached=reached,
        timed_out=isinstance(error, (httpx2.TimeoutException, TimeoutError)),
        tls=any(isinstance(cause, ssl.SSLError) for cause in causes(error, outer=outer)),
        proxy=isinstance(error, httpx2.ProxyError),
    )
