"""The mirror's querysets: what people ask for, and a refusal of what would change a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db import models

from bloonio_chat.conf import DEFAULT_TENANT
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.writable import require_writable
from bloonio_chat.sdk.enums import AgentStatus

if TYPE_CHECKING:
    from typing_extensions import Self

    from bloonio_chat.mirror.models import Conversation, Message, Ticket  # noqa: F401  # in the texts below

_Model = TypeVar("_Model", bound=models.Model)
_Method = TypeVar("_Method", bound=Callable[..., Any])

_WRITING: Final = ("create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "update", "delete")


def _guarded(name: str) -> Callable[..., Any]:
    original = getattr(models.QuerySet, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        require_writable(f"{self.model.__name__}.objects.{name}()")
        return original(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"As Django's ``{name}``; raises ``ReadOnlyError`` outside ``mirror.writable()``."
    # What Django and its templates look for on methods that write.
    method.__dict__.update(original.__dict__)
    return method


class MirrorQuerySet(models.QuerySet[_Model]):
    """Reads like any queryset; writes only within ``with mirror.writable():``."""


for _name in _WRITING:
    setattr(MirrorQuerySet, _name, _guarded(_name))


class OfVisitorsQuerySet(MirrorQuerySet[_Model]):
    """Rows that belong to one visitor, and that are open until they are not."""

    visitor_field = "visitor_user_id"

    def for_visitor(self, visitor_user_id: str, *, tenant: str = DEFAULT_TENANT) -> Self:
        """Return those of one visitor of a tenant, by the project's own id for that person; compared as a whole."""
        found: Self = self.filter(**{self.visitor_field: visitor_user_id}, tenant=tenant)
        return found

    def open(self) -> Self:
        """Return those that are not closed (a ticket: nor resolved). A status that is not known counts as open."""
        found: Self = self.filter(is_open=True)
        return found


class ConversationQuerySet(OfVisitorsQuerySet["Conversation"]):
    """Queries of conversations."""

    def awaiting_agent(self) -> Self:
        """Return those that wait in the operators' queue, whoever has had them before."""
        found: Self = self.filter(agent_status=AgentStatus.WAITING.value, is_open=True)
        return found


class TicketQuerySet(OfVisitorsQuerySet["Ticket"]):
    """Queries of tickets."""

    visitor_field = "user_id"

    def overdue(self) -> Self:
        """Return open tickets whose ``sla_due_at`` has passed."""
        found: Self = self.filter(is_open=True, sla_due_at__lt=aware_now())
        return found

    def awaiting_agent(self) -> Self:
        """Return open tickets that nobody has taken."""
        found: Self = self.filter(is_open=True, assignee_user_id="")
        return found


class MessageQuerySet(MirrorQuerySet["Message"]):
    """Queries of messages."""

    def for_visitor(self, visitor_user_id: str, *, tenant: str = DEFAULT_TENANT) -> Self:
        """Return the messages of one visitor's conversations, whoever wrote them."""
        found: Self = self.filter(conversation__visitor_user_id=visitor_user_id, conversation__tenant=tenant)
        return found
