"""The inbox's system checks. An id is never used again for something else.

====  ==================================================================================================
E006  ``INBOX_RUNNER`` is no runner
E007  ``INBOX_RUNNER`` is ``celery``, which is not installed
W005  the inline runner outside ``DEBUG``
W006  ``INBOX_RUNNER`` is ``celery``, and the project's Celery has no broker, or works in the web process
W007  (database) events came in, and no sweep has been seen lately
W008  a Celery task may run for longer than ``INBOX_LEASE_SECONDS``
W009  Celery's time limit is so short that tasks are cut off in the middle of their work
W010  receivers with ``atomic=True``, and the inbox in another database than the default one
====  ==================================================================================================
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # Django's own name
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, router

from bloonio_chat import conf, signals
from bloonio_chat.inbox.figures import last_sweep
from bloonio_chat.inbox.models import InboxEvent, InboxSweep
from bloonio_chat.inbox.runners import CELERY, COMMAND, INLINE, get_runner
from bloonio_chat.sdk.errors import ChatRelayConfigurationError

# Longer ago is not lately: cron and beat sweep every few minutes.
LATELY_SECONDS: Final = 3600
# The 20 and 2 s for which a task delivers, and what the last receiver may take.
SHORTEST_TIME_LIMIT: Final = 30

_Check = Callable[..., list[CheckMessage]]


def _for_runner(*names: str) -> Callable[[Callable[[conf.AppSettings], Iterator[CheckMessage]]], _Check]:
    """Return a decorator for a check of these runners; of all, if none is named.

    It is silent where the room is not installed, and where the settings can't be read: E001 has said so.
    """

    def decorate(check: Callable[[conf.AppSettings], Iterator[CheckMessage]]) -> _Check:
        def run(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
            if not apps.is_installed("bloonio_chat.inbox"):
                return []
            try:
                settings = conf.get_config().app
            except ChatRelayConfigurationError:
                return []
            return list(check(settings)) if not names or settings.inbox_runner in names else []

        return run

    return decorate


@register(Tags.compatibility)
@_for_runner()
def check_runner(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """E006: nothing that was accepted would be handed on."""
    try:
        get_runner()
    except Exception as error:  # noqa: BLE001  # the project's module may raise anything while it is imported
        yield Error(
            f"BLOONIO_CHAT_INBOX_RUNNER is {settings.inbox_runner!r}, which is no runner "
            f"({type(error).__name__}: {error}).",
            hint=f"Set it to {INLINE!r}, {CELERY!r}, {COMMAND!r}, or to the dotted path of a function of your own.",
            id="bloonio_chat.E006",
        )


@register(Tags.compatibility)
@_for_runner(CELERY)
def check_celery(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """E007: the extra is missing."""
    if not _has_celery():
        yield Error(
            "BLOONIO_CHAT_INBOX_RUNNER is 'celery', which is not installed.",
            hint='pip install "django-bloonio-chat[celery]"',
            id="bloonio_chat.E007",
        )


@register(Tags.compatibility)
@_for_runner(INLINE)
def check_inline(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """W005: deliveries share the web processes with requests, and end with them."""
    if not conf.is_debug():
        yield Warning(
            "BLOONIO_CHAT_INBOX_RUNNER is 'inline' outside DEBUG: receivers run in the web processes, in a few threads "
            "beside the requests.",
            hint="Set it to 'celery', or to 'command' and keep `manage.py bloonio_process_inbox --forever` running. If "
            "the load is light and a sweep runs (cron: `manage.py bloonio_process_inbox`), silence this with "
            "SILENCED_SYSTEM_CHECKS.",
            id="bloonio_chat.W005",
        )


@register(Tags.compatibility)
@_for_runner(CELERY)
def check_broker(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """W006: tasks are published, and reach no worker."""
    if not _has_celery():
        return
    problem, hint = _celery_problem()
    if problem:
        yield Warning(f"BLOONIO_CHAT_INBOX_RUNNER is 'celery', {problem}.", hint=hint, id="bloonio_chat.W006")


@register(Tags.compatibility)
@_for_runner(CELERY)
def check_lease(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """W008: a receiver that is slow, and allowed to be, loses its lane to another worker."""
    # A receiver that is told of the soft limit has failed, and the task goes on to the next.
    limit = max((hard or soft or 0 for soft, hard in _time_limits()), default=0)
    if limit and settings.inbox_lease_seconds < limit:
        yield Warning(
            f"A Celery task may run for {limit:g} s, and BLOONIO_CHAT_INBOX_LEASE_SECONDS is "
            f"{settings.inbox_lease_seconds}: a receiver that takes longer than the lease is called again by another "
            "worker.",
            hint="Set BLOONIO_CHAT_INBOX_LEASE_SECONDS to that time limit at least, or lower Celery's task_time_limit, "
            "be it in task_annotations for bloonio_chat.inbox.deliver and .drain alone.",
            id="bloonio_chat.W008",
        )


@register(Tags.compatibility)
@_for_runner(CELERY)
def check_time_limit(settings: conf.AppSettings) -> Iterator[CheckMessage]:
    """W009: tasks are cut off in the middle of their work, whatever receivers do."""
    limits = [limit for both in _time_limits() for limit in both if limit]
    if limits and min(limits) < SHORTEST_TIME_LIMIT:
        yield Warning(
            f"Celery cuts a task off after {min(limits):g} s, and one that delivers from the inbox works for 20 s "
            "before it hands on the rest.",
            hint=f"Set Celery's task_time_limit and task_soft_time_limit to {SHORTEST_TIME_LIMIT} s at least, or, in "
            "task_annotations, those of bloonio_chat.inbox.deliver and .drain.",
            id="bloonio_chat.W009",
        )


@register(Tags.compatibility)
@_for_runner()
def check_atomic_receivers(_: conf.AppSettings) -> Iterator[CheckMessage]:
    """W010: what those receivers write is most likely in another database than their rows in the ledger."""
    using = router.db_for_write(InboxEvent)
    every_signal = (each for each in vars(signals).values() if isinstance(each, signals.EventSignal))
    names = sorted(each.name for signal in every_signal for each in signal.connected() if each.atomic)
    if names and using != DEFAULT_DB_ALIAS:
        yield Warning(
            f"Receivers are connected with atomic=True ({', '.join(names)}), and the inbox is in the database "
            f"{using!r}: what they write to another one is neither undone where they fail nor written only once.",
            hint="Route bloonio_chat_inbox to the database of what they write. If they write to that one, silence this "
            "with SILENCED_SYSTEM_CHECKS.",
            id="bloonio_chat.W010",
        )


@register(Tags.database)
def check_sweep(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """W007: what a runner loses stays undelivered. Silent before the first event, and where there is no table."""
    if not apps.is_installed("bloonio_chat.inbox"):
        return []
    using = router.db_for_read(InboxSweep)
    if using not in (databases or ()) or not _has_unswept(using):
        return []
    return [
        Warning(
            "No sweep of the inbox has been seen within the last hour: what its runner loses stays undelivered.",
            hint="Run `manage.py bloonio_process_inbox` every few minutes (cron), keep it running with --forever, or "
            "have Celery beat run the task bloonio_chat.inbox.sweep.",
            id="bloonio_chat.W007",
        )
    ]


def _has_unswept(using: str) -> bool:
    try:
        if InboxSweep._meta.db_table not in connections[using].introspection.table_names():
            return False
        sweep = last_sweep()
        return (sweep is None or sweep[0] > LATELY_SECONDS) and InboxEvent.objects.using(using).exists()
    except (DatabaseError, InterfaceError):
        # It is down, or half migrated: Django says so.
        return False


def _time_limits() -> Iterator[tuple[float | None, float | None]]:
    """Yield the soft and the hard limit of the tasks that deliver, as settings and annotations have them."""
    if not _has_celery() or _celery_problem()[0]:
        return
    from bloonio_chat.inbox.tasks import time_limits

    yield from time_limits()


def _has_celery() -> bool:
    return importlib.util.find_spec("celery") is not None


def _celery_problem() -> tuple[str, str]:
    """Return why the project's Celery reaches no worker, and what to do; both empty where it does."""
    from bloonio_chat.inbox.tasks import celery_app

    app = celery_app()
    if app is None:
        return (
            "and the project has no Celery app",
            "Create one (celery.py beside settings.py) and import it in the project's __init__.py: "
            "`from .celery import app as celery_app`.",
        )
    try:
        broker, is_eager = app.conf.broker_write_url, app.conf.task_always_eager
    except Exception as error:  # noqa: BLE001  # the configuration is read here, and may be the project's code
        return f"whose configuration can't be read ({type(error).__name__})", "See `celery -A <project> report`."
    if not broker or str(broker).startswith("memory:"):
        return (
            "and its app has no broker",
            "Set broker_url (CELERY_BROKER_URL in the settings), such as redis://localhost:6379/0 or amqp://localhost.",
        )
    if is_eager and not conf.is_debug():
        return (
            "and task_always_eager is on outside DEBUG: receivers run in the web processes",
            "Take task_always_eager out of the settings that you deploy.",
        )
    return "", ""
