"""``manage.py bloonio_verify``: compares the mirror with the relay."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.progress import Progress
from bloonio_chat.management.rooms import counted, require
from bloonio_chat.sdk.errors import ChatRelayError


class Command(BaseCommand):
    """Drives the mirror's comparison; ends with 1 where they differ."""

    help = "Compares the mirror with what the relay says, and ends with an error where they differ. It changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to compare."""
        parser.add_argument("--tenant", metavar="ALIAS", help="only this tenant; all of them if it is left out")
        parser.add_argument("--sample", type=int, metavar="N", help="only N conversations and N tickets, at random")

    def handle(self, *_: Any, **options: Any) -> None:
        """Compare, and say how many of what."""
        verify = require(ports.verify, "bloonio_chat.mirror")
        with Progress(self, unit="objects", verbosity=options["verbosity"]) as progress:
            try:
                counts = verify(options, progress)
            except (ChatRelayError, ValueError) as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"Mirror: {counted(counts)}.")
        if any(counts.get(what) for what in ("missing", "stale", "extra")):
            raise CommandError(
                "The mirror differs from the relay: bloonio_sync --restart mends what is missing or stale."
            )
