"""Rows of the mirror, written as the relay's facts would have left them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bloonio_chat import mirror
from bloonio_chat.mirror.models import Conversation, Message, Ticket

NOON: Final = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
CONVERSATIONS: Final = "/admin/bloonio_chat_mirror/conversation/"
TICKETS: Final = "/admin/bloonio_chat_mirror/ticket/"
OVERVIEW: Final = CONVERSATIONS + "overview/"


def at(minutes: float) -> datetime:
    """That many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def conversation(relay_id: str = "c1", **fields: Any) -> Conversation:
    values = {
        "tenant": "default",
        "visitor_user_id": "v1",
        "status": "active",
        "channel": "text",
        "created_at": NOON,
        "updated_at": NOON,
        "fetched_at": NOON,
        "synced_from": "fetch",
        **fields,
    }
    with mirror.writable():
        row: Conversation = Conversation.objects.create(relay_id=relay_id, **values)
    return row


def conversations(count: int, **fields: Any) -> None:
    with mirror.writable():
        Conversation.objects.bulk_create(
            Conversation(
                **{
                    "tenant": "default",
                    "relay_id": f"many-{number:05d}",
                    "visitor_user_id": f"visitor-{number:05d}",
                    "operator_id": "op",
                    "operator_display_name": "An operator",
                    "agent_status": "ASSIGNED",
                    "updated_at": at(-number),
                    "created_at": at(-number),
                    **fields,
                }
            )
            for number in range(count)
        )


def message(of: Conversation, minutes: float = 0, **fields: Any) -> Message:
    values = {
        "tenant": of.tenant,
        "relay_id": f"{of.relay_id}-{minutes}",
        "role": "visitor",
        "content": "Hello.",
        "created_at": at(minutes),
        "fetched_at": NOON,
        **fields,
    }
    with mirror.writable():
        row: Message = Message.objects.create(conversation=of, **values)
    return row


def ticket(relay_id: str = "t1", **fields: Any) -> Ticket:
    values = {
        "tenant": "default",
        "ticket_number": "LOK-1",
        "user_id": "v1",
        "subject": "Help",
        "priority": "p3",
        "status": "open",
        "created_at": NOON,
        "updated_at": NOON,
        "fetched_at": NOON,
        "synced_from": "fetch",
        **fields,
    }
    with mirror.writable():
        row: Ticket = Ticket.objects.create(relay_id=relay_id, **values)
    return row


def user(*permissions: str) -> Client:
    """A member of the staff with these permissions; with none named, one who may do all."""
    someone = User.objects.create_user("someone", is_staff=True, is_superuser=not permissions)
    someone.user_permissions.set(
        Permission.objects.filter(codename__in=permissions, content_type__app_label__startswith="bloonio_chat")
    )
    client = Client()
    client.force_login(someone)
    return client


def shown(client: Client, path: str) -> str:
    """What the page shows; it must be there."""
    response = client.get(path)
    assert response.status_code == 200, response
    text: str = response.content.decode()
    return text


class Statements(NamedTuple):
    """What was asked of the mirror's tables."""

    texts: list[str]

    @property
    def counting(self) -> list[str]:
        return [text for text in self.texts if "COUNT(" in text.upper()]


@contextmanager
def statements(alias: str) -> Iterator[Statements]:
    """Collect what is asked of the mirror's tables."""
    found = Statements([])
    with CaptureQueriesContext(connections[alias]) as captured:
        yield found
    found.texts.extend(query["sql"] for query in captured.captured_queries if "bloonio_chat_mirror" in query["sql"])
