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
from tests.inbox.project.processes import wait_until

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
    """Work for as many seconds as the event says, and, where it says so, until :func:`let_go`."""
    _append(BEGUN, event)
    time.sleep(float(event.extra.get("seconds", 0)))
    if event.extra.get("is_held"):
        wait_until(_gate(Path(os.environ["PROJECT_DEEDS"]), event.message_id or "").exists, "the test lets it go")
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


def let_go(path: Path, message_id: str) -> None:
    """Have the receiver end that is held with this message, and hold none with it from now on."""
    _gate(path, message_id).touch()


def _gate(path: Path, message_id: str) -> Path:
    return path.with_name(f"{path.name}-{message_id}")


def read(path: Path) -> list[Deed]:
    """Return all lines, in the order in which they were written."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        Deed(what, message_id, conversation_id, int(pid), float(at))
        for what, message_id, conversation_id, pid, at in (line.split("\t") for line in lines)
    ]
