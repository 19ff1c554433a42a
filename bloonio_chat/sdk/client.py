"""The synchronous client: drives :mod:`~bloonio_chat.sdk.exchange` on ``requests``."""

from __future__ import annotations

import http.client
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from bloonio_chat.sdk import operations
from bloonio_chat.sdk.attempts import LARGEST_ANSWER, Answer, Failure, Pause, Request, causes, failure, too_large
from bloonio_chat.sdk.calls import SyncMethod
from bloonio_chat.sdk.enums import TicketStatus
from bloonio_chat.sdk.exchange import Keyring, exchange
from bloonio_chat.sdk.operations import Operation
from bloonio_chat.sdk.paging import Pages
from bloonio_chat.sdk.retry import RetryPolicy
from bloonio_chat.sdk.settings import ChatRelaySettings, ca_bundle
from bloonio_chat.sdk.types import Conversation, Ticket

_T = TypeVar("_T")
_Self = TypeVar("_Self", bound="ChatRelayClient")

IDLE_CONNECTIONS_KEPT: Final = 32

# Set for each attempt by the thread that makes it, and by the connection that carries it.
_attempt = threading.local()


# ---- connections -----------------------------------------------------------------------------------------------


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a moment, not for a while after each byte: a trickle must hold nobody for ever."""

    def __init__(self, sock: socket.socket, reader: io.RawIOBase) -> None:
        self._sock = sock
        # The socket's own: it knows how to close with it, be it plain, TLS, or TLS within TLS.
        self._reader = reader
        # urllib3 has just set what is left of the attempt's time.
        left = sock.gettimeout()
        self._ends = None if left is None else time.monotonic() + left
        self.at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ends is not None:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        count = self._reader.readinto(buffer)
        self.at_end = count == 0
        return count

    def close(self) -> None:
        self._reader.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _DeadlineReader(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self._reader.at_end:
            # http.client takes headers that were cut off for whole ones, and the answer for an empty one.
            raise http.client.IncompleteRead(b"")


class _ReachedMixin:
    """Notes when an attempt has a connection: until then the relay can't have seen anything of it."""

    response_class = _DeadlineResponse
    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the connection class that stands beside this one
        _attempt.reached = True

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _attempt.reached = True
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # as above


class _Connection(_ReachedMixin, HTTPConnection):  # type: ignore[misc]  # response_class is no attribute in the stubs
    pass


class _SecureConnection(_ReachedMixin, HTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """requests' own adapter, on connections that know whether they reached the relay and when to stop reading."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


class ConnectionPool:
    """Connections for any number of clients and threads; begun anew in a process that was forked.

    The adapter is used without a ``requests.Session``: no cookies are kept, no redirect is followed and no ``.netrc``
    is read. Proxies and the CA bundle come from the environment, once per relay.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._adapter = _Adapter(pool_maxsize=IDLE_CONNECTIONS_KEPT)
        self._surroundings: dict[str, tuple[dict[str, str], str | bool]] = {}
        # Last: a thread that reads it is to find the adapter of this process, even if two threads begin at once.
        self._process = os.getpid()

    def close(self) -> None:
        """Close all idle connections. The pool can be used again afterwards."""
        if self._process == os.getpid():
            self._adapter.close()

    def send(self, request: Request, timeout_seconds: float) -> Answer | Failure:
        """Make one attempt, within that time. Never raises for anything that the network or the other side does.

        Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` for a CA bundle that is not there.
        """
        if self._process != os.getpid():
            # Sockets made before a fork belong to both processes: two calls on one would get each other's answers.
            self._begin()
        proxies, verify = self._surroundings_of(request.url)
        _attempt.reached = False
        outer = sys.exc_info()[1]
        response = None
        whole = False
        try:
            response = self._adapter.send(
                _prepare(request),
                stream=True,
                timeout=urllib3.Timeout(total=timeout_seconds),  # type: ignore[arg-type]  # taken, though not documented
                verify=verify,
                proxies=proxies,
            )
            body = bytearray()
            while chunk := response.raw.read(65536, decode_content=True):
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    return too_large()
            whole = True
            return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            return _failure(error, outer=outer)
        except BaseException as interruption:  # noqa: BLE001  # raised again, without the frames that hold the signature
            # A signal's, such as Celery's time limits.
            raise interruption.with_traceback(None)  # noqa: B904  # the very same
        finally:
            if response is not None:
                if not whole:
                    # Also when a signal interrupts (Celery's time limits): the next call on this connection would
                    # read what is left of this answer.
                    response.raw.close()
                response.raw.release_conn()

    def _surroundings_of(self, url: str) -> tuple[dict[str, str], str | bool]:
        parts = urlsplit(url)
        key = f"{parts.scheme}://{parts.netloc}"
        found = self._surroundings.get(key)
        if found is None:
            proxies = requests.utils.get_environ_proxies(key)
            bundle = ca_bundle() if parts.scheme == "https" else None
            found = self._surroundings[key] = (proxies, bundle or True)
        return found


def _prepare(request: Request) -> requests.PreparedRequest:
    prepared = requests.PreparedRequest()
    prepared.prepare(method=request.method, url=request.url, headers=dict(request.headers), data=request.body or None)
    return prepared


def _failure(error: Exception, *, outer: BaseException | None) -> Failure:
    # urllib3 calls it a lost connection when time runs out while the request is sent; the cause tells.
    out_of_time = any(isinstance(cause, TimeoutError) for cause in causes(error, outer=outer))
    return failure(
        reached=bool(getattr(_attempt, "reached", False)),
        timed_out=out_of_time or isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)),
        tls=isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)),
        proxy=isinstance(error, requests.exceptions.ProxyError),
    )


