"""Whether what the inbox writes is committed when it thinks so: in a transaction around it, it would not be."""

from __future__ import annotations

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper


def why_not_durable(connection: BaseDatabaseWrapper) -> str | None:
    """Return why what is written on this connection could still be undone, in words; ``None`` where it could not."""
    if connection.get_autocommit():
        return None
    where = f"the database {connection.alias!r}"
    if not connection.in_atomic_block:
        return f"{where} is not in autocommit mode (AUTOCOMMIT in DATABASES, or set_autocommit())"
    try:
        # Django's own rule for what must not be undone, which knows its TestCase's transactions.
        with transaction.atomic(using=connection.alias, durable=True):
            return None
    except RuntimeError:
        return f"a transaction is open on {where}, and could undo it: leave it"
