"""``bloonio_sync``: brings the mirror of every tenant, or of one, up to date with the relay."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import DatabaseError
from django.utils.dateparse import parse_datetime

from bloonio_chat.callbacks.ports import Report
from bloonio_chat.conf import get_config
from bloonio_chat.mirror.marks import count_marked
from bloonio_chat.mirror.pacing import PacedCaller, Pacing, StoppedError
from bloonio_chat.mirror.reading import Counts, Reading
from bloonio_chat.sdk.errors import ChatRelayError
from bloonio_chat.times import in_python


def sync(
    options: Mapping[str, Any],
    report: Report,
    *,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_module.random,
) -> Mapping[str, int]:
    """Read what the relay lists into the mirror, then fetch what is marked; return the counts, by name.

    ``options`` has the command's: ``tenant``, ``since``, ``marked``, ``restart``, ``dry_run``. An object that can't be
    read or written is counted as ``failed``, and holds up no other. Nor does a tenant whose relay fails, or whose rows
    the database does not take; the first such error is raised in the end. Raises ``ValueError`` for options that make
    no sense, and ``ChatRelayConfigurationError`` for a tenant that is not set. Ends early where ``stop`` says so; the
    next run goes on there, as it does where this one is killed.
    """
    since = _since(options["since"])
    tenants = tenants_of(options["tenant"])
    if options["marked"] and (since is not None or options["restart"]):
        raise ValueError("--marked goes with neither --since nor --restart.")
    pacing, counts = Pacing(report, stop, clock, sleep, random), Counts()
    readings = [
        Reading(PacedCaller(tenant, pacing), counts, since=since, dry_run=options["dry_run"]) for tenant in tenants
    ]
    errors: list[ChatRelayError | DatabaseError] = []
    try:
        report.total(sum(map(count_marked, tenants)) if options["marked"] else _total(readings))
        for reading in readings:
            try:
                if not options["marked"]:
                    reading.read_lists(restart=options["restart"])
                if options["dry_run"]:
                    reading.count_waiting()
                else:
                    reading.drain_marked(is_all=options["marked"])
            except (ChatRelayError, DatabaseError) as error:
                # What a database says may quote what it was given.
                problem = error if isinstance(error, ChatRelayError) else type(error).__name__
                report.line(f"Tenant {reading.tenant} is left unfinished: {problem}")
                errors.append(error)
    except StoppedError:
        report.line("Stopped; the next run goes on here.")
    if counts.failed:
        report.line(f"{counts.failed} objects could not be read or not be written: the log says which.")
    if errors:
        raise errors[0]
    return asdict(counts)


def tenants_of(alias: str | None) -> list[str]:
    """Return the aliases of all tenants, or this one. Raises ``ChatRelayConfigurationError`` if it is not set."""
    config = get_config()
    if alias is None:
        return sorted(config.tenants)
    config.tenant(alias)
    return [alias]


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = parse_datetime(text)
    except ValueError:
        time = None
    if time is None:
        raise ValueError(f"--since is neither a date nor a time in ISO 8601: {text!r}.")
    return in_python(time)


def _total(readings: list[Reading]) -> int | None:
    """Return how many objects there are to read; ``None`` where one relay does not say."""
    total = 0
    for reading in readings:
        its = reading.total()
        if its is None:
            return None
        total += its
    return total