# ---- the client ------------------------------------------------------------------------------------------------


class ChatRelayClient:
    """A tenant's synchronous access to the relay; safe to share between threads.

    ``settings`` default to what the environment says. ``pool`` is one to share; without it the client has its own,
    which :meth:`close`, or leaving a ``with`` block, empties. ``retry_policy``, ``clock`` (Unix time in seconds) and
    ``sleep`` are there to be replaced in tests.

    Raises :class:`~bloonio_chat.sdk.errors.ChatRelayConfigurationError` when a setting is missing; every method raises
    :class:`~bloonio_chat.sdk.errors.ChatRelayError`, and nothing else.
    """

    def __init__(
        self,
        settings: ChatRelaySettings | None = None,
        *,
        pool: ConnectionPool | None = None,
        retry_policy: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings if settings is not None else ChatRelaySettings()
        self._owns_pool = pool is None
        self._pool = pool if pool is not None else ConnectionPool()
        self._policy = retry_policy or RetryPolicy(max_attempts=self.settings.max_attempts)
        self._keyring = Keyring(self.settings)
        self._clock = clock
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self.settings.tenant_id} at {self.settings.base_url}>"

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's own idle connections; a shared pool is left alone."""
        if self._owns_pool:
            self._pool.close()

    def call(self, operation: Operation[_T], /) -> _T:
        """Carry out one of :mod:`~bloonio_chat.sdk.operations` and return its result."""
        steps: Generator[Request | Pause, Answer | Failure | None, _T] = exchange(
            operation, self.settings, self._keyring, self._policy, clock=self._clock
        )
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(self._pool.send(step, self.settings.request_timeout_seconds))
        except StopIteration as done:
            result: _T = done.value
            return result

    create_conversation = SyncMethod(operations.create_conversation)
    fetch_conversation = SyncMethod(operations.fetch_conversation)
    list_conversations = SyncMethod(operations.list_conversations)
    send_message = SyncMethod(operations.send_message)
    list_messages = SyncMethod(operations.list_messages)
    list_tickets = SyncMethod(operations.list_tickets)
    fetch_ticket = SyncMethod(operations.fetch_ticket)
    ingest_knowledge = SyncMethod(operations.ingest_knowledge)
    mint_visitor_token = SyncMethod(operations.mint_visitor_token)
    fetch_tenant_info = SyncMethod(operations.fetch_tenant_info)
    provision_operator = SyncMethod(operations.provision_operator)
    fetch_operator_token = SyncMethod(operations.fetch_operator_token)
    create_contact_ticket = SyncMethod(operations.create_contact_ticket)

    def iter_conversations(self, *, visitor_user_id: str | None = None) -> Iterator[Conversation]:
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
            yield from pages.take(self.call(operation))

    def iter_tickets(
        self, *, status: TicketStatus | str | None = None, assignee_user_id: str | None = None
    ) -> Iterator[Ticket]:
        """Yield every ticket that matches, page by page, each once; raises as ``list_tickets``.

        Protocol §3, ``GET /fetch/tickets``.
        """
        pages = Pages(
            lambda limit, offset: operations.list_tickets(
                limit=limit, offset=offset, status=status, assignee_user_id=assignee_user_id
            )
        )
        while (operation := pages.operation) is not None:
            yield from pages.take(self.call(operation))
