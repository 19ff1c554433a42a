"""How a route of :mod:`~bloonio_chat.sdk.operations` becomes a method of a client.

Both clients are tables of the same functions, so names, arguments and documentation can't drift apart; only what a
method returns differs: a result, or a coroutine that returns it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from bloonio_chat.sdk.operations import Operation

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Caller(Protocol):
    """What can carry out an operation."""

    def call(self, operation: Operation[Any], /) -> Any:
        """Carry it out."""
        ...


class _Method(Generic[_P, _T]):
    def __init__(self, build: Callable[_P, Operation[_T]]) -> None:
        self.__doc__ = build.__doc__
        self._build = build

    def _bind(self, client: Caller) -> Callable[_P, Any]:
        build = self._build

        @functools.wraps(build)
        def method(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            return client.call(build(*args, **kwargs))

        return method


class SyncMethod(_Method[_P, _T]):
    """A method of :class:`~bloonio_chat.sdk.client.ChatRelayClient`."""

    @overload
    def __get__(self, client: None, owner: type) -> SyncMethod[_P, _T]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[_P, _T]: ...
    def __get__(self, client: Caller | None, owner: type) -> SyncMethod[_P, _T] | Callable[_P, _T]:
        return self if client is None else self._bind(client)


class AsyncMethod(_Method[_P, _T]):
    """A method of :class:`~bloonio_chat.sdk.async_client.AsyncChatRelayClient`."""

    @overload
    def __get__(self, client: None, owner: type) -> AsyncMethod[_P, _T]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[_P, Coroutine[Any, Any, _T]]: ...
    def __get__(
        self, client: Caller | None, owner: type
    ) -> AsyncMethod[_P, _T] | Callable[_P, Coroutine[Any, Any, _T]]:
        return self if client is None else self._bind(client)
