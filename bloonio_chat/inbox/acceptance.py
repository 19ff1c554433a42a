"""Accepting a verified callback: one INSERT, committed before the relay gets its answer.

A repeat loses to the row that is there, also to one that is written at the same moment, and no database logs an error.
Where the row can't be written, the relay is asked to send the event again. Protocol §4.3.
"""

from __future__ import annotations

import functools
import logging
import time
from datetime import datetime, timezone
from typing import Any, Final

from django.db import ProgrammingError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BinaryField, CharField, F, Field
from django.db.models.constants import OnConflict

from bloonio_chat.callbacks.ports import ACCEPTED, RETRY_LATER, Acceptance
from bloonio_chat.inbox import states
from bloonio_chat.inbox.clock import clock_sql
from bloonio_chat.inbox.durability import why_not_durable
from bloonio_chat.inbox.handover import hand_over
from bloonio_chat.inbox.lanes import lane_of
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.scrubbing import describe
from bloonio_chat.sdk.receive import Received
from bloonio_chat.times import to_database_time

logger = logging.getLogger("bloonio_chat.inbox")

# In SQL.
_AS_EVERY_NEW_ROW: Final = {"state": f"'{states.RECEIVED}'", "attempts": "0", "repeats": "0", "last_error": "''"}
_PLAIN: Final = frozenset({str, int})


def accept(received: Received) -> Acceptance:
    """Keep an event. Never raises an ``Exception``."""
    try:
        lane = _store(received)
    except NotStoredError as error:
        logger.critical("No event can be stored: %s.", error)
        return RETRY_LATER
    except Exception as error:  # noqa: BLE001  # whatever it is, the event is not safe, and the relay has to know
        # Without the traceback, and without the details below the first line: they quote the row.
        message = "An event could not be stored; the relay is asked to send it again: %s%s"
        hint = ". Was manage.py migrate run?" if _is_about_a_table(error) else ""
        logger.error(message, describe(error).partition("\n")[0], hint)  # noqa: TRY400  # as above
        return RETRY_LATER
    if lane is None:
        return ACCEPTED
    return Acceptance(acknowledged=True, after_response=functools.partial(hand_over, lane))


def _is_about_a_table(error: Exception) -> bool:
    """Return whether a table or column may be missing; not every driver has a class of its own for that."""
    # SQLite's two, and MariaDB's of a column.
    texts = ("no such table", "has no column", "Unknown column")
    return isinstance(error, ProgrammingError) or any(text in str(error) for text in texts)


class NotStoredError(Exception):
    """The row is not in the database, though that raised no error of its own."""


def _store(received: Received) -> str | None:
    """Write the row and return its lane; ``None`` if it is there already. Raises if neither."""
    using = router.db_for_write(InboxEvent)
    connection = connections[using]
    problem = why_not_durable(connection)
    if problem:
        raise NotStoredError(problem)
    values = _values(received)
    with connection.cursor() as cursor:
        cursor.execute(_insert_statement(using), _parameters(values, connection))
        if cursor.rowcount == 1:
            return str(values["lane"])
    # Only a row that is there lets us answer 200: the statement above also passes over what a column does not take.
    if not InboxEvent.objects.using(using).filter(key=values["key"]).update(repeats=F("repeats") + 1):
        raise NotStoredError("the database passed over the row without saying why")
    return None


def _values(received: Received) -> dict[str, Any]:
    event, tenant, key = received.event, received.tenant, received.key
    # Not from a naive time, which comes twice in one night of the year.
    received_ms = time.time_ns() // 1_000_000
    return {
        "key": key,
        "lane": lane_of(tenant.tenant_id, event.conversation_id, key),
        "tenant": tenant.alias,
        "event_type": event.event_type.value,
        "conversation_id": event.conversation_id or "",
        "visitor_user_id": event.visitor_user_id or "",
        "occurred_at": to_database_time(event.occurred_at),
        "received_at": to_database_time(datetime.fromtimestamp(received_ms / 1000, timezone.utc)),
        "body": received.body,
        "signed_tenant_id": tenant.tenant_id,
        "signed_timestamp": received.timestamp,
        "signature": received.signature,
        "skew_ms": received_ms - int(received.timestamp),
    }


def _parameters(values: dict[str, Any], connection: BaseDatabaseWrapper) -> list[Any]:
    """Return what to bind. Raises for what a column would not hold whole: MariaDB's IGNORE would cut it off."""
    parameters = []
    widths = _widths(connection.alias)
    for field in _fields():
        value = values[field.name]
        width = widths.get(field.name)
        if value is None or (width is not None and len(value) > width):
            # Read anew for the next one: the table may have been mended.
            _widths.cache_clear()
            raise NotStoredError(f"{field.name} is {'missing' if value is None else f'over {width} characters'}")
        # Texts and numbers are taken as they are by every driver; asking their fields would cost more than all else.
        parameters.append(value if type(value) in _PLAIN else field.get_db_prep_save(value, connection))
    return parameters


@functools.cache
def _widths(using: str) -> dict[str, int]:
    """How much the columns hold, where there is a limit; on MariaDB and MySQL those of the table as it is."""
    widths = {field.name: field.max_length for field in _fields() if field.max_length is not None}
    connection = connections[using]
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, InboxEvent._meta.db_table)
        has_width = {field.column for field in _fields() if isinstance(field, (CharField, BinaryField))}
        widths |= {column.name: column.internal_size for column in columns if column.name in has_width}
    return widths


@functools.cache
def _fields() -> tuple[Field[Any, Any], ...]:
    """The columns that are given a value of the event's; the rest is null, or as every new row has it."""
    fields = InboxEvent._meta.concrete_fields
    return tuple(field for field in fields if not (field.primary_key or field.null or field.name in _AS_EVERY_NEW_ROW))


@functools.cache
def _insert_statement(using: str) -> str:
    connection = connections[using]
    quote, operations = connection.ops.quote_name, connection.ops
    # Not bound, since each value that is takes its time with every event.
    fixed = {**_AS_EVERY_NEW_ROW, "due_ms": clock_sql(using)}
    columns = ", ".join(quote(name) for name in (*(field.name for field in _fields()), *fixed))
    values = ", ".join([*["%s"] * len(_fields()), *fixed.values()])
    start = operations.insert_statement(on_conflict=OnConflict.IGNORE)
    end = operations.on_conflict_suffix_sql([], OnConflict.IGNORE, [], [])
    return f"{start} {quote(InboxEvent._meta.db_table)} ({columns}) VALUES ({values}) {end}"
