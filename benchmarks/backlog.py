"""A backlog of events, and those who work it off. Django must be set up before this is imported."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import kombu
from celery import Celery
from django.utils.timezone import now

from benchmarks import drain_worker, rows
from benchmarks.callbacks import EVENT_PATH
from benchmarks.memory import LARGEST_GROWTH_MB, Watch
from benchmarks.rounds import require
from bloonio_chat.inbox import states
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.sdk.events import parse_event

# The loop does one of so many events, enough to see its pace.
LOOP_DOES_ONE_OF: Final = 5

_ROOT: Final = Path(__file__).parent.parent
# A number of 12 digits and the end of its line.
_NOTE_BYTES: Final = 13
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 60


class Backlog:
    """Events that wait, and who works them off. Each run makes its own, and looks whether all was done, and once."""

    def __init__(self, events: int, folder: Path, app: Celery) -> None:
        self._events = events
        self._folder = folder
        self._app = app
        self._log = folder / "celery.log"
        self._largest_mb = self._growth_mb = 0.0

    def run_loop(self) -> float:
        """Deliver some of the events, as a first attempt at an inbox would."""
        events = self._events // LOOP_DOES_ONE_OF
        self._fill(events)
        started = time.perf_counter()
        for row in InboxEvent.objects.filter(state=states.RECEIVED).order_by("due_ms").iterator():
            event = parse_event(bytes(row.body), path=EVENT_PATH, tenant_id=row.signed_tenant_id, timestamp_ms=0)
            drain_worker.receive(event)
            row.state, row.due_ms, row.finished_at = states.DELIVERED, None, now()
            row.save()
        seconds = time.perf_counter() - started
        self._require_done(events)
        return seconds / events

    def run_workers(self, count: int) -> float:
        """Have that many workers, of one process each, deliver all events after one sweep."""
        self._fill(self._events)
        with contextlib.ExitStack() as workers:
            names = [f"benchmark-{uuid.uuid4().hex}@localhost" for _ in range(count)]
            watch = Watch([workers.enter_context(self._working(name)) for name in names])
            self._wait_for(names)
            started = time.perf_counter()
            self._app.send_task("bloonio_chat.inbox.sweep")
            self._wait_until_done(watch)
            seconds = time.perf_counter() - started
        self._require_done(self._events)
        receipts = InboxReceipt.objects.filter(succeeded=True, attempts=1).count()
        require(receipts == self._events, f"the ledger has {receipts} rows")
        self._largest_mb = max(self._largest_mb, watch.largest())
        self._growth_mb = max(self._growth_mb, watch.growth())
        require(watch.growth() <= LARGEST_GROWTH_MB, f"a worker grew by {watch.growth():.1f} MB")
        return seconds / self._events

    def describe_memory(self) -> list[str]:
        """Say what the workers had."""
        return [
            f"Memory of a worker: at most {self._largest_mb:.0f} MB, of which {self._growth_mb:.1f} MB came after the "
            f"first tenth of a backlog; {LARGEST_GROWTH_MB:.0f} MB would be too much."
        ]

    def delete_queue(self) -> None:
        """Leave nothing at the broker."""
        with self._app.connection_for_write() as connection:
            queue = kombu.Queue(os.environ[drain_worker.QUEUE_VARIABLE], channel=connection.default_channel)
            queue.delete()

    def _fill(self, events: int) -> None:
        for file in self._notes():
            # Emptied, not removed: this process has one open.
            os.truncate(file, 0)
        rows.empty()
        rows.insert_due(events)
        rows.analyze()

    @contextlib.contextmanager
    def _working(self, name: str) -> Iterator[int]:
        """Run a worker, and give its process id; it is let finish what it has begun."""
        command = [
            *(sys.executable, "-m", "celery", "-A", "benchmarks.drain_worker", "worker", f"--hostname={name}"),
            *("--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            "--loglevel=WARNING",
        ]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(_PATIENCE_SECONDS)

    def _wait_for(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(self._app.control.ping(destination=list(names), timeout=0.5, limit=len(names)) or ()) < len(names):
            require(time.monotonic() < deadline, f"no worker answers; see {self._log}")

    def _wait_until_done(self, watch: Watch) -> None:
        last, moved_at = -1, time.monotonic()
        while True:
            watch.look()
            received = sum(file.stat().st_size for file in self._notes()) // _NOTE_BYTES
            # The database is left alone until the receiver has seen them all.
            if received >= self._events and not InboxEvent.objects.exclude(state=states.DELIVERED).exists():
                return
            if received != last:
                last, moved_at = received, time.monotonic()
            require(time.monotonic() - moved_at < _PATIENCE_SECONDS, f"the workers stand still at {received} events")
            time.sleep(_POLL_SECONDS)

    def _require_done(self, events: int) -> None:
        received = Counter(line for file in self._notes() for line in file.read_text().splitlines())
        require(len(received) == events == received.total(), f"{received.total()} deliveries of {len(received)} events")
        delivered = InboxEvent.objects.filter(state=states.DELIVERED, due_ms=None).count()
        require(delivered == events, f"{delivered} rows say delivered")

    def _notes(self) -> list[Path]:
        return list(self._folder.glob("received-*"))
