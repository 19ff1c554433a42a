"""``manage.py bloonio_inbox_stats``: the inbox's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.rooms import RoomCommand, require


class Command(RoomCommand):
    """Prints what the inbox's callable of the same name returns."""

    help = "Shows how many events wait, fail or were given up, for how long, and when the last sweep was."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the format."""
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print them."""
        figures = require(ports.inbox_stats, "bloonio_chat.inbox")()
        if options["json"]:
            self.stdout.write(json.dumps(figures, default=str))
            return
        for name, value in _flat(figures):
            self.stdout.write(f"{name:<40} {value}")


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}: ")
        else:
            yield f"{prefix}{name}", "-" if value is None else value
