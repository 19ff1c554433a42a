"""Real Celery workers: over Redis and over RabbitMQ, on PostgreSQL and on MariaDB."""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from celery import Celery

from bloonio_chat.inbox.lanes import lane_of
from tests.inbox.project import brokers, databases, deeds
from tests.inbox.project.posting import Poster, body_of
from tests.inbox.project.processes import WORKER, Process, Processes, environment, free_port, wait_until
from tests.secrets import MARK, TENANT_ID
from tests.services import need

pytestmark = pytest.mark.timeout(180)

BACKLOG: Final = 150
# Each broker and each database is in two of them.
EVERY: Final = ("redis postgresql", "rabbitmq mariadb", "redis mariadb", "rabbitmq postgresql")
every_stack = pytest.mark.parametrize("stack", EVERY, indirect=True)
either_broker = pytest.mark.parametrize("stack", EVERY[:2], indirect=True)


@dataclass
class Stack:
    """A web server that publishes, a worker with two processes, and what they share."""

    database: dict[str, Any]
    deeds_path: Path
    processes: Processes
    port: int
    worker: Process
    celery: Celery

    def publish(self, task: str, *arguments: Any) -> str:
        return str(self.celery.send_task(f"bloonio_chat.inbox.{task}", args=arguments).id)

    def returned(self) -> dict[str, int]:
        """What each finished task returned, by its id: those that deliver, how many events."""
        found = re.findall(r"Task \S+\[([-\w]+)\] succeeded in \S+: (\d+)", self.worker.log())
        return {task: int(result) for task, result in found}

    def received(self) -> Counter[str]:
        """How often each task that delivers has come to the worker, by its id."""
        return Counter(re.findall(r"\.inbox\.(?:deliver|drain)\[([-\w]+)\] received", self.worker.log()))

    def noted(self, prefix: str, what: str = deeds.DONE) -> list[deeds.Deed]:
        return [deed for deed in deeds.read(self.deeds_path) if (deed.what, deed.message_id[:8]) == (what, prefix)]

    def counted(self, prefix: str) -> list[str]:
        """What the atomic receiver wrote."""
        statement = "SELECT message_id FROM project_deed WHERE message_id LIKE %s ORDER BY message_id"
        return [row[0] for row in databases.query(self.database, statement, [f"{prefix}%"])]

    def events(self, prefix: str) -> list[tuple[Any, ...]]:
        """State and attempts of what was posted in conversations of that prefix."""
        statement = "SELECT state, attempts FROM bloonio_chat_inbox_inboxevent WHERE conversation_id LIKE %s"
        return databases.query(self.database, statement, [f"{prefix}%"])

    def wait_until_delivered(self, prefix: str, count: int) -> None:
        wait_until(lambda: [state for state, _ in self.events(prefix)] == ["delivered"] * count, "all are delivered")


