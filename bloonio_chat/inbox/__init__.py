"""The inbox: an event is a committed row before the relay gets its answer, and is delivered from there.

Accepting: ``acceptance`` (one INSERT) → the answer → ``handover`` (a few threads of this process) → a runner of
``runners`` (``inline``, ``celery`` through ``tasks``, or the project's own). Delivering, whoever runs it:
``processing`` (what is due, how much at once) → ``lanes`` (whose turn it is) → ``delivering`` (the mirror, then each
receiver) → ``outcomes`` (the ledger and the state machine of ``states``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bloonio_chat.inbox.processing import process as process

__all__ = ["process"]


def __getattr__(name: str) -> object:
    # Late: the models can't be loaded before all apps are.
    if name == "process":
        return importlib.import_module("bloonio_chat.inbox.processing").process
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
