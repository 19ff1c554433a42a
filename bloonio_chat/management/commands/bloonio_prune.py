"""``manage.py bloonio_prune``: erases what is past its retention, in every room."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.progress import Progress
from bloonio_chat.management.rooms import RoomCommand, counted


class Command(RoomCommand):
    """Calls each room's own pruning."""

    help = (
        "Erases what is older than BLOONIO_CHAT_INBOX_RETENTION_DAYS and BLOONIO_CHAT_MIRROR_RETENTION_DAYS, in small "
        "batches. Run it daily."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the rehearsal."""
        parser.add_argument("--dry-run", action="store_true", help="count, and erase nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        """Prune, and say how many of what."""
        if not ports.prune:
            raise CommandError('Nothing to prune: neither "bloonio_chat.inbox" nor "bloonio_chat.mirror" is installed.')
        with Progress(self, unit="rows", verbosity=options["verbosity"]) as progress:
            counts = {room: prune(options["dry_run"], progress) for room, prune in sorted(ports.prune.items())}
        would = "would be " if options["dry_run"] else ""
        for room, its in counts.items():
            self.stdout.write(f"{room}: {would}{counted(its)}.")