class _Scratches(dict[str, dict[str, Any]]):
    """Databases by kind, each made when it is first needed."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, kind: str) -> dict[str, Any]:
        self[kind] = self._stack.enter_context(databases.scratch(kind))
        return self[kind]


@pytest.fixture(scope="module")
def scratches() -> Iterator[_Scratches]:
    with ExitStack() as stack:
        yield _Scratches(stack)


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest, scratches: _Scratches, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    broker, kind = request.param.split()
    need(broker, port=brokers.PORTS[broker])
    need(kind, port=databases.PORTS[kind])
    folder = tmp_path_factory.mktemp("stack")
    url, queue, port = brokers.URLS[broker], f"inbox-{uuid.uuid4().hex[:8]}", free_port()
    is_new, database = kind not in scratches, scratches[kind]
    its = environment(database, folder / "deeds", runner="celery", broker=url, queue=queue)
    with brokers.publisher(url, queue) as celery, Processes(folder, its) as processes:
        web = processes.serve("web", "gunicorn gthread", port)
        worker = processes.start("worker", *WORKER, "-n", f"{queue}@%h")
        if is_new:
            processes.migrate()
        web.wait_for_port(port)
        worker.wait_for(" ready.")
        yield Stack(database, folder / "deeds", processes, port, worker, celery)
    assert MARK not in processes.logs()
    assert not re.search(r"\b[0-9a-f]{64}\b", processes.logs())


@pytest.fixture
def prefix() -> str:
    return uuid.uuid4().hex[:8]


def post(
    port: int, prefix: str, count: int, *, conversations: int = 0, seconds: float = 0, is_held: bool = False
) -> list[float]:
    """Post that many events, each in a conversation of its own or in so many; return how long each answer took."""
    took = []
    with Poster(port) as poster:
        for number in range(count):
            conversation = f"{prefix}-{number % conversations if conversations else number}"
            body = body_of(f"{prefix}-{number}", conversation_id=conversation, seconds=seconds, is_held=is_held)
            took.append(poster.post(body))
            assert poster.status == 200
    return took


@every_stack
def test_the_worker_delivers_what_the_web_server_took(stack: Stack, prefix: str) -> None:
    post(stack.port, prefix, 40, conversations=7)
    stack.wait_until_delivered(prefix, 40)
    ids = sorted(f"{prefix}-{number}" for number in range(40))
    assert sorted(deed.message_id for deed in stack.noted(prefix)) == ids
    assert stack.counted(prefix) == ids
    assert {deed.pid for deed in stack.noted(prefix)} <= set(stack.worker.children()), "not the web server's"
    assert {attempts for _, attempts in stack.events(prefix)} == {1}


@every_stack
def test_a_task_that_comes_several_times_delivers_once(stack: Stack, prefix: str) -> None:
    lane = lane_of(TENANT_ID, f"{prefix}-0", "")
    post(stack.port, prefix, 1, seconds=0.5)
    tasks = {stack.publish("deliver", [lane]) for _ in range(3)}
    stack.wait_until_delivered(prefix, 1)
    tasks.add(stack.publish("deliver", [lane]))
    wait_until(lambda: tasks <= set(stack.returned()), "every task has run")
    assert len(stack.noted(prefix, deeds.BEGUN)) == 1
    assert stack.counted(prefix) == [f"{prefix}-0"]


@either_broker
def test_tasks_go_back_to_the_broker_when_their_process_is_killed(stack: Stack, prefix: str) -> None:
    posted_at = time.monotonic()
    post(stack.port, prefix, 1, is_held=True)
    wait_until(lambda: stack.noted(prefix, deeds.BEGUN), "the receiver is called")
    first = stack.noted(prefix, deeds.BEGUN)[0]
    before = stack.received()
    os.kill(first.pid, signal.SIGKILL)
    deeds.let_go(stack.deeds_path, first.message_id)
    # Whichever had it: one that an earlier test has left to be done may have been faster.
    wait_until(lambda: (stack.received() - before).keys() & before, "the task has come back")
    # The sweep comes before and after the lease has run out.
    deadline = time.monotonic() + 60
    while not stack.noted(prefix):
        assert time.monotonic() < deadline
        stack.publish("sweep")
        time.sleep(0.5)
    stack.wait_until_delivered(prefix, 1)
    begun = stack.noted(prefix, deeds.BEGUN)
    assert len(begun) == 2
    assert begun[1].pid != first.pid
    assert begun[1].at - posted_at > 4.5, "not before the lease ran out"
    assert stack.events(prefix) == [("delivered", 2)]
    assert stack.counted(prefix) == [f"{prefix}-0"]


@either_broker
def test_a_broker_that_is_down_delays_no_answer_and_the_sweep_delivers_in_batches(stack: Stack, prefix: str) -> None:
    up = post(stack.port, f"{prefix[:7]}u", 50)
    stack.wait_until_delivered(f"{prefix[:7]}u", 50)
    nowhere = re.sub(r":\d+/", f":{free_port()}/", stack.processes.environment["PROJECT_BROKER"])
    port = free_port()
    web = stack.processes.serve("web-without-broker", "gunicorn gthread", port, PROJECT_BROKER=nowhere)
    web.wait_for_port(port)
    post(port, f"{prefix[:7]}v", 5)
    down = post(port, prefix, BACKLOG, conversations=100)
    assert statistics.median(down) < 3 * statistics.median(up) + 0.02, "the answer waits for the broker"
    # The machine may stand still for a moment, but not in so many of them.
    assert sum(seconds >= 3 for seconds in down) < BACKLOG / 20, "an attempt to connect takes longer"
    assert not stack.noted(prefix)
    web.kill()

    before = set(stack.returned())
    stack.publish("sweep")
    stack.wait_until_delivered(prefix, BACKLOG)
    assert len(stack.counted(prefix)) == len(stack.noted(prefix)) == BACKLOG

    def delivering() -> list[int]:
        return [result for task, result in stack.returned().items() if result and task not in before]

    wait_until(lambda: sum(delivering()) >= BACKLOG, "the tasks have ended")
    assert len(delivering()) < BACKLOG / 15, f"one task a row: {delivering()}"


@pytest.mark.parametrize("stack", EVERY[:1], indirect=True)
def test_what_waits_for_a_worker_is_drained_in_batches(stack: Stack, prefix: str) -> None:
    port, queue = free_port(), f"inbox-{uuid.uuid4().hex[:8]}"
    url = stack.processes.environment["PROJECT_BROKER"]
    web = stack.processes.serve("web-without-worker", "gunicorn gthread", port, PROJECT_QUEUE=queue)
    web.wait_for_port(port)
    with brokers.publisher(url, queue) as celery:
        post(port, prefix, BACKLOG)
        web.stop()
        celery.send_task("bloonio_chat.inbox.sweep")
        worker = stack.processes.start("late-worker", *WORKER, "-n", f"{queue}@%h", PROJECT_QUEUE=queue)
        stack.wait_until_delivered(prefix, BACKLOG)
        assert len(stack.counted(prefix)) == len(stack.noted(prefix)) == BACKLOG
        late = Stack(stack.database, stack.deeds_path, stack.processes, port, worker, celery)
        wait_until(lambda: sum(late.returned().values()) >= BACKLOG, "the tasks have ended")
        worker.kill()
        delivering = [result for result in late.returned().values() if result]
        assert len(delivering) < BACKLOG / 15, f"one task a row: {delivering}"


CUT: Final = """
from bloonio_chat.inbox.publishing import Publisher
from tests.inbox.project.worker import app
publish = Publisher()
publish(["one"])
with app.amqp.producer_pool.acquire() as producer:
    producer.connection.connection.transport.sock.shutdown(2)
publish(["two"])
"""


def test_a_connection_that_the_broker_has_cut_loses_no_task(tmp_path: Path) -> None:
    need("rabbitmq", port=brokers.PORTS["rabbitmq"])
    url, queue = brokers.URLS["rabbitmq"], f"inbox-{uuid.uuid4().hex[:8]}"
    its = environment(databases.sqlite(tmp_path / "db"), tmp_path / "deeds", runner="celery", broker=url, queue=queue)
    with brokers.publisher(url, queue) as celery, Processes(tmp_path, its) as processes:
        processes.run("django", "shell", "--no-imports", "-c", CUT)
        with celery.connection_for_read() as connection, connection.SimpleQueue(queue) as waiting:
            lanes = [waiting.get(timeout=60).payload[0] for _ in range(2)]
    assert lanes == [[["one"]], [["two"]]]
