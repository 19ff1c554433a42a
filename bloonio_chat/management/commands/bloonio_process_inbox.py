"""``manage.py bloonio_process_inbox``: delivers what the inbox holds, once or for ever."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.progress import Progress
from bloonio_chat.management.rooms import RoomCommand, counted, require


class Command(RoomCommand):
    """Drives the inbox's loop."""

    help = "Delivers the events that are due in the inbox. Run it from cron, or for ever beside the web servers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to deliver."""
        parser.add_argument("--forever", action="store_true", help="go on until SIGINT or SIGTERM")
        parser.add_argument("--retry-failed", action="store_true", help="first make every failed event due now")
        parser.add_argument(
            "--retry-dead", action="store_true", help="first make every dead event due now, buried ones not"
        )
        parser.add_argument("--limit", type=_positive, metavar="N", help="at most N events")
        parser.add_argument("--event", type=_positive, metavar="ID", help="only this one, whenever it is due")

    def handle(self, *_: Any, **options: Any) -> None:
        """Deliver, and say how many events came out how."""
        if options["forever"] and (options["limit"] or options["event"]):
            raise CommandError("--forever goes with neither --limit nor --event.")
        process_inbox = require(ports.process_inbox, "bloonio_chat.inbox")
        with Progress(self, unit="events", verbosity=options["verbosity"]) as progress:
            try:
                counts = process_inbox(options, progress)
            except ValueError as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"Events: {counted(counts)}.")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError("a whole number, 1 at least, is expected")
    return int(text)
