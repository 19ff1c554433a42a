"""Events in the inbox's tables as if they had come in, millions if need be: made by the database itself.

Keys and signatures, which no delivery looks at, are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from benchmarks.callbacks import EVENTS_EACH, GROUP, NUMBER, TEMPLATE
from benchmarks.project import TENANT_ID
from bloonio_chat.inbox.clock import clock_sql
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt

EVENTS: Final = InboxEvent._meta.db_table
RECEIPTS: Final = InboxReceipt._meta.db_table

# The receiver that old events were delivered to, and how many days ago the oldest of them was.
OLD_RECEIVER: Final = "message_received:benchmarks.receiver"
OLDEST_DAYS: Final = 400

# Old events are numbered from here, beside those that come in during a measurement.
_FIRST_OLD: Final = 100_000_000_000
_BATCH: Final = 250_000
# What the databases say differently.
_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "postgresql": {
        "numbers": "generate_series({first}::bigint, {last}::bigint) AS numbers(n)",
        "digest": "encode(sha256(convert_to({0}, 'UTF8')), 'hex')",
        "bytes": "convert_to({0}, 'UTF8')",
        "digits": "lpad(({0})::text, 12, '0')",
        "ago": "now() - make_interval(secs => {0})",
    },
    "mysql": {
        "numbers": "(SELECT seq AS n FROM seq_{first}_to_{last}) AS numbers",
        "digest": "sha2({0}, 256)",
        "bytes": "{0}",
        "digits": "lpad({0}, 12, '0')",
        "ago": "utc_timestamp(6) - INTERVAL {0} SECOND",
    },
}


def insert_due(count: int, *, first: int = 0) -> None:
    """Insert that many events that are due, numbered from ``first``, which is due first.

    The five events of a conversation lie far apart.
    """
    conversation = f"{first} + mod(n, {-(-count // EVENTS_EACH)})"
    due = f"{clock_sql(_connection().alias)} - {first + count} + n"
    _insert(first, count, conversation=conversation, body=TEMPLATE, seconds_ago="60", due=due)


def insert_delivered(count: int, progress: Callable[[int], None]) -> None:
    """Insert that many events that were delivered long ago, and their receipts; their bodies are short.

    ``progress`` is told how many there are.
    """
    conversation = f"floor(n / {EVENTS_EACH})"
    body = b'{"event_id":"evt_%b","conversation_id":"%b"}' % (NUMBER, GROUP)
    seconds_ago = f"({_FIRST_OLD + count} - n) * {OLDEST_DAYS * 86400 / count}"
    for first in range(_FIRST_OLD, _FIRST_OLD + count, _BATCH):
        size = min(_BATCH, _FIRST_OLD + count - first)
        before = InboxEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        _insert(first, size, conversation=conversation, body=body, seconds_ago=seconds_ago, due=None)
        _execute(
            f"INSERT INTO {RECEIPTS} (event_id, receiver, succeeded, attempts, last_error, updated_at) "  # noqa: S608  # names of ours
            f"SELECT id, %s, true, 1, '', received_at FROM {EVENTS} WHERE id > %s",
            OLD_RECEIVER,
            before,
        )
        progress(first - _FIRST_OLD + size)


def empty() -> None:
    """Take all events out, and whatever was delivered of them."""
    _execute(f"TRUNCATE {EVENTS}, {RECEIPTS}")


def analyze() -> None:
    """Have the database look at its tables, as it does by itself sooner or later."""
    for table in (EVENTS, RECEIPTS):
        _execute(f"ANALYZE {table}" if _connection().vendor == "postgresql" else f"ANALYZE TABLE {table}")


def _insert(first: int, count: int, *, conversation: str, body: bytes, seconds_ago: str, due: str | None) -> None:
    """Insert events. ``conversation``, ``seconds_ago`` and ``due`` are SQL, in which an event's number is ``n``."""
    connection = _connection()
    words = _WORDS[connection.vendor]
    number, group = words["digits"].format("n"), words["digits"].format(conversation)
    received = words["ago"].format(seconds_ago)
    columns = {
        "key": words["digest"].format(number),
        "lane": f"left({words['digest'].format(group)}, 32)",
        "tenant": "'default'",
        "event_type": "'message_received'",
        "conversation_id": group,
        "visitor_user_id": f"concat('user-', {group})",
        "occurred_at": received,
        "received_at": received,
        "body": words["bytes"].format(
            f"replace(replace(%s, '{NUMBER.decode()}', {number}), '{GROUP.decode()}', {group})"
        ),
        "signed_tenant_id": f"'{TENANT_ID}'",
        "signed_timestamp": "'1790000000000'",
        "signature": words["digest"].format(number),
        "skew_ms": "0",
        "state": "'received'" if due else "'delivered'",
        "due_ms": due or "NULL",
        "attempts": "0" if due else "1",
        "repeats": "0",
        "last_error": "''",
        "finished_at": "NULL" if due else received,
    }
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    numbers = words["numbers"].format(first=first, last=first + count - 1)
    values = ", ".join(columns.values())
    _execute(f"INSERT INTO {EVENTS} ({names}) SELECT {values} FROM {numbers} ORDER BY n", body.decode())  # noqa: S608  # as above


def _execute(statement: str, *parameters: object) -> None:
    with _connection().cursor() as cursor:
        cursor.execute(statement, parameters or None)


def _connection() -> BaseDatabaseWrapper:
    return connections[router.db_for_write(InboxEvent)]
