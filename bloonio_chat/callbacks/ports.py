"""Where optional rooms plug in, each from its own ``ready()``; the core knows none of them by name.

The inbox registers ``accept``, ``process_inbox``, ``inbox_stats`` and ``inbox_vitals``; the mirror ``project``,
``hydrate``, ``sync`` and ``verify``; both ``prune``, ``forget`` and ``links``, each under its app label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.sdk.receive import Received


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of a verified callback.

    ``acknowledged``: it is done, or it is kept so that it will be, and the relay need not send it again.
    ``after_response`` is called once the answer has been sent.
    """

    acknowledged: bool
    after_response: Callable[[], None] | None = None


ACCEPTED: Final = Acceptance(acknowledged=True)
RETRY_LATER: Final = Acceptance(acknowledged=False)


class Projectable(NamedTuple):
    """An event to be projected: the alias of its tenant, and itself."""

    tenant: str
    event: WebhookEvent


class Report(Protocol):
    """How long work shows its progress; a command draws a bar of it."""

    def total(self, count: int | None) -> None:
        """Say how much there is to do; ``None`` where it is unknown."""
        ...

    def advance(self, count: int = 1) -> None:
        """Say that so much more is done."""
        ...

    def line(self, text: str) -> None:
        """Say something worth a line of its own."""
        ...


class Hydrate(Protocol):
    """How the mirror fetches what was marked: at most ``limit`` objects, none more once ``stop`` says so."""

    def __call__(self, limit: int, *, stop: Callable[[], bool]) -> int:
        """Return how many were fetched."""
        ...


class Forgetting(Protocol):
    """How a room erases one person. ``tenant`` is an alias, ``None`` for all of them; ids are compared as a whole."""

    def conversations(self, *, tenant: str | None, visitor: str) -> set[tuple[str, str]]:
        """Return (tenant, conversation id) of every conversation of the visitor that this room knows."""
        ...

    def erase(
        self, *, tenant: str | None, visitor: str, conversations: set[tuple[str, str]], dry_run: bool
    ) -> Mapping[str, int]:
        """Erase the person; return how many of what."""
        ...


@dataclass
class Ports:
    """What rooms have registered.

    ``accept`` takes a verified callback and never raises; ``None`` stands for
    :func:`bloonio_chat.callbacks.guard.accept`. ``project`` writes a batch of events to the mirror, all of it or, by
    raising, none. ``hydrate`` fetches at most so many objects that were marked, and returns how many it did.
    ``process_inbox``, ``sync`` and ``verify`` are what the commands of the like names run, with the command's options,
    and return what is to be said at the end. ``inbox_stats`` returns the inbox's figures, ``inbox_vitals`` those
    of them that cost little. ``prune`` erases what is past its retention, with ``dry_run``, and returns how many of
    what. ``forget`` finds and erases one person. ``links`` returns the admin's URL for what the room has of a (tenant,
    conversation id), or ``None``.
    """

    accept: Callable[[Received], Acceptance] | None = None
    project: Callable[[Sequence[Projectable]], None] | None = None
    hydrate: Hydrate | None = None
    process_inbox: Callable[[Mapping[str, Any], Report], Mapping[str, int]] | None = None
    inbox_stats: Callable[[], Mapping[str, Any]] | None = None
    inbox_vitals: Callable[[], Mapping[str, int | float | None]] | None = None
    sync: Callable[[Mapping[str, Any], Report], Mapping[str, int]] | None = None
    verify: Callable[[Mapping[str, Any], Report], Mapping[str, int]] | None = None
    prune: dict[str, Callable[[bool, Report], Mapping[str, int]]] = field(default_factory=dict)
    forget: dict[str, Forgetting] = field(default_factory=dict)
    links: dict[str, Callable[[str, str], str | None]] = field(default_factory=dict)


ports = Ports()
