"""What an atomic receiver has done."""

from __future__ import annotations

from django.db import models


class Deed(models.Model):
    """One call of the atomic receiver. Nothing keeps a second row for the same message out: it would be seen."""

    message_id = models.CharField(max_length=255)

    def __str__(self) -> str:
        return self.message_id
