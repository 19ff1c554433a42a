"""What it takes to work off a backlog: Celery workers that were told to sweep, beside a loop that saves row by row."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from django.core.management import call_command

from benchmarks import drain_worker, scratch
from benchmarks.rounds import Contender, Race, Target
from benchmarks.startproject import DATABASE_VARIABLE

# Unless BENCHMARK_BROKER names another one.
BROKER: Final = "redis://127.0.0.1:6379/11"


def races(events: int) -> Iterator[Race]:
    """Yield what is to be compared; a backlog has that many events."""
    scratch.FOLDER.mkdir(exist_ok=True)
    with (
        scratch.postgresql_database("drain") as database,
        tempfile.TemporaryDirectory(dir=scratch.FOLDER) as folder,
    ):
        os.environ.setdefault(drain_worker.BROKER_VARIABLE, BROKER)
        os.environ[drain_worker.QUEUE_VARIABLE] = f"benchmark-{uuid.uuid4().hex}"
        os.environ[drain_worker.FOLDER_VARIABLE] = folder
        os.environ[DATABASE_VARIABLE] = database["NAME"]
        app = drain_worker.make_app()
        call_command("migrate", verbosity=0)
        # Its models want Django set up.
        from benchmarks.backlog import Backlog

        backlog = Backlog(events, Path(folder), app)
        try:
            yield Race(
                f"Working off {events:,} events to one receiver",
                [
                    Contender("a loop that saves row by row", backlog.run_loop),
                    Contender("one Celery worker", partial(backlog.run_workers, 1), Target(2.0)),
                    Contender("two Celery workers", partial(backlog.run_workers, 2), Target(2.6)),
                ],
                turns=1,
                compares_rates=True,
                notes=backlog.describe_memory,
            )
        finally:
            backlog.delete_queue()
