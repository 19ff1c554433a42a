"""Rows for the mirror, by the million: PostgreSQL makes them itself, from ``generate_series``."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from django.apps import apps
from tqdm import tqdm

# Of one conversation, in either size.
LONG: Final = 2_000

_STEP: Final = 50_000
_TABLES: Final = ("conversation", "message", "ticket")


class Sizes(NamedTuple):
    """How many conversations there are, and how many messages each has; each has one ticket."""

    conversations: int
    messages: int = 10

    def __str__(self) -> str:
        return f"{self.conversations:,} conversations"

    @property
    def long_key(self) -> int:
        """The key of the conversation that has 2,000 messages."""
        return self.conversations // 2

    def names(self) -> dict[str, Any]:
        """Return what there is to be looked for: one visitor, conversation and ticket of many."""
        key = self.conversations // 3
        return {
            "visitor": f"user-{key % self.visitors:07d}",
            "visitor_start": f"user-{key % self.visitors:07d}"[:-1],
            "conversation": f"66{key:022x}",
            "conversation_key": key,
            "long_key": self.long_key,
            "number": f"LOK-{key:07d}",
            "number_start": f"LOK-{key:07d}"[:-2],
        }

    @property
    def visitors(self) -> int:
        """How many visitors there are: five conversations each."""
        return max(self.conversations // 5, 1)


# Columns that are not named here have what a new row of the model would have.

# Closed but for the newest 2 in 100, 3,000 at the least so that every list is full, and a few old ones. Every third was
# escalated.
_CONVERSATION: Final = """
INSERT INTO bloonio_chat_mirror_conversation (
    id, tenant, relay_id, created_at, fetched_at, synced_at, synced_from, updated_at, facts, visitor_user_id,
    visitor_display_name, locale, channel, status, last_message_at, closed_at, messages_truncated, agent_status,
    operator_id, operator_display_name, claim_count, claimed_at, escalation_id, escalation_reason, escalated_at
)
SELECT
    i, tenant, '66' || lpad(to_hex(i), 22, '0'), began, began, began, 'fetch', began + interval '20 minutes',
    CASE WHEN is_escalated THEN jsonb_build_array(jsonb_build_object(
        'type', 'escalation_triggered', 'at', to_char(began, 'YYYY-MM-DD"T"HH24:MI:SS.US+00:00')
    )) ELSE '[]' END,
    'user-' || lpad((i %% %(visitors)s)::text, 7, '0'), 'Visitor ' || i %% %(visitors)s, 'fr',
    CASE WHEN i %% 50 = 0 THEN 'video' WHEN i %% 10 = 0 THEN 'voice' ELSE 'text' END,
    CASE WHEN is_open THEN 'active' ELSE 'closed' END, began + interval '20 minutes',
    CASE WHEN NOT is_open THEN began + interval '20 minutes' END, i = %(long)s,
    CASE
        WHEN NOT is_escalated THEN '' WHEN NOT is_open THEN 'RESOLVED' WHEN is_taken THEN 'ASSIGNED' ELSE 'WAITING'
    END,
    CASE WHEN is_taken THEN 'op-' || i %% 40 ELSE '' END, CASE WHEN is_taken THEN 'Operator ' || i %% 40 ELSE '' END,
    is_taken::int, CASE WHEN is_taken THEN began + interval '9 minutes' END,
    CASE WHEN is_escalated THEN 'esc-' || i ELSE '' END, CASE WHEN is_escalated THEN 'user_request' ELSE '' END,
    CASE WHEN is_escalated THEN began + interval '5 minutes' END
FROM (
    SELECT *, is_escalated AND NOT (is_open AND i %% 2 = 0) AS is_taken
    FROM (
        SELECT
            i, CASE WHEN i %% 100 = 7 THEN 'shop-b' ELSE 'default' END AS tenant,
            now() - (%(count)s - i) * (interval '365 days' / %(count)s) AS began,
            i > %(count)s - greatest(%(count)s / 50, 3000) OR i %% 1000 = 3 AS is_open, i %% 3 = 0 AS is_escalated
        FROM generate_series(%(first)s, %(last)s) AS i
    ) AS known
) AS to_be
"""

_MESSAGE: Final = """
INSERT INTO bloonio_chat_mirror_message (
    id, tenant, relay_id, created_at, fetched_at, synced_at, synced_from, conversation_id, role, content, confidence
)
SELECT
    (c.id - 1) * %(messages)s + j, c.tenant, '77' || lpad(to_hex((c.id - 1) * %(messages)s + j), 22, '0'),
    c.created_at + j * interval '100 seconds', c.created_at, c.created_at, 'fetch', c.id,
    CASE WHEN j %% 2 = 1 THEN 'visitor' WHEN j > 5 AND c.escalated_at IS NOT NULL THEN 'agent' ELSE 'bot' END,
    'Message ' || j || ' of conversation ' || c.id || ': where is the order that was to arrive on Tuesday, please?',
    CASE WHEN j %% 2 = 0 THEN 0.8 END
