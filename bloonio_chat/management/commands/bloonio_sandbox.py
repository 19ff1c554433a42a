"""``manage.py bloonio_sandbox``: a relay for development, beside the project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bloonio_chat.conf import flat_texts, is_debug
from bloonio_chat.sandbox import cli


class Command(BaseCommand):
    """Runs :class:`bloonio_chat.sandbox.SandboxRelay` until it is interrupted."""

    help = "Runs a sandbox relay on this machine, for development, and prints the settings to paste."
    # The settings to paste may be the very ones that the checks miss.
    requires_system_checks: list[str] = []  # noqa: RUF012  # Django's own form

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the sandbox's options, and ``--force``."""
        # What was pasted into the settings holds for the next start too.
        cli.add_arguments(parser, flat_texts())
        parser.add_argument("--force", action="store_true", help="run although DEBUG is off")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM."""
        if not is_debug() and not options["force"]:
            raise CommandError("The sandbox is for development, and DEBUG is off. --force runs it all the same.")
        try:
            cli.run(options, self._write)
        except (ImportError, ValueError, OSError) as error:
            raise CommandError(str(error)) from None

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        # Whoever started us may wait for the settings.
        self.stdout.flush()
