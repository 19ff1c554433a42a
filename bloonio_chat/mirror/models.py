"""The mirror's tables: what the relay has of conversations, messages and tickets, as far as it is known here.

Columns have no database-level choices and are wide: a new value from the relay is never an error. A text that is not
known is empty. A row that was never fetched (``fetched_at`` is null) is a *stub*: it holds what events said, and
``created_at`` and ``updated_at`` are the first and the last time that an event told of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.core.checks import CheckMessage
from django.db import InterfaceError, OperationalError, models
from django.db.models import Case, Q, Value, When
from django.utils.crypto import salted_hmac

from bloonio_chat.conf import get_secret_keys
from bloonio_chat.fields import RelayIdField
from bloonio_chat.mirror.managers import ConversationQuerySet, MessageQuerySet, TicketQuerySet
from bloonio_chat.mirror.times import RelayTimeField, aware_now
from bloonio_chat.mirror.writable import require_writable
from bloonio_chat.sdk.enums import ConversationStatus, TicketStatus

if TYPE_CHECKING:
    from bloonio_chat.mirror.timeline import TimelineEntry

LONGEST_NAME: Final = 255

# What ``synced_from`` says.
FROM_EVENT: Final = "event"
FROM_FETCH: Final = "fetch"
FROM_SYNC: Final = "sync"


def _is_open(closed: tuple[str, ...]) -> models.GeneratedField:
    """Return a column that the database keeps: true until the status is one of these, false once forgotten.

    An index over it finds the few that are open among millions, which ``NOT status IN (…)`` could not.
    """
    is_closed = When(Q(status__in=closed) | Q(forgotten_at__isnull=False), then=Value(False))
    return models.GeneratedField(
        expression=Case(is_closed, default=Value(True), output_field=models.BooleanField()),
        output_field=models.BooleanField(),
        db_persist=True,
    )


class MirrorModel(models.Model):
    """What all rows have in common.

    ``tenant`` is the project's alias, ``relay_id`` the relay's id. ``extra`` has the relay's fields that are not known
    here. ``fetched_at`` is when the fetch began that the row's full object came from. ``synced_at`` and ``synced_from``
    (``event``, ``fetch`` or ``sync``) say when and from what the row was last brought up to date.
    """

    tenant = RelayIdField(help_text="The tenant's alias in the settings.")
    relay_id = RelayIdField()
    extra = models.JSONField(default=dict)
    created_at = RelayTimeField(default=aware_now)
    fetched_at = RelayTimeField(null=True)
    synced_at = RelayTimeField(default=aware_now)
    synced_from = models.CharField(max_length=16, default=FROM_EVENT)

    class Meta:
        """Rows are read-only, so only looking at them wants a permission."""

        abstract = True
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.relay_id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As Django's ``save``; raises ``ReadOnlyError`` outside ``mirror.writable()``."""
        require_writable(f"{type(self).__name__}.save()")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """As Django's ``delete``; raises ``ReadOnlyError`` outside ``mirror.writable()``."""
        require_writable(f"{type(self).__name__}.delete()")
        return super().delete(*args, **kwargs)

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """As Django's ``check``, which asks the server for its version; nothing where there is no server to ask.

        Images are built, and workers started, where no database can be reached.
        """
        try:
            return super().check(**kwargs)
        except (OperationalError, InterfaceError):
            return []


class Mark(NamedTuple):
    """How a row stood before a fetch: when it was marked, and the time of the newest event that it knows."""

    marked_at: datetime | None
    heard_at: datetime | None


class HydratedModel(MirrorModel):
    """A row whose full object is fetched once an event has told of it.

    ``marked_at``: it is to be fetched; moved on by every event that is news. ``waiting_since``: when it was marked
    first since it was last fetched. ``forgotten_at``: the person was erased; nothing but ``tenant`` and ``relay_id`` is
    left, and nothing brings it back. ``facts`` is what events said, of which some columns are computed
    (:mod:`bloonio_chat.mirror.folding`). ``taken_until_ms``: so long some worker has it to fetch it.
    ``fetch_after_ms``: it is not fetched before, as ``fetch_tries`` fetches in a row came to nothing. Both are Unix
    times in milliseconds.
    """

    updated_at = RelayTimeField(default=aware_now)
    facts = models.JSONField(default=list)
    marked_at = RelayTimeField(null=True)
    waiting_since = RelayTimeField(null=True)
    forgotten_at = RelayTimeField(null=True)
    taken_until_ms = models.BigIntegerField(default=0)
    fetch_after_ms = models.BigIntegerField(default=0)
    fetch_tries = models.PositiveIntegerField(default=0)

    class Meta(MirrorModel.Meta):
        """As that of all rows."""

        abstract = True

    @property
    def mark(self) -> Mark:
        """How the row stands now: to be read before a fetch begins, and merged with what it brings."""
        return Mark(self.marked_at, datetime.fromisoformat(self.facts[-1]["at"]) if self.facts else None)


