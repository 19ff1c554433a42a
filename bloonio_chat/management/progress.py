"""How far a long command is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from django.core.management.base import BaseCommand
from tqdm import tqdm

# How often a line is written where there is no terminal.
SECONDS_BETWEEN_LINES: Final = 10.0


class Progress:
    """The :class:`~bloonio_chat.callbacks.ports.Report` of a command, as a context manager; quiet at verbosity 0.

    ``unit`` is what is counted, in the plural. ``monotonic`` returns seconds.
    """

    def __init__(
        self, command: BaseCommand, *, unit: str, verbosity: int = 1, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = command.stdout
        self._unit = unit
        self._is_quiet = verbosity == 0
        self._monotonic = monotonic
        self._bar: tqdm[Any] | None = None
        self._done = 0
        self._total: int | None = None
        self._said_at = monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def total(self, count: int | None) -> None:
        """Say how much there is to do; ``None`` where it is unknown."""
        self._total = count
        if self._bar is not None:
            self._bar.close()
        if not self._is_quiet and self._out.isatty():
            self._bar = tqdm(total=count, unit=f" {self._unit}", file=self._out, dynamic_ncols=True)

    def advance(self, count: int = 1) -> None:
        """Say that so much more is done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = self._monotonic()
            of = "" if self._total is None else f" of {self._total}"
            self.line(f"{self._done}{of} {self._unit}")

    def line(self, text: str) -> None:
        """Say something worth a line of its own."""
        if self._is_quiet:
            return
        if self._bar is not None:
            self._bar.write(text, file=self._out)
        else:
            self._out.write(text)
            # Whoever reads a log wants it now.
            self._out.flush()
