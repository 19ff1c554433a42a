"""What a call to the relay costs, over loopback, beside the same call made plainly with the HTTP library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import httpx2
import requests

from benchmarks import loopback_relay
from benchmarks.project import SECRET, TENANT_ID
from benchmarks.rounds import Contender, Race, Target, seconds_each
from bloonio_chat.sdk import operations
from bloonio_chat.sdk.async_client import AsyncChatRelayClient
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.settings import ChatRelaySettings

CALLS_PER_SLICE: Final = 20
CALLS_PER_CROWDED_SLICE: Final = 150
AT_ONCE: Final = 50

VISITOR: Final = "user-123"


def races() -> Iterator[Race]:
    """Yield what is to be compared, while the loopback relay runs."""
    with _no_proxies(), loopback_relay.running() as base_url:
        settings = ChatRelaySettings(base_url=base_url, tenant_id=TENANT_ID, tenant_secret=SECRET.decode())
        operation = operations.create_conversation(visitor_user_id=VISITOR, locale="en")
        url = f"{base_url}{operations.API_PATH}{operation.path}"
        # The very fields that our client sends, its defaults among them.
        fields = json.loads(operation.body)
        with requests.Session() as session, ChatRelayClient(settings) as client:
            yield _sync(session, client, url, fields)
        yield from _async(settings, url, fields)


def _sync(session: requests.Session, client: ChatRelayClient, url: str, fields: dict[str, Any]) -> Race:
    def plainly(_: int) -> None:
        session.post(url, json=fields).json()

    def ours(_: int) -> None:
        client.create_conversation(visitor_user_id=VISITOR, locale="en")

    return Race(
        "A synchronous call on loopback",
        [
            Contender("requests.Session().post().json()", lambda: seconds_each(plainly, range(CALLS_PER_SLICE))),
            Contender(
                "ChatRelayClient, signed and typed", lambda: seconds_each(ours, range(CALLS_PER_SLICE)), Target(1.05)
            ),
        ],
        turns=20,
    )


def _async(settings: ChatRelaySettings, url: str, fields: dict[str, Any]) -> Iterator[Race]:
    # One loop for all slices: a client belongs to the loop that first uses it.
    loop = asyncio.new_event_loop()
    plain, client = httpx2.AsyncClient(), AsyncChatRelayClient(settings)

    async def plainly() -> None:
        (await plain.post(url, json=fields)).json()

    async def ours() -> None:
        await client.create_conversation(visitor_user_id=VISITOR, locale="en")

    def slice_of(call: Callable[[], Awaitable[None]], *, at_once: int, calls: int) -> Callable[[], float]:
        def run_slice(_: object) -> None:
            loop.run_until_complete(_crowd(call, at_once=at_once, calls=calls))

        return lambda: seconds_each(run_slice, [None]) / calls

    try:
        for at_once, calls in ((1, CALLS_PER_SLICE), (AT_ONCE, CALLS_PER_CROWDED_SLICE)):
            yield Race(
                f"An asynchronous call on loopback, {at_once} at once",
                [
                    Contender("httpx2.AsyncClient().post().json()", slice_of(plainly, at_once=at_once, calls=calls)),
                    Contender("AsyncChatRelayClient, signed and typed", slice_of(ours, at_once=at_once, calls=calls)),
                ],
                turns=12,
            )
    finally:
        loop.run_until_complete(plain.aclose())
        loop.run_until_complete(client.aclose())
        loop.close()


async def _crowd(call: Callable[[], Awaitable[None]], *, at_once: int, calls: int) -> None:
    async def worker() -> None:
        for _ in range(calls // at_once):
            await call()

    await asyncio.gather(*(worker() for _ in range(at_once)))


@contextlib.contextmanager
def _no_proxies() -> Iterator[None]:
    """Take proxies out of the environment: all clients here heed them, and none of them knows the loopback relay."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.lower().endswith("_proxy")}
    try:
        yield
    finally:
        os.environ.update(taken)