class Conversation(HydratedModel):
    """A visitor's conversation with the bot and the operators.

    ``agent_status`` to ``escalated_at`` are told by events alone: no route fetches them. ``claim_count`` is ``None``
    where events did not say it. ``messages_truncated``: the relay has more messages than it lists. ``messages_as_of``
    is the time of the relay's up to which all messages are here, as far as it lists them.
    """

    visitor_user_id = RelayIdField(default="", db_index=True)
    visitor_display_name = models.TextField(default="")
    locale = models.CharField(max_length=LONGEST_NAME, default="")
    channel = models.CharField(max_length=LONGEST_NAME, default="")
    status = models.CharField(max_length=LONGEST_NAME, default="")
    metadata = models.JSONField(default=dict)
    last_message_at = RelayTimeField(null=True)
    closed_at = RelayTimeField(null=True)
    messages_truncated = models.BooleanField(default=False)
    messages_as_of = RelayTimeField(null=True)
    is_open = _is_open((ConversationStatus.CLOSED.value,))

    agent_status = models.CharField(max_length=LONGEST_NAME, default="")
    operator_id = RelayIdField(default="")
    operator_display_name = models.TextField(default="")
    claim_count = models.BigIntegerField(null=True)
    claimed_at = RelayTimeField(null=True)
    released_at = RelayTimeField(null=True)
    agent_resolved_at = RelayTimeField(null=True)
    escalation_id = RelayIdField(default="")
    escalation_reason = models.CharField(max_length=LONGEST_NAME, default="")
    escalated_at = RelayTimeField(null=True)

    objects = ConversationQuerySet.as_manager()

    class Meta(HydratedModel.Meta):
        """Indexes for the lists that people look at, newest first, each with its filter."""

        constraints = (models.UniqueConstraint(fields=["tenant", "relay_id"], name="bloonio_mirror_convo"),)
        permissions = (("refresh_conversation", "Can refresh conversations from the relay"),)
        indexes = (
            models.Index(fields=["updated_at"], name="bloonio_mirror_cv_updated"),
            models.Index(fields=["created_at"], name="bloonio_mirror_cv_created"),
            models.Index(fields=["is_open", "updated_at"], name="bloonio_mirror_cv_open"),
            models.Index(fields=["status", "updated_at"], name="bloonio_mirror_cv_status"),
            models.Index(fields=["agent_status", "updated_at"], name="bloonio_mirror_cv_queue"),
            models.Index(fields=["operator_id", "updated_at"], name="bloonio_mirror_cv_operator"),
            models.Index(fields=["channel", "updated_at"], name="bloonio_mirror_cv_channel"),
            models.Index(fields=["tenant", "updated_at"], name="bloonio_mirror_cv_tenant"),
            models.Index(fields=["tenant", "waiting_since"], name="bloonio_mirror_cv_waiting"),
        )

    def timeline(self) -> list[TimelineEntry]:
        """Return what happened, oldest first: messages, operators, escalations and tickets, in two queries."""
        from bloonio_chat.mirror.timeline import timeline_of

        return timeline_of(self)


class Message(MirrorModel):
    """One message. ``heard_at`` is when an event told of it, ``confidence`` the bot's, from 0 to 1."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages", db_index=False)
    role = models.CharField(max_length=LONGEST_NAME, default="")
    content = models.TextField(default="")
    attachments = models.JSONField(default=list)
    citations = models.JSONField(default=list)
    confidence = models.FloatField(null=True)
    heard_at = RelayTimeField(null=True)

    objects = MessageQuerySet.as_manager()

    class Meta(MirrorModel.Meta):
        """One index: a conversation's messages in their order."""

        constraints = (models.UniqueConstraint(fields=["tenant", "relay_id"], name="bloonio_mirror_message"),)
        indexes = (models.Index(fields=["conversation", "created_at"], name="bloonio_mirror_ms_convo"),)


