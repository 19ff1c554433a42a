"""A Celery worker over a real Redis, in threads of this process: it works on the test's own database."""

from __future__ import annotations

import gc
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from celery import Celery, Task, _state, signals
from celery.worker import WorkController, state
from django.db import connections
from redis.connection import Connection

from tests.inbox.project.brokers import PORTS, URLS
from tests.services import need

PATIENCE_SECONDS: Final = 300.0
_THREADS: Final = 3


class Worker:
    """A worker, and what its tasks have come to."""

    def __init__(self) -> None:
        self._results: list[tuple[str, Any]] = []
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._changed = threading.Condition()

    def run(self, *tasks: Task[Any, Any]) -> None:
        """Publish tasks, and wait until the worker has done them."""
        published = {str(task.apply_async().id) for task in tasks}
        self.wait_until(lambda: published <= self._done, f"done is {', '.join(task.name for task in tasks)}")

    def wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for what tasks bring about; looks whenever one has ended."""
        with self._changed:
            assert self._changed.wait_for(is_so, PATIENCE_SECONDS), f"waited in vain until {what}"

    def wait_until_idle(self) -> None:
        """Wait until every task that has begun by now has ended; what begins later sees what was set before."""
        with self._changed:
            begun = set(self._begun)
        self.wait_until(lambda: begun <= self._done, "nothing is in work")

    def returned(self, *names: str) -> list[Any]:
        """Return what the tasks of these names returned that did not fail, in the order in which they ended."""
        with self._changed:
            return [result for name, result in self._results if name in names]

    def note_begun(self, task_id: str, **_: Any) -> None:
        with self._changed:
            self._begun.add(task_id)

    def note(self, task_id: str, task: Task[Any, Any], retval: Any, state: str, **_: Any) -> None:
        # Of this very thread. One that is left open would keep the test database from being dropped.
        connections.close_all()
        with self._changed:
            self._done.add(task_id)
            if state == "SUCCESS":
                self._results.append((task.name, retval))
            self._changed.notify_all()


class _Controller(WorkController):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.is_ready = threading.Event()
        super().__init__(*args, **kwargs)

    def on_consumer_ready(self, consumer: Any) -> None:
        self.is_ready.set()


@contextmanager
def celery_worker() -> Iterator[Worker]:
    """Run a worker, with a queue of its own, to which every task is published until the end of the block."""
    need("redis", port=PORTS["redis"])
    key = f"whole-{uuid.uuid4().hex[:8]}"
    # Without what Celery does in a Django project: it would set up Django, and with it the logging, a second time.
    app: Celery = Celery(key, broker=URLS["redis"], set_as_current=False, fixups=[])
    app.conf.update(
        task_default_queue=key,
        # Runs side by side have keys of their own.
        broker_transport_options={"global_keyprefix": f"{key}."},
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )
    worker = Worker()
    before = _state._tls.current_app, _state.default_app  # type: ignore[attr-defined]  # missing in the stubs
    # A pool of threads sets it for all of the process: no task may wait for another one, nor a test for any.
    join_will_block = _state.task_join_will_block()  # type: ignore[attr-defined]  # as above
    app.set_current()
    app.set_default()
    app.finalize()
    signals.task_prerun.connect(worker.note_begun, weak=False)
    signals.task_postrun.connect(worker.note, weak=False)
    try:
        with _running(app):
            yield worker
    finally:
        signals.task_postrun.disconnect(worker.note)
        signals.task_prerun.disconnect(worker.note_begun)
        _state._tls.current_app, _state.default_app = before  # type: ignore[attr-defined]  # as above
        _state._set_task_join_will_block(join_will_block)  # type: ignore[attr-defined]  # as above
        app.close()
        with redis.Redis.from_url(URLS["redis"]) as client:
            client.delete(*client.keys(f"{key}.*"), key)
        _disconnect()


def _disconnect() -> None:
    """Close what Celery leaves to the garbage collector, which would warn of it in another test."""
    for thing in gc.get_objects():
        # Not isinstance(): a proxy would answer for what it stands for.
        if issubclass(type(thing), Connection):
            thing.disconnect()


@contextmanager
def _running(app: Celery) -> Iterator[None]:
    controller = _Controller(
        app=app, pool="threads", concurrency=_THREADS, without_heartbeat=True, without_mingle=True, without_gossip=True
    )
    thread = threading.Thread(target=controller.start, name="celery worker", daemon=True)
    thread.start()
    try:
        assert controller.is_ready.wait(60), "the worker did not start"
        yield
    finally:
        # As after a SIGTERM: what is in work is done to its end.
        state.should_stop = 0  # type: ignore[assignment]  # the stubs know nothing but what it is at first
        thread.join(PATIENCE_SECONDS)
        state.should_stop = None
        assert not thread.is_alive(), "the worker did not stop"
