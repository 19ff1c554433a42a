"""Connections: kept and used again, closed after errors, and one client for many threads or tasks at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from bloonio_chat.sdk.async_client import AsyncChatRelayClient
from bloonio_chat.sdk.client import ChatRelayClient, ConnectionPool
from bloonio_chat.sdk.errors import ChatRelayConnectionError, ChatRelayServerError
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade, make_settings
from tests.sdk.samples import BY_NAME, SAMPLES, TICKET
from tests.sdk.scripted_server import (
    Line,
    Received,
    ScriptedServer,
    answers,
    answers_data,
    answers_json,
    hangs_up,
    http,
    sends,
)


def echoes_the_id(line: Line, request: Received) -> bool:
    return answers_json({**TICKET, "id": request.query["ticket_id"]})(line, request)


def test_all_calls_of_a_client_use_one_connection(server: ScriptedServer, client: Facade) -> None:
    for sample in SAMPLES:
        server.script.append(answers_data(sample.answer))
        client.call(sample.name, *sample.args, **sample.kwargs)
    assert {request.connection for request in server.requests} == {1}


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_an_error_answer_that_was_read_whole_keeps_the_connection(
    server: ScriptedServer, client: Facade, status: int
) -> None:
    server.otherwise = answers(status, b"x" * 100_000)
    client.error_of("send_message", "c1", content="x")
    server.otherwise = answers_json(TICKET)
    client.call("fetch_ticket", "t1")
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_an_answer_without_a_body_or_in_chunks_keeps_it_too(
    server: ScriptedServer, client: Facade, answer: bytes
) -> None:
    server.script.append(sends(answer, then_close=False))
    server.otherwise = answers_json(TICKET)
    client.error_of("fetch_ticket", "t1")
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert server.connections == 1


def test_a_kept_connection_that_the_relay_closed_meanwhile_is_not_used(server: ScriptedServer, client: Facade) -> None:
    server.script.append(sends(http(201, b"{}"), then_close=True))
    client.error_of("send_message", "c1", content="x")
    assert server.wait_until(lambda: server.open_connections == 0)
    # A write, which would not be tried again.
    server.otherwise = answers_data(BY_NAME["send_message"].answer)
    assert client.call("send_message", "c1", content="x").id == "m1"
    assert server.connections == 2


def test_connections_closed_right_after_they_were_accepted(server: ScriptedServer, client: Facade) -> None:
    server.slam = 2
    server.otherwise = answers_json(TICKET)
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert server.connections == 3
    assert len(server.requests) == 1


def test_a_write_over_a_connection_closed_at_once_may_have_been_processed(
    server: ScriptedServer, client: Facade
) -> None:
    server.slam = 10
    error = client.error_of("send_message", "c1", content="x")
    assert type(error) is ChatRelayConnectionError
    # Nobody can know what became of bytes that were handed to a connection.
    assert error.maybe_processed
    assert server.connections == 1


def test_no_connection_is_left_open_after_failures(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(max_attempts=1)
    for behaviour in (
        hangs_up,
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", then_close=True),
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n{", then_close=False),
        sends(b"garbage\r\n\r\n", then_close=False),
        sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", then_close=False),
    ):
        server.otherwise = behaviour
        client.error_of("fetch_ticket", "t1")
        assert server.wait_until(lambda: server.open_connections == 0)


def test_close_ends_idle_connections(server: ScriptedServer, kind: str) -> None:
    server.otherwise = answers_json(TICKET)
    facade = Facade(kind, make_settings(server.url))
    facade.call("fetch_ticket", "t1")
    assert server.open_connections == 1
    facade.close()
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_sync_client_can_be_used_after_close_and_as_a_context(server: ScriptedServer) -> None:
    server.otherwise = answers_json(TICKET)
    with ChatRelayClient(make_settings(server.url)) as client:
        client.fetch_ticket("t1")
    assert server.wait_until(lambda: server.open_connections == 0)
    with client:
        client.fetch_ticket("t1")
    assert server.connections == 2


def test_a_shared_pool_outlives_its_clients(server: ScriptedServer) -> None:
    server.otherwise = answers_json(TICKET)
    pool = ConnectionPool()
    for _ in range(2):
        with ChatRelayClient(make_settings(server.url), pool=pool) as client:
            client.fetch_ticket("t1")
    assert server.connections == 1
    pool.close()
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_call_that_a_signal_interrupts_leaves_no_half_read_connection(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Celery's soft time limit does: an exception out of nowhere, here while the body is read."""
    # The rest is still on its way, so nothing on the socket tells that an answer is unfinished.
    server.script.append(sends(http(200, b'{"data": "', length=5000), then_close=False))
    server.otherwise = answers_json(TICKET)
    read = urllib3.HTTPResponse.read

    class TimeIsUpError(Exception):
        pass

    def interrupted(self: urllib3.HTTPResponse, *args: Any, **kwargs: Any) -> bytes:
        assert read(self, 10) == b'{"data": "'
        raise TimeIsUpError

    with ChatRelayClient(make_settings(server.url)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(urllib3.HTTPResponse, "read", interrupted)
            with pytest.raises(TimeIsUpError):
                client.fetch_ticket("t1")
        assert client.fetch_ticket("t1").id == "t1"
    assert server.connections == 2


def test_sixteen_threads_on_one_client_each_get_their_own_answers(server: ScriptedServer) -> None:
    server.otherwise = echoes_the_id
    started = threading.Barrier(16)

    def work(thread: int) -> list[str]:
        started.wait(10)
        return [client.fetch_ticket(f"{thread}-{number}").id for number in range(15)]

    with ChatRelayClient(make_settings(server.url)) as client, ThreadPoolExecutor(16) as threads:
        results = list(threads.map(work, range(16)))
    assert results == [[f"{thread}-{number}" for number in range(15)] for thread in range(16)]
    assert len(server.requests) == 240
    assert server.connections <= 16


def test_a_hundred_calls_at_once(server: ScriptedServer) -> None:
    together = threading.Barrier(100)

    def behaviour(line: Line, request: Received) -> bool:
        # No one is answered before all have come.
        together.wait(20)
        return echoes_the_id(line, request)

    server.otherwise = behaviour

    async def work() -> list[str]:
        async with AsyncChatRelayClient(make_settings(server.url, request_timeout_seconds=30)) as client:
            found = await asyncio.gather(*(client.fetch_ticket(f"t{number}") for number in range(100)))
        return [ticket.id for ticket in found]

    assert asyncio.run(work()) == [f"t{number}" for number in range(100)]
    assert server.connections == 100


def test_one_failing_call_among_many_harms_no_other(server: ScriptedServer) -> None:
    def behaviour(line: Line, request: Received) -> bool:
        return (answers(500) if request.query["ticket_id"] == "t7" else echoes_the_id)(line, request)

    server.otherwise = behaviour

    async def work() -> list[Any]:
        async with AsyncChatRelayClient(make_settings(server.url, max_attempts=1)) as client:
            calls = (client.fetch_ticket(f"t{number}") for number in range(20))
            return list(await asyncio.gather(*calls, return_exceptions=True))

    results = asyncio.run(work())
    assert isinstance(results.pop(7), ChatRelayServerError)
    assert [ticket.id for ticket in results] == [f"t{number}" for number in range(20) if number != 7]


def test_a_cancelled_call_leaves_the_client_usable(server: ScriptedServer) -> None:
    async def work() -> str:
        async with AsyncChatRelayClient(make_settings(server.url)) as client:
            server.script.append(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", then_close=False))
            task = asyncio.create_task(client.fetch_ticket("t0"))
            await asyncio.to_thread(server.wait_until, lambda: len(server.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.otherwise = echoes_the_id
            return (await client.fetch_ticket("t1")).id

    assert asyncio.run(work()) == "t1"
    assert server.connections == 2
