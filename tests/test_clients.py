"""One client per tenant: who gets the same one, and when there is a new one."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from bloonio_chat import clients, get_async_chat_client, get_chat_client
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sdk.async_client import AsyncChatRelayClient
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import ChatRelayConfigurationError, ChatRelayError
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID, TENANT_ID


@pytest.fixture
def shop_b(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {
        "shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET, "BASE_URL": "https://b.example"}
    }


def test_a_tenants_client_is_always_the_same() -> None:
    assert get_chat_client() is get_chat_client("default") is get_chat_client(None)
    assert isinstance(get_chat_client(), ChatRelayClient)
    assert get_chat_client().settings.tenant_id == TENANT_ID


def test_all_threads_get_the_same() -> None:
    client, start = get_chat_client(), threading.Barrier(20)

    def get() -> ChatRelayClient:
        start.wait(10)
        return get_chat_client()

    with ThreadPoolExecutor(20) as pool:
        assert {future.result(10) for future in [pool.submit(get) for _ in range(20)]} == {client}


@pytest.mark.usefixtures("shop_b")
def test_each_tenant_has_its_own() -> None:
    assert get_chat_client("shop-b") is not get_chat_client()
    assert get_chat_client("shop-b").settings.base_url == "https://b.example"
    assert get_chat_client("shop-b") is get_chat_client("shop-b")


def test_settings_that_change_make_a_new_one() -> None:
    before = get_chat_client()
    with override_settings(BLOONIO_CHAT_BASE_URL="https://other.example"):
        during = get_chat_client()
        assert during is not before
        assert during.settings.base_url == "https://other.example"
        assert get_chat_client() is during
    assert get_chat_client().settings.base_url == before.settings.base_url


@pytest.mark.usefixtures("shop_b")
@pytest.mark.parametrize("get", [get_chat_client, get_async_chat_client])
def test_an_unknown_alias_is_a_clear_error(get: Any) -> None:
    with pytest.raises(ChatRelayConfigurationError, match="There is no tenant 'shop-c'; set are: 'default', 'shop-b'"):
        get("shop-c")


@pytest.mark.usefixtures("shop_b")
def test_in_one_loop_each_tenant_has_one_asynchronous_client_and_another_loop_another() -> None:
    seen: list[AsyncChatRelayClient] = []

    async def use() -> None:
        client, other = get_async_chat_client(), get_async_chat_client("shop-b")
        await asyncio.sleep(0)
        assert client is get_async_chat_client("default")
        assert other is get_async_chat_client("shop-b")
        assert client is not other
        assert other.settings.tenant_id == OTHER_TENANT_ID
        seen.extend((client, other))
        await client.aclose()
        await other.aclose()

    asyncio.run(use())
    asyncio.run(use())
    assert len({id(client) for client in seen}) == 4


def test_settings_that_change_make_a_new_asynchronous_one() -> None:
    async def use() -> None:
        before = get_async_chat_client()
        with override_settings(BLOONIO_CHAT_BASE_URL="https://other.example"):
            during = get_async_chat_client()
        assert during is not before
        assert during.settings.base_url == "https://other.example"
        await before.aclose()
        await during.aclose()

    asyncio.run(use())


def test_an_asynchronous_client_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        get_async_chat_client()


def test_loops_that_end_leave_no_client_and_no_connection(settings: Any) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    with SandboxRelay(rate_limit_per_min=None) as relay:
        settings.BLOONIO_CHAT_BASE_URL = relay.base_url
        settings.BLOONIO_CHAT_TENANT_ID = relay.tenant_id
        settings.BLOONIO_CHAT_TENANT_SECRET = relay.tenant_secret

        async def call() -> None:
            await get_async_chat_client().fetch_tenant_info()

        for number in range(10):
            # As an asynchronous receiver is run under WSGI, and as a script runs.
            async_to_sync(call)() if number % 2 else asyncio.run(call())
        assert clients._async_clients == {}
    # Without the relay, whose own sockets are in this process too.
    assert len(os.listdir("/proc/self/fd")) <= open_before


def test_a_loop_that_was_closed_without_a_word_is_forgotten() -> None:
    async def use() -> AsyncChatRelayClient:
        return get_async_chat_client()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    loop.close()
    assert loop in clients._async_clients
    asyncio.run(use())
    assert clients._async_clients == {}


def test_a_client_that_is_closed_or_of_another_loop_says_so() -> None:
    async def make() -> AsyncChatRelayClient:
        return AsyncChatRelayClient(get_chat_client().settings)

    async def call(client: AsyncChatRelayClient) -> str:
        with pytest.raises(ChatRelayError) as refused:
            await client.fetch_tenant_info()
        return str(refused.value)

    async def close(client: AsyncChatRelayClient) -> None:
        await client.aclose()

    client = asyncio.run(make())
    assert "not reached" in asyncio.run(call(client))
    assert "belongs to another event loop" in asyncio.run(call(client))
    asyncio.run(close(client))
    assert "is closed" in asyncio.run(call(client))
