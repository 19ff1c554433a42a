"""Brokers of one's own, to be stopped and started as one likes; and a queue of one's own on a broker that is there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import redis
from celery import Celery
from celery.exceptions import CeleryError
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

from tests.inbox.project.processes import PATIENCE_SECONDS, free_port, listens, wait_until

PORTS: Final = {"redis": 6379, "rabbitmq": 5672}
URLS: Final = {"redis": "redis://127.0.0.1:6379/9", "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//"}


@contextmanager
def publisher(url: str, queue: str) -> Iterator[Celery]:
    """Give a Celery application that publishes to a queue, which is deleted in the end."""
    app: Celery = Celery("inbox-publisher", broker=url, set_as_current=False)
    app.conf.update(task_default_queue=queue, task_ignore_result=True)
    if url.startswith("redis"):
        # As in the project's settings.
        app.conf.broker_transport_options = {"global_keyprefix": f"{queue}."}
    try:
        yield app
    finally:
        with suppress(OSError, CeleryError, KombuError), app.connection_for_write() as connection:
            Queue(queue, channel=connection.default_channel).delete()
            # Of the same name, as Celery makes it.
            Exchange(queue, channel=connection.default_channel).delete()
        if url.startswith("redis"):
            with redis.Redis.from_url(url) as client:
                client.delete(*client.keys(f"{queue}.*"))
        app.close()


class Broker(Protocol):
    """A broker that runs within a ``with`` block."""

    url: str

    def __enter__(self) -> Broker: ...
    def __exit__(self, *_: Any) -> None: ...

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        ...

    def stop(self) -> None:
        """Stop it: nobody can connect."""
        ...


class Redis:
    """A Redis server that keeps nothing: what was in its queues is gone once it is killed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Redis:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, empty."""
        self._popen = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"],
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: listens(self.port), "Redis listens")

    def stop(self) -> None:
        """Kill the server."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait(PATIENCE_SECONDS)
            self._popen = None


class RabbitMQ:
    """A RabbitMQ node of its own: no other project's messages are behind a door that is closed here."""

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._programs = programs
        self._folder = Path()
        self._environment: dict[str, str] = {}
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RabbitMQ:
        self._folder = Path(tempfile.mkdtemp(prefix="bloonio-chat-rabbitmq-"))
        self._environment = self._configure()
        with (self._folder / "out").open("wb") as out:
            self._popen = subprocess.Popen(
                [str(self._programs / "rabbitmq-server")],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(lambda: listens(self.port), "RabbitMQ listens")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._popen is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Let everybody in again."""
        self._control("start_app")
        wait_until(lambda: listens(self.port), "RabbitMQ listens")

    def stop(self) -> None:
        """Close every connection, and let nobody in."""
        self._control("stop_app")

    def _configure(self) -> dict[str, str]:
        its = {
            # None of these is there: the machine's own configuration is not this node's.
            "ADVANCED_CONFIG_FILE": str(self._folder / "advanced"),
            "CONFIG_FILE": str(self._folder / "config"),
            "CONF_ENV_FILE": str(self._folder / "environment"),
            "ENABLED_PLUGINS_FILE": str(self._folder / "enabled"),
            "DIST_PORT": str(free_port()),
            "LOG_BASE": str(self._folder / "log"),
            "MNESIA_BASE": str(self._folder / "mnesia"),
            "NODENAME": f"bloonio-chat-{uuid.uuid4().hex[:8]}@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": str(self.port),
            "PID_FILE": str(self._folder / "pid"),
            "PLUGINS_EXPAND_DIR": str(self._folder / "plugins"),
        }
        # Erlang keeps there the cookie by which a node knows who may command it.
        return {**os.environ, "HOME": str(self._folder), **{f"RABBITMQ_{name}": value for name, value in its.items()}}

    def _control(self, command: str) -> None:
        subprocess.run(
            [str(self._programs / "rabbitmqctl"), "-q", command],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
            check=True,
        )


def own_broker(kind: str) -> Broker | None:
    """Return a broker, not yet started; ``None`` where its server is not installed."""
    if kind == "redis":
        return Redis() if shutil.which("redis-server") else None
    # Debian's own script goes to another user, and to the machine's own node.
    for folder in (Path("/usr/lib/rabbitmq/bin"), Path(shutil.which("rabbitmq-server") or "none").parent):
        if (folder / "rabbitmq-server").exists() and (folder / "rabbitmqctl").exists():
            return RabbitMQ(folder)
    return None
