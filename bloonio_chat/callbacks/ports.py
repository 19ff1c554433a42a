"""Where optional rooms plug in, each from its own ``ready()``; the core knows none of them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from bloonio_chat.sdk.receive import Received


class Acceptance(Enum):
    """What became of a verified callback."""

    ACCEPTED = "accepted"
    """It is done, or it is kept so that it will be: the relay need not send it again."""
    RETRY_LATER = "retry_later"
    """It is not: the relay is to send it again."""


@dataclass
class Ports:
    """What rooms have registered.

    ``accept`` takes a verified callback and never raises; ``None`` stands for
    :func:`bloonio_chat.callbacks.guard.accept`.
    """

    accept: Callable[[Received], Acceptance] | None = None


ports = Ports()
