"""Both clients under one face, so that one suite runs against both: what the async one returns is awaited here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from bloonio_chat.sdk.async_client import AsyncChatRelayClient
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.retry import RetryPolicy
from bloonio_chat.sdk.settings import ChatRelaySettings
from tests.secrets import SECRET, TENANT_ID


class Facade:
    """A client of either kind whose sleeps are written down instead of slept.

    A call names its operation: ``facade.call("fetch_ticket", "t1")``.
    """

    def __init__(self, kind: str, settings: ChatRelaySettings, *, clock: Callable[[], float] | None = None) -> None:
        self.kind = kind
        self.settings = settings
        self.sleeps: list[float] = []
        policy = RetryPolicy(max_attempts=settings.max_attempts, jitter=lambda: 1.0)
        options: dict[str, Any] = {"retry_policy": policy} | ({} if clock is None else {"clock": clock})
        self.client: Any
        if kind == "sync":
            self.client = ChatRelayClient(settings, sleep=self.sleeps.append, **options)
        else:
            self.client = AsyncChatRelayClient(settings, sleep=self._sleep, **options)
            self._loop = asyncio.new_event_loop()

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self.client, name)(*args, **kwargs)
        return result if self.kind == "sync" else self._loop.run_until_complete(result)

    def iterate(self, name: str, **kwargs: Any) -> list[Any]:
        found = getattr(self.client, name)(**kwargs)
        if self.kind == "sync":
            return list(found)

        async def collect() -> list[Any]:
            return [item async for item in found]

        return self._loop.run_until_complete(collect())

    def error_of(self, name: str, *args: Any, **kwargs: Any) -> BaseException:
        """Return what a call raises."""
        try:
            self.call(name, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test has to see it
            return error
        raise AssertionError(f"{name} raised nothing")

    def close(self) -> None:
        if self.kind == "sync":
            self.client.close()
            return
        try:
            self._loop.run_until_complete(self.client.aclose())
            # Transports end their TLS in callbacks; a loop that stops before would leave sockets behind.
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


def make_settings(base_url: str, *, fallbacks: Iterable[str] = (), **values: Any) -> ChatRelaySettings:
    return ChatRelaySettings(
        base_url=base_url,
        tenant_id=TENANT_ID,
        tenant_secret=SECRET,
        tenant_secret_fallbacks=list(fallbacks),
        **{"request_timeout_seconds": 5, **values},
    )
