"""``manage.py bloonio_verify``: compares the mirror with the relay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.management.progress import Progress
from bloonio_chat.management.rooms import RoomCommand, counted, require
from bloonio_chat.sdk.errors import ChatRelayError


class Command(RoomCommand):
    """Drives the mirror's comparison; ends with 1 where they differ, or where nothing could be compared."""

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
        problem = _problem(counts)
        if problem:
            raise CommandError(problem)


def _problem(counts: Mapping[str, int]) -> str:
    """Return what is wrong, and what to do about it; nothing where the mirror says what the relay says."""
    sentences = []
    if any(counts.get(what) for what in ("missing", "stale", "extra")):
        sentences.append("The mirror differs from the relay.")
    if counts.get("missing") or counts.get("stale"):
        sentences.append(
            "bloonio_sync --restart mends what is missing or stale, but for rows newer than what the relay says."
        )
    if counts.get("extra"):
        sentences.append(
            "What is extra the relay has no more, and only you delete it: with mirror.writable(): row.delete()"
        )
    if counts.get("tenants_not_compared"):
        sentences.append(
            f"Of {counts['tenants_not_compared']} tenant(s) nothing could be compared: suspended, a relay without the "
            "routes, or answers that can't be read; the log of bloonio_chat.mirror names them."
        )
    return " ".join(sentences)
