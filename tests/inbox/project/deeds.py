"""What the project's receivers do, and how it is read: a file to which every process appends whole lines.

It stands for the outside world: no transaction takes back what is written there, and it is still there when the
process that wrote it is killed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from bloonio_chat.sdk.events import WebhookEvent

BEGUN: Final = "begun"
DONE: Final = "done"


class Deed(NamedTuple):
    """A line: what was done for which message of which conversation, by which process, when (``time.monotonic``)."""

    what: str
    message_id: str
    conversation_id: str
    pid: int
    at: float


def note(event: WebhookEvent, **_: Any) -> None:
    """Work for as many seconds as the event says."""
    _append(BEGUN, event)
    time.sleep(float(event.extra.get("seconds", 0)))
    _append(DONE, event)


def count(event: WebhookEvent, **_: Any) -> None:
    """Add a row."""
    from tests.inbox.project.models import Deed as Row

    Row(message_id=event.message_id or "").save(force_insert=True)


def _append(what: str, event: WebhookEvent) -> None:
    line = f"{what}\t{event.message_id}\t{event.conversation_id or ''}\t{os.getpid()}\t{time.monotonic()}\n"
    # One write: no other process's line can come in between.
    target = os.open(os.environ["PROJECT_DEEDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(target, line.encode())
    finally:
        os.close(target)


def read(path: Path) -> list[Deed]:
    """Return all lines, in the order in which they were written."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        Deed(what, message_id, conversation_id, int(pid), float(at))
        for what, message_id, conversation_id, pid, at in (line.split("\t") for line in lines)
    ]
