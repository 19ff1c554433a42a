"""A process that forks: parent and child both call, and share no connection."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from bloonio_chat.sdk.client import ConnectionPool
from tests.sdk.samples import TICKET
from tests.sdk.scripted_server import Line, Received, ScriptedServer, answers_json
from tests.secrets import SECRET, TENANT_ID

ROOT = Path(__file__).parents[2]


def echoes_the_id(line: Line, request: Received) -> bool:
    return answers_json({**TICKET, "id": request.query["ticket_id"]})(line, request)


def run(program: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments],
        cwd=ROOT,
        env={
            "BLOONIO_CHAT_BASE_URL": arguments[0],
            "BLOONIO_CHAT_TENANT_ID": TENANT_ID,
            "BLOONIO_CHAT_TENANT_SECRET": SECRET,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


FORK_AFTER_A_CALL = """
    import os
    from bloonio_chat.sdk.client import ChatRelayClient

    client = ChatRelayClient()
    assert client.fetch_ticket("before").id == "before"
    child = os.fork()
    name = "child" if child == 0 else "parent"
    for number in range(20):
        wanted = f"{name}-{number}"
        assert client.fetch_ticket(wanted).id == wanted
    client.close()
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The child closed its own connections, not its parent's.
    assert client.fetch_ticket("after").id == "after"
    client.close()
    print("done")
"""


def connections_of(server: ScriptedServer, name: str) -> set[int]:
    return {r.connection for r in server.requests if r.query["ticket_id"].startswith(name)}


def test_parent_and_child_call_over_connections_of_their_own(server: ScriptedServer) -> None:
    server.otherwise = echoes_the_id
    assert run(FORK_AFTER_A_CALL, server.url) == "done\n"
    assert len(server.requests) == 42
    assert not connections_of(server, "child") & (
        connections_of(server, "parent") | connections_of(server, "before") | connections_of(server, "after")
    )
    # The parent goes on with the one it had.
    assert connections_of(server, "parent") == connections_of(server, "before")


FORK_WITH_THREADS = """
    import os, threading
    from bloonio_chat.sdk.client import ChatRelayClient

    client = ChatRelayClient()
    for round in range(5):
        assert client.fetch_ticket(f"parent-{round}").id == f"parent-{round}"
        child = os.fork()
        if child == 0:
            wrong, start = [], threading.Barrier(8)
            def work(thread):
                start.wait()
                for number in range(5):
                    wanted = f"child-{round}-{thread}-{number}"
                    if client.fetch_ticket(wanted).id != wanted:
                        wrong.append(wanted)
            threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            client.close()
            os._exit(1 if wrong else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    client.close()
    print("done")
"""


def test_threads_that_all_call_first_in_a_child_share_nothing_with_the_parent(server: ScriptedServer) -> None:
    server.otherwise = echoes_the_id
    assert run(FORK_WITH_THREADS, server.url) == "done\n"
    assert len(server.requests) == 5 + 5 * 8 * 5
    for round_number in range(5):
        assert not connections_of(server, f"child-{round_number}") & connections_of(server, "parent")


def test_a_pool_is_never_marked_as_this_processs_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads of a child may both be the first: the second must not get the parent's connections."""
    pool = ConnectionPool()
    inherited = pool._adapter
    marked_too_early: list[bool] = []

    def getpid() -> int:
        marked_too_early.append(pool._adapter is inherited)
        return -1

    monkeypatch.setattr(os, "getpid", getpid)
    pool._begin()
    assert marked_too_early == [False]
