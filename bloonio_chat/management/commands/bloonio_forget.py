"""``manage.py bloonio_forget``: erases one person, in every room."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.conf import get_config
from bloonio_chat.management.rooms import RoomCommand, counted
from bloonio_chat.sdk.errors import ChatRelayConfigurationError


class Command(RoomCommand):
    """Asks every room for the person's conversations, then has each erase the person."""

    help = (
        "Erases one visitor from the mirror and the inbox, by the whole id and never by a part of it. What the relay "
        "itself keeps is not touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add who, and where."""
        parser.add_argument("--visitor", required=True, metavar="ID", help="visitor_user_id: your own id of the person")
        parser.add_argument("--tenant", metavar="ALIAS", help="only this tenant's data; all tenants' if it is left out")
        parser.add_argument("--dry-run", action="store_true", help="count, and erase nothing")

    def handle(self, *_: Any, **options: Any) -> None:
        """Erase, and say how many of what."""
        visitor, tenant = options["visitor"], options["tenant"]
        if not visitor.strip():
            raise CommandError("--visitor must be an id.")
        if not ports.forget:
            raise CommandError('Nothing to erase: neither "bloonio_chat.inbox" nor "bloonio_chat.mirror" is installed.')
        try:
            if tenant is not None:
                get_config().tenant(tenant)
        except ChatRelayConfigurationError as error:
            raise CommandError(str(error)) from None
        conversations = {
            found for room in ports.forget.values() for found in room.conversations(tenant=tenant, visitor=visitor)
        }
        for name, room in sorted(ports.forget.items()):
            counts = room.erase(tenant=tenant, visitor=visitor, conversations=conversations, dry_run=options["dry_run"])
            would = "would be " if options["dry_run"] else ""
            self.stdout.write(f"{name}: {would}{counted(counts)}.")
