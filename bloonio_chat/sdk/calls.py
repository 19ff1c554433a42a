"""How a route of :mod:`~bloonio_chat.sdk.operations` becomes a method of a client.

Both clients are tables of the same functions, so names, arguments and documentation can't drift apart; only what a
method returns differs: a result, or a coroutine that returns it.
"""

from __future__ import annotations

import inspect
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
        self.__name__ = build.__name__
        # With what the method returns, where the function's annotation says Operation[…] of it.
        signature = inspect.signature(build)
        returned = str(signature.return_annotation).removeprefix("Operation[").removesuffix("]")
        self.__signature__ = signature.replace(return_annotation=returned)
        self._build = build

    def _dress(self, method: Any) -> Any:
        method.__name__, method.__doc__, method.__signature__ = self.__name__, self.__doc__, self.__signature__
        return method


class SyncMethod(_Method[_P, _T]):
    """A method of :class:`~bloonio_chat.sdk.client.ChatRelayClient`."""

    def __call__(self, client: Caller, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Carry the operation out, as ``ChatRelayClient.name(client, …)``; also what mocks are modelled on."""
        result: _T = client.call(self._build(*args, **kwargs))
        return result

    @overload
    def __get__(self, client: None, owner: type) -> SyncMethod[_P, _T]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[_P, _T]: ...
    def __get__(self, client: Caller | None, owner: type) -> SyncMethod[_P, _T] | Callable[_P, _T]:
        if client is None:
            return self
        build, call = self._build, client.call

        def method(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            result: _T = call(build(*args, **kwargs))
            return result

        dressed: Callable[_P, _T] = self._dress(method)
        return dressed


class AsyncMethod(_Method[_P, _T]):
    """A method of :class:`~bloonio_chat.sdk.async_client.AsyncChatRelayClient`."""

    async def __call__(self, client: Caller, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Carry the operation out, as ``AsyncChatRelayClient.name(client, …)``; also what mocks are modelled on."""
        result: _T = await client.call(self._build(*args, **kwargs))
        return result

    @overload
    def __get__(self, client: None, owner: type) -> AsyncMethod[_P, _T]: ...
    @overload
    def __get__(self, client: Caller, owner: type) -> Callable[_P, Coroutine[Any, Any, _T]]: ...
    def __get__(
        self, client: Caller | None, owner: type
    ) -> AsyncMethod[_P, _T] | Callable[_P, Coroutine[Any, Any, _T]]:
        if client is None:
            return self
        build, call = self._build, client.call

        async def method(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            result: _T = await call(build(*args, **kwargs))
            return result

        dressed: Callable[_P, Coroutine[Any, Any, _T]] = self._dress(method)
        return dressed
