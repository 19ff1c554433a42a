"""A Celery worker's project: the inbox, and one receiver that writes down what it was called for."""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

from celery import Celery

from benchmarks import project
from benchmarks.startproject import DATABASE_VARIABLE, postgresql
from bloonio_chat import signals

BROKER_VARIABLE: Final = "BENCHMARK_BROKER"
QUEUE_VARIABLE: Final = "BENCHMARK_QUEUE"
FOLDER_VARIABLE: Final = "BENCHMARK_FOLDER"


def make_app() -> Celery:
    """Set Django and Celery up as the environment says."""
    project.configure(
        database=postgresql(os.environ[DATABASE_VARIABLE]),
        rooms=["bloonio_chat.inbox"],
        BLOONIO_CHAT_INBOX_RUNNER="celery",
    )
    app = Celery("benchmarks", broker=os.environ[BROKER_VARIABLE])
    app.conf.task_default_queue = os.environ[QUEUE_VARIABLE]
    app.autodiscover_tasks(["bloonio_chat.inbox"])
    signals.message_received.connect(receive)
    return app


def receive(event: Any, **_: Any) -> None:
    """Note the event's number."""
    os.write(_notes(os.getpid()), event.model_extra["event_id"].removeprefix("evt_").encode() + b"\n")


@cache
def _notes(pid: int) -> int:
    """Open a process's own file; each line is the number of an event."""
    path = os.path.join(os.environ[FOLDER_VARIABLE], f"received-{pid}")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


if BROKER_VARIABLE in os.environ:
    app = make_app()
