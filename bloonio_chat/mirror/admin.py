"""Conversations and tickets in the admin: lists, a page that reads like a chat, and an overview. All read-only."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.mirror import admin_filters, details, overview
from bloonio_chat.mirror.admin_lists import ConversationList, TicketList, badge, how_long_ago, isolated
from bloonio_chat.mirror.admin_readonly import ReadOnlyAdmin
from bloonio_chat.mirror.admin_search import find_conversations, find_tickets
from bloonio_chat.mirror.conversation_page import page_of
from bloonio_chat.mirror.models import Conversation, Ticket
from bloonio_chat.mirror.outside_text import one_line
from bloonio_chat.mirror.refreshing import Refreshed, refresh_conversation, refresh_ticket
from bloonio_chat.mirror.relay_links import relay_url_of
from bloonio_chat.mirror.sla import sla_of
from bloonio_chat.mirror.ticket_page import LONGEST_TEXT, card_of, pretty, priority_look
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.wording import (
    AGENT_STATUSES,
    CHANNELS,
    CONVERSATION_STATUSES,
    PRIORITIES,
    TICKET_STATUSES,
    in_words,
)

OVERVIEW_NAME: Final = "bloonio_chat_mirror_overview"
_INBOX: Final = "bloonio_chat_inbox"


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    """Conversations, and the overview of all that the mirror has."""

    list_display = (
        "visitor_shown",
        "activity_shown",
        "status_shown",
        "queue_shown",
        "operator_shown",
        "channel_shown",
        "begun_shown",
        "id_shown",
    )
    list_display_links = ("visitor_shown", "id_shown")
    list_filter = (
        admin_filters.ConversationStatusFilter,
        admin_filters.ConversationQueueFilter,
        admin_filters.ConversationOperatorFilter,
        admin_filters.ChannelFilter,
        admin_filters.TenantFilter,
    )
    search_fields = ("visitor_user_id",)
    search_help_text = _("A visitor id or a conversation id. For visitor ids that begin alike, end it with *.")
    page_template = "admin/bloonio_chat_mirror/conversation/page.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConversationList]:
        """Return the list that counts nothing."""
        return ConversationList

    def find(self, rows: QuerySet[Any], term: str) -> tuple[QuerySet[Any], str]:
        """Return the conversations that the term finds, and a warning if there are more."""
        return find_conversations(rows, term)

    @admin.display(description=_("visitor"))
    def visitor_shown(self, row: Conversation) -> str:
        """Return the visitor's name and id, or that they were erased."""
        if row.forgotten_at is not None:
            return gettext("(erased)")
        if not row.visitor_display_name:
            return isolated(row.visitor_user_id) or gettext("(not known)")
        name, visitor = isolated(row.visitor_display_name), isolated(row.visitor_user_id, 40)
        return format_html('{} <span class="mirror-quiet">{}</span>', name, visitor)

    @admin.display(description=_("status"))
    def status_shown(self, row: Conversation) -> str:
        """Return the status in words."""
        return badge("open" if row.is_open else "done", in_words(CONVERSATION_STATUSES, row.status))

    @admin.display(description=_("queue"))
    def queue_shown(self, row: Conversation) -> str:
        """Return where the conversation is in the operators' queue."""
        looks = {"WAITING": "soon", "ASSIGNED": "open"} if row.is_open else {}
        return badge(looks.get(row.agent_status, "done"), in_words(AGENT_STATUSES, row.agent_status))

    @admin.display(description=_("operator"))
    def operator_shown(self, row: Conversation) -> str:
        """Return the operator's name, else the id."""
        return isolated(row.operator_display_name or row.operator_id, 40)

    @admin.display(description=_("channel"))
    def channel_shown(self, row: Conversation) -> str:
        """Return channel and language."""
        return " · ".join(text for text in (in_words(CHANNELS, row.channel), one_line(row.locale, 20)) if text)

    @admin.display(description=_("last activity"))
    def activity_shown(self, row: Conversation) -> str:
        """Return how long ago something last happened in it."""
        return how_long_ago(row.updated_at)

    @admin.display(description=_("begun"))
    def begun_shown(self, row: Conversation) -> Any:
        """Return when it began."""
        return row.created_at

    @admin.display(description=_("conversation id"))
    def id_shown(self, row: Conversation) -> str:
        """Return the relay's id, shortened."""
        return isolated(row.relay_id, 28)

    def page_of(self, request: HttpRequest, row: Conversation) -> dict[str, Any]:
        """Return the chat, the tickets beside it, and the links that this user may follow."""
        may_see_tickets = self.may(request, "view_ticket")
        may_see_messages = self.may(request, "view_message")
        page = page_of(
            row, before=request.GET.get("before"), with_messages=may_see_messages, with_tickets=may_see_tickets
        )
        now = aware_now()
        inbox = ports.links.get(_INBOX) if request.user.has_perm(f"{_INBOX}.view_inboxevent") else None
        return {
            "title": one_line(row.visitor_display_name or row.visitor_user_id or row.relay_id),
            "page": page,
            "may_see_messages": may_see_messages,
            "tickets": [card_of(ticket, now) for ticket in page.tickets],
            "details": details.of_conversation(row),
            "metadata": pretty(row.metadata),
            "extra": pretty(row.extra),
            "relay_url": relay_url_of(row, page.tickets[0] if page.tickets else None),
            "inbox_url": inbox and inbox(row.tenant, row.relay_id),
        }

    def refresh(self, row: Conversation) -> Refreshed:
        """Fetch the conversation, its messages and tickets. Raises ``ChatRelayError``."""
        return refresh_conversation(row)

    def get_urls(self) -> list[URLPattern]:
        """Return Django's own, and the overview's."""
        view = self.admin_site.admin_view(require_safe(self.overview_view))
        return [path("overview/", view, name=OVERVIEW_NAME), *super().get_urls()]

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        """Show the overview to who may see both conversations and tickets."""
        if not (self.may(request, "view_conversation") and self.may(request, "view_ticket")):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "title": gettext("Overview"),
            # The last of the breadcrumbs.
            "original": gettext("Overview"),
            "cards": overview.cards(aware_now()),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/bloonio_chat_mirror/overview.html", context)


