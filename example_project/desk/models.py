from django.db import models


class HeardEvent(models.Model):
    """What the shop remembers of an event: enough for a page, and for the demo to check its story."""

    event_type = models.CharField(max_length=255)
    conversation_id = models.CharField(max_length=255, db_index=True)
    details = models.TextField(blank=True)
    occurred_at = models.DateTimeField()

    class Meta:
        ordering = ("occurred_at", "pk")

    def __str__(self) -> str:
        return f"{self.event_type} of {self.conversation_id}"
