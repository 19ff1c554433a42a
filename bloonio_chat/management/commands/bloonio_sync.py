"""``manage.py bloonio_sync``: brings the mirror up to date with the relay."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.progress import Progress
from bloonio_chat.management.rooms import RoomCommand, counted, require
from bloonio_chat.sdk.errors import ChatRelayError


class Command(RoomCommand):
    """Drives the mirror's reading of everything that the relay lists."""

    help = (
        "Reads conversations, messages and tickets from the relay into the mirror. A second run goes on where a killed "
        "one was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to read."""
        parser.add_argument("--tenant", metavar="ALIAS", help="only this tenant; all of them if it is left out")
        parser.add_argument(
            "--since", metavar="TIME", help="only what changed since then: a date or a time in ISO 8601"
        )
        parser.add_argument("--marked", action="store_true", help="only what an event has marked as changed")
        parser.add_argument(
            "--restart", action="store_true", help="from the beginning, and also the messages that seem to be here"
        )
        parser.add_argument("--dry-run", action="store_true", help="read, compare and count; write nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        """Read, and say how many of what."""
        sync = require(ports.sync, "bloonio_chat.mirror")
        with Progress(self, unit="objects", verbosity=options["verbosity"]) as progress:
            try:
                counts = sync(options, progress)
            except (ChatRelayError, ValueError) as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"Mirror: {counted(counts)}.")
