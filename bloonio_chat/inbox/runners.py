"""Who delivers what was accepted, and when: the setting ``INBOX_RUNNER``.

A runner is a callable that takes the lanes in which something was accepted, and makes
:func:`bloonio_chat.inbox.process` deliver them, here or elsewhere. It runs in a thread of its own after the answer was
sent, and is not trusted: what it loses, the next sweep picks up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

from django.utils.module_loading import import_string

from bloonio_chat.conf import get_config
from bloonio_chat.inbox.processing import process
from bloonio_chat.inbox.publishing import Publisher

Runner = Callable[[Sequence[str]], object]

INLINE: Final = "inline"
CELERY: Final = "celery"
COMMAND: Final = "command"

# How many overdue events the inline runner works off beside those that it was handed.
_OVERDUE_EVENTS: Final = 10
_OVERDUE_MS: Final = 5_000


def get_runner() -> Runner | None:
    """Return the runner that is set; ``None`` for ``command``, which waits to be started.

    Raises ``ImportError`` for a dotted path that leads nowhere, or to nothing that can be called.
    """
    name = get_config().app.inbox_runner
    if name == COMMAND:
        return None
    return _BUILT_IN[name] if name in _BUILT_IN else _import(name)


def run_inline(lanes: Sequence[str]) -> None:
    """Deliver in this thread, and a few overdue events with it."""
    process(lanes=lanes)
    process(limit=_OVERDUE_EVENTS, older_than_ms=_OVERDUE_MS)


_BUILT_IN: Final[dict[str, Runner]] = {INLINE: run_inline, CELERY: Publisher()}


@functools.cache
def _import(dotted_path: str) -> Runner:
    found = import_string(dotted_path)
    if not callable(found):
        problem = f"BLOONIO_CHAT_INBOX_RUNNER names {dotted_path}, which can't be called."
        raise ImportError(problem)  # noqa: TRY004  # as where the path leads nowhere
    runner: Runner = found
    return runner