@admin.register(Ticket)
class TicketAdmin(ReadOnlyAdmin):
    """Tickets, with how they stand with their SLA."""

    list_display = (
        "number_shown",
        "sla_shown",
        "priority_shown",
        "subject_shown",
        "status_shown",
        "operator_shown",
        "visitor_shown",
        "activity_shown",
        "conversation_shown",
    )
    list_display_links = ("number_shown", "subject_shown")
    list_filter = (
        admin_filters.SlaFilter,
        admin_filters.TicketQueueFilter,
        admin_filters.TicketStatusFilter,
        admin_filters.PriorityFilter,
        admin_filters.AssigneeFilter,
        admin_filters.TenantFilter,
    )
    list_select_related = ("conversation",)
    search_fields = ("ticket_number",)
    search_help_text = _(
        "A ticket number, a ticket id or a visitor id. For numbers or visitor ids that begin alike, end it with *."
    )
    page_template = "admin/bloonio_chat_mirror/ticket/page.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TicketList]:
        """Return the list that counts nothing."""
        return TicketList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns; links to conversations for who may see those."""
        may_see = self.admin_site.is_registered(Conversation) and self.may(request, "view_conversation")
        return [name for name in self.list_display if may_see or name != "conversation_shown"]

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the most urgent first where the list goes by SLA, else the latest."""
        return ("sla_due_at",) if admin_filters.SlaFilter.asked_for(request) else ("-updated_at",)

    def find(self, rows: QuerySet[Any], term: str) -> tuple[QuerySet[Any], str]:
        """Return the tickets that the term finds, and a warning if there are more."""
        return find_tickets(rows, term)

    @admin.display(description=_("number"))
    def number_shown(self, row: Ticket) -> str:
        """Return the number for people, else the relay's id."""
        return isolated(row.ticket_number or row.relay_id, 28)

    @admin.display(description=_("subject"))
    def subject_shown(self, row: Ticket) -> str:
        """Return the beginning of the subject, or that it was erased."""
        return gettext("(erased)") if row.forgotten_at is not None else isolated(row.subject, 80)

    @admin.display(description=_("priority"))
    def priority_shown(self, row: Ticket) -> str:
        """Return the priority in words."""
        return badge(priority_look(row.priority), in_words(PRIORITIES, row.priority))

    @admin.display(description=_("status"))
    def status_shown(self, row: Ticket) -> str:
        """Return the status in words."""
        return badge("open" if row.is_open else "done", in_words(TICKET_STATUSES, row.status))

    @admin.display(description=_("SLA"))
    def sla_shown(self, row: Ticket) -> str:
        """Return how the ticket stands with the time by which it should be done."""
        sla = sla_of(row, aware_now())
        return badge(sla.state, sla.words)

    @admin.display(description=_("operator"))
    def operator_shown(self, row: Ticket) -> str:
        """Return the operator's name where the conversation tells it, else the id."""
        conversation = row.conversation
        if conversation is not None and conversation.operator_id == row.assignee_user_id:
            return isolated(conversation.operator_display_name or row.assignee_user_id, 40)
        return isolated(row.assignee_user_id, 40)

    @admin.display(description=_("visitor"))
    def visitor_shown(self, row: Ticket) -> str:
        """Return the visitor's id; the name is the conversation's, which not everybody may see."""
        return isolated(row.user_id, 40)

    @admin.display(description=_("last activity"))
    def activity_shown(self, row: Ticket) -> str:
        """Return how long ago something last happened to it."""
        return how_long_ago(row.updated_at)

    @admin.display(description=_("conversation"))
    def conversation_shown(self, row: Ticket) -> str:
        """Return the link to the conversation's page."""
        if row.conversation is None:
            return ""
        url = reverse(f"{self.admin_site.name}:bloonio_chat_mirror_conversation_change", args=[row.conversation_id])
        return format_html('<a href="{}">{}</a>', url, pgettext("link", "open"))

    def page_of(self, request: HttpRequest, row: Ticket) -> dict[str, Any]:
        """Return the ticket in words, and its conversation if this user may see it."""
        return {
            "title": one_line(row.ticket_number or row.relay_id),
            "ticket": card_of(row, aware_now()),
            "description": row.description[:LONGEST_TEXT],
            "conversation": row.conversation if self.may(request, "view_conversation") else None,
            "details": details.of_ticket(row),
            "extra": pretty(row.extra),
            "relay_url": relay_url_of(row, row.conversation),
        }

    def refresh(self, row: Ticket) -> Refreshed:
        """Fetch the ticket. Raises ``ChatRelayError``."""
        return refresh_ticket(row)