class Ticket(HydratedModel):
    """What an escalation leaves for the humans. ``user_id`` is the visitor.

    ``base`` is what the fetched object said where newer events have overruled it; those up to ``as_of`` have not.
    """

    conversation = models.ForeignKey(Conversation, models.SET_NULL, null=True, related_name="tickets")
    ticket_number = models.CharField(max_length=LONGEST_NAME, default="", db_index=True)
    user_id = RelayIdField(default="", db_index=True)
    subject = models.TextField(default="")
    description = models.TextField(default="")
    priority = models.CharField(max_length=LONGEST_NAME, default="")
    status = models.CharField(max_length=LONGEST_NAME, default="")
    assignee_user_id = RelayIdField(default="")
    sla_due_at = RelayTimeField(null=True)
    tags = models.JSONField(default=list)
    escalation_id = RelayIdField(default="")
    resolved_at = RelayTimeField(null=True)
    closed_at = RelayTimeField(null=True)
    is_open = _is_open((TicketStatus.RESOLVED.value, TicketStatus.CLOSED.value))
    base = models.JSONField(default=dict)
    as_of = RelayTimeField(null=True)

    objects = TicketQuerySet.as_manager()

    class Meta(HydratedModel.Meta):
        """Indexes for the lists that people look at, newest first or most urgent first, each with its filter."""

        constraints = (models.UniqueConstraint(fields=["tenant", "relay_id"], name="bloonio_mirror_ticket"),)
        permissions = (("refresh_ticket", "Can refresh tickets from the relay"),)
        indexes = (
            models.Index(fields=["updated_at"], name="bloonio_mirror_tk_updated"),
            models.Index(fields=["created_at"], name="bloonio_mirror_tk_created"),
            models.Index(fields=["is_open", "sla_due_at"], name="bloonio_mirror_tk_due"),
            models.Index(fields=["is_open", "updated_at"], name="bloonio_mirror_tk_open"),
            models.Index(fields=["status", "updated_at"], name="bloonio_mirror_tk_status"),
            models.Index(fields=["priority", "updated_at"], name="bloonio_mirror_tk_priority"),
            models.Index(fields=["assignee_user_id", "updated_at"], name="bloonio_mirror_tk_assignee"),
            models.Index(fields=["tenant", "updated_at"], name="bloonio_mirror_tk_tenant"),
            models.Index(fields=["tenant", "waiting_since"], name="bloonio_mirror_tk_waiting"),
        )


class ForgottenVisitor(models.Model):
    """Somebody who was erased, known by a keyed digest alone: events of theirs from before do not bring them back."""

    tenant = RelayIdField(help_text="The tenant's alias in the settings.")
    digest = models.CharField(max_length=40)
    forgotten_at = RelayTimeField()

    class Meta:
        """No permissions: there is nothing to see."""

        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["tenant", "digest"], name="bloonio_mirror_forgotten"),)

    def __str__(self) -> str:
        return f"somebody of {self.tenant}"


class RelayPace(models.Model):
    """How a tenant's calls to the relay go: one row for the tenant, whose ``route`` is empty, and one for each route
    that answered 404. All times are Unix times in milliseconds.

    ``free_at_ms``: when all the calls that were made would be spread out evenly. ``paused_until_ms``: no call before.
    ``failures``: so many in a row.
    """

    tenant = RelayIdField(help_text="The tenant's alias in the settings.")
    route = models.CharField(max_length=64, default="", help_text="The client's method; empty: all of them.")
    free_at_ms = models.BigIntegerField(default=0)
    paused_until_ms = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)

    class Meta:
        """No permissions: it is nobody's to change."""

        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["tenant", "route"], name="bloonio_mirror_pace"),)

    def __str__(self) -> str:
        return f"{self.route or 'all calls'} of {self.tenant}"


class SyncCheckpoint(models.Model):
    """How far a ``bloonio_sync`` has read one of the relay's lists, so that the next one goes on there.

    ``position`` is what the walk needs to go on (:mod:`bloonio_chat.mirror.walking`); ``since`` and ``is_restart`` are
    what the run was asked for; ``finished_at`` is null while there is more to read.
    """

    tenant = RelayIdField(help_text="The tenant's alias in the settings.")
    resource = models.CharField(max_length=64)
    since = RelayTimeField(null=True)
    is_restart = models.BooleanField(default=False)
    position = models.JSONField(default=dict)
    began_at = RelayTimeField()
    reached_at = RelayTimeField()
    finished_at = RelayTimeField(null=True)

    class Meta:
        """No permissions: it is nobody's to change."""

        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["tenant", "resource"], name="bloonio_mirror_checkpoint"),)

    def __str__(self) -> str:
        return f"{self.resource} of {self.tenant}"


def visitor_digest(tenant: str, visitor_user_id: str) -> str:
    """Return what a forgotten visitor is known by from now on: 40 hexadecimal digits, keyed with ``SECRET_KEY``."""
    return visitor_digests(tenant, visitor_user_id)[0]


def visitor_digests(tenant: str, visitor_user_id: str) -> list[str]:
    """Return all that a forgotten visitor may be known by: under ``SECRET_KEY``, then under each of its fallbacks."""
    salt, value = "bloonio_chat.mirror.forgotten", f"{tenant}\n{visitor_user_id}"
    return [
        salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()[:40] for secret in get_secret_keys()
    ]
