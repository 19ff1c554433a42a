"""The Celery tasks. Each may run twice, at the same time, or never: the rows know what is to be done.

Have beat run the sweep, or what is lost between broker and worker stays undelivered::

    CELERY_BEAT_SCHEDULE = {
        "bloonio-chat-sweep": {"task": "bloonio_chat.inbox.sweep", "schedule": 60, "options": {"expires": 600}},
    }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final

from celery import _state, shared_task
from celery.app.annotations import prepare, resolve_all
from django.db import InterfaceError, OperationalError, router

from bloonio_chat.inbox.lanes import have_due
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.processing import process
from bloonio_chat.inbox.sweeping import count_due, note_sweep

# Acknowledged when done, and given to another worker when this one dies; how often an event may be in work while its
# worker dies is counted in its row. A result would be kept for nobody.
_OPTIONS: Final[dict[str, Any]] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    # While the database is away every task of a backlog fails, with a line in the log and not a traceback each; what
    # they came for waits for the next sweep.
    "throws": (OperationalError, InterfaceError),
}

# How long one task works before it lets others run, and hands on the rest. Shorter than any sensible time limit.
TASK_SECONDS: Final = 20.0
# A task beside many others takes along some of what they would come for, so that a backlog goes in batches.
_EXTRA_SECONDS: Final = 2.0
_OVERDUE_MS: Final = 2_000
# A sweep publishes a task for each due event, at most so many: one task takes whatever it can.
MOST_TASKS: Final = 16
# Tasks that come too late are dropped: the next sweep publishes as many as are needed then, and they must not add up.
EXPIRES_SECONDS: Final = 600
# Those that something was accepted for are worth keeping for longer: where other tasks hold up the queue, they are all
# that gets through. Longer than the hour after which Redis gives a killed worker's task to another one.
DELIVER_EXPIRES_SECONDS: Final = 2 * 3600


def celery_app() -> Any:
    """Return the app that the tasks go to, ``None`` if there is none."""
    # Asked for its current app, Celery makes one up, and the project's own, if it comes later, doesn't replace it.
    apps = _state._get_active_apps()  # type: ignore[attr-defined]  # missing in the stubs
    return _state.get_current_app() if apps else None


def time_limits() -> Iterator[tuple[float | None, float | None]]:
    """Yield the soft and the hard limit of the tasks that deliver, in seconds, as settings and annotations have them.

    Not the tasks' own attributes: to ask for those finalizes the app, which is still being set up where a worker or
    beat runs Django's checks, and what the project connects to that afterwards would never be called.
    """
    found = celery_app().conf
    for name in ("bloonio_chat.inbox.deliver", "bloonio_chat.inbox.drain"):
        limits: dict[str, Any] = {"soft_time_limit": found.task_soft_time_limit, "time_limit": found.task_time_limit}
        try:
            ours: Any = prepare(found.task_annotations)
            resolved: Any = resolve_all(ours, SimpleNamespace(name=name))
            for annotation in resolved:
                limits.update(annotation)
        except Exception:  # noqa: BLE001, S112  # the project's own classes; Celery says what is wrong with them
            continue
        yield limits["soft_time_limit"], limits["time_limit"]


@shared_task(name="bloonio_chat.inbox.deliver", **_OPTIONS)
def deliver(lanes: Sequence[str]) -> int:
    """Deliver what is due in these lanes, and some of what is overdue elsewhere; return how many events."""
    delivered = process(lanes=lanes, seconds=TASK_SECONDS).total
    rest = have_due(router.db_for_write(InboxEvent), lanes) if delivered else []
    if rest:
        deliver.apply_async(args=[rest], expires=DELIVER_EXPIRES_SECONDS)
    return delivered + process(seconds=_EXTRA_SECONDS, older_than_ms=_OVERDUE_MS).total


@shared_task(name="bloonio_chat.inbox.drain", **_OPTIONS)
def drain() -> int:
    """Deliver what is due, and publish the next such task if there is more than fits into this one; return how many."""
    delivered = process(seconds=TASK_SECONDS).total
    if delivered and count_due(1):
        drain.apply_async(expires=EXPIRES_SECONDS)
    return delivered


@shared_task(name="bloonio_chat.inbox.sweep", **_OPTIONS)
def sweep() -> int:
    """For beat: publish as many ``drain`` tasks as what is due asks for; return how many."""
    note_sweep()
    tasks = count_due(MOST_TASKS)
    for _ in range(tasks):
        drain.apply_async(expires=EXPIRES_SECONDS)
    return tasks
