"""The inbox's tables: events, the ledger of who has had them, lanes in work, and when the last sweep was."""

from __future__ import annotations

from datetime import datetime, timezone

from django.db import models

from bloonio_chat.fields import RelayIdField
from bloonio_chat.inbox import states

LONGEST_NAME = 255


class InboxEvent(models.Model):
    """A verified callback, as it came, and how far its delivery is.

    ``due_ms`` is when it is to be delivered, by the database's clock; ``None`` once there is nothing left to do.
    """

    key = models.CharField(max_length=64, help_text="What tells a repeat from another event.")
    lane = models.CharField(max_length=32, help_text="Events of one conversation share it.")
    tenant = models.CharField(max_length=LONGEST_NAME, help_text="The tenant's alias in the settings.")
    event_type = models.CharField(max_length=LONGEST_NAME)
    conversation_id = RelayIdField(default="")
    visitor_user_id = RelayIdField(default="")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    # What the relay signed, so that it can be verified again.
    body = models.BinaryField()
    signed_tenant_id = models.CharField(max_length=36)
    signed_timestamp = models.CharField(max_length=32)
    signature = models.CharField(max_length=64)
    skew_ms = models.BigIntegerField(help_text="Our clock less the signed timestamp, on receipt.")

    state = models.CharField(max_length=16, default=states.RECEIVED)
    due_ms = models.BigIntegerField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    repeats = models.PositiveIntegerField(default=0, help_text="How often it came again.")
    last_error = models.TextField(default="")
    finished_at = models.DateTimeField(null=True)
    erased_at = models.DateTimeField(null=True, help_text="When the body was erased; the key stays.")

    class Meta:
        """Indexes for what workers, the admin and retention ask."""

        verbose_name = "event"
        default_permissions = ("view",)
        permissions = (("retry_inboxevent", "Can retry events"), ("bury_inboxevent", "Can bury events"))
        # Not unique=True, for which PostgreSQL would be given a second index, for LIKE.
        constraints = (models.UniqueConstraint(fields=["key"], name="bloonio_inbox_key"),)
        indexes = (
            models.Index(fields=["due_ms", "lane"], name="bloonio_inbox_due"),
            models.Index(fields=["lane", "due_ms"], name="bloonio_inbox_lane"),
            models.Index(fields=["state", "id"], name="bloonio_inbox_state"),
            models.Index(fields=["event_type", "id"], name="bloonio_inbox_type"),
            models.Index(fields=["visitor_user_id"], name="bloonio_inbox_visitor"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} {self.pk}"

    @property
    def due_at(self) -> datetime | None:
        """When it is to be delivered; ``None`` once there is nothing left to do."""
        return None if self.due_ms is None else datetime.fromtimestamp(self.due_ms / 1000, timezone.utc)


class InboxReceipt(models.Model):
    """The ledger: what became of one event at one receiver, by the receiver's stable name."""

    event = models.ForeignKey(InboxEvent, models.CASCADE, related_name="receipts", db_index=False)
    # As exact as the relay's ids: two names that a collation takes for one are two receivers all the same.
    receiver = RelayIdField()
    succeeded = models.BooleanField()
    attempts = models.PositiveIntegerField(default=1)
    last_error = models.TextField(default="")
    updated_at = models.DateTimeField()

    class Meta:
        """One row for an event and a receiver."""

        verbose_name = "receipt"
        default_permissions = ("view",)
        constraints = (models.UniqueConstraint(fields=["event", "receiver"], name="bloonio_inbox_receipt"),)
        indexes = (models.Index(fields=["succeeded", "receiver"], name="bloonio_inbox_failing"),)

    def __str__(self) -> str:
        return f"{self.receiver}: {'succeeded' if self.succeeded else 'failed'}"


class InboxLane(models.Model):
    """A lane in work: who holds it until when. A lane that nobody works on has no row."""

    lane = models.CharField(max_length=32, primary_key=True)
    token = models.CharField(max_length=32, help_text="The holder's alone: whoever writes must have it.")
    leased_until_ms = models.BigIntegerField()
    holder = models.CharField(max_length=LONGEST_NAME, help_text="Machine and process, for people.")

    class Meta:
        """No permissions: it is nobody's to change."""

        verbose_name = "lane in work"
        default_permissions = ()
        # Not db_index=True, as above.
        indexes = (models.Index(fields=["token"], name="bloonio_inbox_token"),)

    def __str__(self) -> str:
        return f"{self.lane} held by {self.holder}"


class InboxSweep(models.Model):
    """When something last began to go through all that was due."""

    name = models.CharField(max_length=32, primary_key=True)
    at_ms = models.BigIntegerField()
    holder = models.CharField(max_length=LONGEST_NAME)

    class Meta:
        """No permissions: it is nobody's to change."""

        verbose_name = "sweep"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} by {self.holder}"