FROM bloonio_chat_mirror_conversation AS c, generate_series(1, %(messages)s) AS j
WHERE c.id BETWEEN %(first)s AND %(last)s
"""

_LONG: Final = """
INSERT INTO bloonio_chat_mirror_message (
    id, tenant, relay_id, created_at, fetched_at, synced_at, synced_from, conversation_id, role, content
)
SELECT
    %(count)s::bigint * %(messages)s + j, c.tenant, '78' || lpad(to_hex(j), 22, '0'),
    c.created_at + j * interval '1 second', c.created_at, c.created_at, 'fetch', c.id,
    CASE WHEN j %% 2 = 1 THEN 'visitor' ELSE 'agent' END, 'Message ' || j || ' of a long conversation.'
FROM bloonio_chat_mirror_conversation AS c, generate_series(1, %(more)s) AS j
WHERE c.id = %(long)s
"""

_TICKET: Final = """
INSERT INTO bloonio_chat_mirror_ticket (
    id, tenant, relay_id, created_at, fetched_at, synced_at, synced_from, updated_at, conversation_id, ticket_number,
    user_id, subject, description, priority, status, assignee_user_id, sla_due_at, escalation_id, resolved_at
)
SELECT
    c.id, c.tenant, '88' || lpad(to_hex(c.id), 22, '0'), c.created_at, c.created_at, c.created_at, 'fetch',
    c.updated_at, c.id, 'LOK-' || lpad(c.id::text, 7, '0'), c.visitor_user_id, 'Order ' || c.id || ' is late',
    'The customer waits since Tuesday.', 'p' || CASE WHEN c.id %% 20 = 1 THEN 1 ELSE 2 + c.id %% 3 END,
    CASE WHEN c.status = 'closed' THEN 'closed' WHEN c.id %% 5 = 1 THEN 'in_progress' ELSE 'open' END,
    CASE WHEN c.operator_id = '' AND c.id %% 2 = 1 THEN 'op-' || c.id %% 40 ELSE c.operator_id END,
    CASE
        WHEN c.status = 'closed' THEN c.created_at + interval '1 day'
        ELSE now() + (c.id %% 2000 - 400) * interval '1 minute'
    END,
    c.escalation_id, CASE WHEN c.status = 'closed' THEN c.updated_at END
FROM bloonio_chat_mirror_conversation AS c
WHERE c.id BETWEEN %(first)s AND %(last)s
"""


def fill(connection: Any, sizes: Sizes) -> None:
    """Fill the empty tables of the mirror, and let the database look at what is there."""
    with connection.cursor() as cursor:
        # Once, at the end, is quicker than row by row.
        left_out = [statement for table in _TABLES for statement in _drop_foreign_keys(cursor, table)]
        left_out = [statement for table in _TABLES for statement in _drop_indexes(cursor, table)] + left_out
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE bloonio_chat_mirror_{table} SET UNLOGGED")
            _set_defaults(connection, cursor, table)
        with tqdm(total=sizes.conversations, unit=" conversations", disable=None) as bar:
            for first in range(1, sizes.conversations + 1, _STEP):
                last = min(first + _STEP - 1, sizes.conversations)
                values = {
                    "count": sizes.conversations,
                    "messages": sizes.messages,
                    "visitors": sizes.visitors,
                    "long": sizes.long_key,
                    "first": first,
                    "last": last,
                }
                for statement in (_CONVERSATION, _MESSAGE, _TICKET):
                    cursor.execute(statement, values)
                bar.update(last - first + 1)
        cursor.execute(_LONG, {**values, "more": LONG - sizes.messages})
        for statement in left_out:
            cursor.execute(statement)
        for table in _TABLES:
            cursor.execute(f"VACUUM ANALYZE bloonio_chat_mirror_{table}")


def _drop_indexes(cursor: Any, table: str) -> list[str]:
    """Drop the indexes that hold no constraint, and return the statements that make them again."""
    cursor.execute(
        "SELECT i.indexname, i.indexdef FROM pg_indexes AS i WHERE i.tablename = %s AND NOT EXISTS "
        "(SELECT 1 FROM pg_constraint AS c WHERE c.conname = i.indexname)",
        [f"bloonio_chat_mirror_{table}"],
    )
    found = cursor.fetchall()
    for name, _definition in found:
        cursor.execute(f'DROP INDEX "{name}"')
    return [definition for _name, definition in found]


def _drop_foreign_keys(cursor: Any, table: str) -> list[str]:
    """Drop what checks that rows refer to others, and return the statements that make it again."""
    name = f"bloonio_chat_mirror_{table}"
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass",
        [name],
    )
    found = cursor.fetchall()
    for constraint, _definition in found:
        cursor.execute(f'ALTER TABLE {name} DROP CONSTRAINT "{constraint}"')
    return [f'ALTER TABLE {name} ADD CONSTRAINT "{constraint}" {definition}' for constraint, definition in found]


def _set_defaults(connection: Any, cursor: Any, table: str) -> None:
    """Let the database know what Django gives a column that nothing is said of."""
    for field in apps.get_model("bloonio_chat_mirror", table)._meta.concrete_fields:
        if field.has_default() and not field.generated:
            value = field.get_db_prep_save(field.get_default(), connection)
            column = f'ALTER TABLE bloonio_chat_mirror_{table} ALTER COLUMN "{field.column}" SET DEFAULT %s'
            cursor.execute(column, [value])
