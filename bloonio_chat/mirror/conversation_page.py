"""What the admin's page of one conversation shows: a chat, with what happened in between, and its tickets.

Bounded, however long the conversation is: the newest messages, and a link to those before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeGuard
from urllib.parse import unquote, urlsplit

from django.db.models import Prefetch, QuerySet, prefetch_related_objects
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from bloonio_chat.mirror import facts
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.outside_text import WebLink, one_line, web_link
from bloonio_chat.mirror.timeline import TimelineEntry
from bloonio_chat.mirror.wording import ATTACHMENTS, ESCALATION_REASONS, ROLES, in_words
from bloonio_chat.sdk.enums import MessageRole

MOST_MESSAGES: Final = 500
MOST_TICKETS: Final = 50
MOST_PARTS: Final = 50
LONGEST_TEXT: Final = 20_000
LARGEST_SIZE: Final = 2**60

# What happened, and the name of the operator who has the conversation then.
_Told = tuple[TimelineEntry, str]

_SIDES: Final = frozenset(role.value for role in MessageRole)


@dataclass(frozen=True)
class Attachment:
    """A file on a message, in words, and the link to it if it leads to the web."""

    words: str
    link: WebLink | None


@dataclass(frozen=True)
class Entry:
    """One entry of the chat: a bubble of ``side`` ``visitor``, ``agent``, ``bot`` or ``system``, else a ``note``.

    ``opens_day`` tells that the entry before it was on another day. ``is_stub``: nobody has fetched the message yet.
    """

    at: datetime
    side: str
    who: str
    text: str
    opens_day: bool = False
    is_stub: bool = False
    attachments: tuple[Attachment, ...] = ()
    citations: tuple[str, ...] = ()
    confidence: str = ""


@dataclass(frozen=True)
class ConversationPage:
    """What the template shows. ``older`` is the key of the message before which an older page ends, if there is one."""

    entries: list[Entry]
    tickets: list[Ticket]
    older: int | None
    is_newest: bool


def page_of(
    conversation: Conversation, *, before: str | None = None, with_messages: bool = True, with_tickets: bool = True
) -> ConversationPage:
    """Return what is to be shown of a conversation: its newest 500 messages, or those before the message with that key.

    Without messages or tickets for a user who may not see those. Five queries at most.
    """
    keys, is_newest = _keys_of_messages(conversation, before) if with_messages else ([], True)
    shown = keys[:MOST_MESSAGES]
    tickets = list(conversation.tickets.order_by("-created_at", "-pk")[:MOST_TICKETS]) if with_tickets else []
    # timeline() reads both from what is fetched here.
    prefetch_related_objects(
        [conversation],
        Prefetch("messages", Message.objects.filter(pk__in=shown).defer("extra")),
        Prefetch("tickets", Ticket.objects.filter(pk__in=[ticket.pk for ticket in tickets])),
    )
    has_older = len(keys) > MOST_MESSAGES
    told = _within(list(_with_operators(conversation.timeline())), has_older, is_newest)
    entries = list(_entries(told, one_line(conversation.visitor_display_name, 60)))
    return ConversationPage(entries, tickets, shown[-1] if has_older else None, is_newest)


def _keys_of_messages(conversation: Conversation, before: str | None) -> tuple[list[int], bool]:
    """Return the keys of messages, newest first, one more than are shown; and whether nothing is newer."""
    messages: QuerySet[Message] = conversation.messages.all()
    end = _end(messages, before)
    if end is not None:
        created_at, key = end
        messages = messages.filter(created_at__lte=created_at).exclude(created_at=created_at, pk__gte=key)
    newest = messages.order_by("-created_at", "-pk").values_list("pk", flat=True)
    return list(newest[: MOST_MESSAGES + 1]), end is None


def _end(messages: QuerySet[Message], before: str | None) -> tuple[datetime, int] | None:
    # What does not fit a key is none, and some databases refuse to be asked for it.
    if before is None or not (before.isascii() and before.isdecimal() and len(before) <= 18):
        return None
    found: tuple[datetime, int] | None = messages.filter(pk=int(before)).values_list("created_at", "pk").first()
    return found


def _with_operators(timeline: Iterable[TimelineEntry]) -> Iterator[_Told]:
    operator = ""
    for told in timeline:
        if told.kind == facts.ASSIGNED:
            operator = _operator_of(told)
        elif told.kind == facts.RELEASED:
            operator = ""
        yield told, operator


def _within(timeline: list[_Told], has_older: bool, is_newest: bool) -> list[_Told]:
    """Leave out what happened before the first message, where older ones are left out, and after the last likewise."""
    times = [told.at for told, _operator in timeline if told.message is not None]
    if not times:
        return timeline
    return [
        (told, operator)
        for told, operator in timeline
        if (not has_older or told.at >= times[0]) and (is_newest or told.at <= times[-1])
    ]


def _entries(timeline: Iterable[_Told], visitor: str) -> Iterator[Entry]:
    day = None
    for told, operator in timeline:
        at = localtime(told.at)
        opens_day, day = at.date() != day, at.date()
        if told.message is not None:
            names = {MessageRole.VISITOR.value: visitor, MessageRole.AGENT.value: operator}
            yield _bubble(told.message, at, names, opens_day)
            continue
        yield Entry(at, "note", "", _note(told), opens_day)


def _operator_of(told: TimelineEntry) -> str:
    return one_line(told.operator_display_name or told.operator_id, 60)


def _note(told: TimelineEntry) -> str:
    names = {
        "operator": _operator_of(told) or _("An operator"),
        "ticket": one_line(told.ticket.ticket_number or told.ticket.relay_id, 40) if told.ticket else "",
        "reason": in_words(ESCALATION_REASONS, told.reason),
    }
    if told.kind == facts.ESCALATED:
        text = _("Handed to the operators: %(reason)s") if names["reason"] else _("Handed to the operators")
    else:
        text = {
            facts.STARTED: _("The conversation began"),
            facts.ASSIGNED: _("%(operator)s took the conversation"),
            facts.RELEASED: _("%(operator)s gave the conversation back to the queue"),
            facts.RESOLVED: _("%(operator)s marked the conversation as resolved"),
            facts.TICKET_CREATED: _("Ticket %(ticket)s was created"),
            facts.TICKET_ASSIGNED: _("%(operator)s took ticket %(ticket)s"),
            facts.TICKET_RESOLVED: _("Ticket %(ticket)s was resolved"),
        }.get(told.kind, one_line(told.kind, 60).replace("%", "%%"))
    return text % names


def _bubble(message: Message, at: datetime, names: Mapping[str, str], opens_day: bool) -> Entry:
    text = message.content
    return Entry(
        at,
        message.role if message.role in _SIDES else MessageRole.SYSTEM.value,
        names.get(message.role) or in_words(ROLES, message.role),
        text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…",
        opens_day,
        message.fetched_at is None,
        tuple(_attachment(part) for part in _parts(message.attachments)),
        tuple(_citation(part) for part in _parts(message.citations)),
        number_format(round(message.confidence * 100)) if _is_number(message.confidence) else "",
    )


def _parts(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list that came as JSON, whatever else it may be."""
    return [part for part in value[:MOST_PARTS] if isinstance(part, dict)] if isinstance(value, list) else []


def _attachment(part: Mapping[str, Any]) -> Attachment:
    link = web_link(part.get("url"))
    size = part.get("size")
    words = [
        in_words(ATTACHMENTS, part.get("type")) or _("File"),
        "" if link is None else one_line(unquote(urlsplit(link.url).path.rpartition("/")[2]), 60),
        one_line(part.get("mime") or "", 60),
        filesizeformat(size) if _is_number(size) and size > 0 else "",
    ]
    return Attachment(" · ".join(word for word in words if word), link)


def _citation(part: Mapping[str, Any]) -> str:
    words = [one_line(part.get("document_id") or "", 80)]
    if part.get("document_version") not in (None, ""):
        words.append(_("version %(version)s") % {"version": one_line(part["document_version"], 20)})
    score = part.get("score")
    if _is_number(score):
        words.append(_("score %(score)s") % {"score": number_format(round(score, 2))})
    return " · ".join(word for word in words if word)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and -LARGEST_SIZE < value < LARGEST_SIZE
