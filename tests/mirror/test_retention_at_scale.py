"""``bloonio_prune`` over many rows: how many of them the database reads for each of its queries."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from bloonio_chat import mirror
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from bloonio_chat.mirror.retention import prune
from bloonio_chat.mirror.times import aware_now
from tests import plans
from tests.mirror.at_relay import Lines

pytestmark = [
    # Transactional, since MariaDB's ANALYZE commits.
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("database"),
]

NOW = aware_now()
OLD, YOUNG, MESSAGES_EACH = 1500, 1500, 3
# As much as people write: of rows that are next to nothing, reading all of them costs hardly more than looking some up.
WIDE = "x" * 1000
# All messages of a hundred conversations, and some more.
MOST_READ = 100 * MESSAGES_EACH + 100


def ago(number: int) -> datetime:
    """Of numbered rows, the oldest first; a month ago is between those that are old and those that are not."""
    return NOW - timedelta(days=30, minutes=OLD - number)


def fill(database: str) -> None:
    """Write conversations with a ticket each, and tickets alone; two of three of the old ones have something young."""
    with mirror.writable():
        Conversation.objects.bulk_create(
            Conversation(
                tenant="default",
                relay_id=f"c{number}",
                updated_at=ago(number),
                synced_at=ago(number),
                last_message_at=ago(number),
                metadata={"note": WIDE},
            )
            for number in range(OLD + YOUNG)
        )
        pks = dict(Conversation.objects.values_list("relay_id", "pk"))
        Message.objects.bulk_create(
            Message(
                tenant="default",
                relay_id=f"m{number} {each}",
                conversation_id=pks[f"c{number}"],
                created_at=NOW if number % 3 == 1 and each == 0 else ago(number),
                content=WIDE,
            )
            for number in range(OLD + YOUNG)
            for each in range(MESSAGES_EACH)
        )
        Ticket.objects.bulk_create(
            Ticket(
                tenant="default",
                relay_id=f"t{number} {kind}",
                conversation_id=pks[f"c{number}"] if kind == "of one" else None,
                updated_at=NOW if number % 3 == 2 and kind == "of one" else ago(number),
                synced_at=ago(number),
                extra={"note": WIDE},
            )
            for number in range(OLD + YOUNG)
            for kind in ("of one", "alone")
        )
    with connections[database].cursor() as cursor:
        for model in (Conversation, Message, Ticket):
            table = model._meta.db_table
            cursor.execute(f"ANALYZE TABLE {table}" if database == "mariadb" else f"ANALYZE {table}")


def rows_read(database: str, cursor: Any, sql: str, parameters: Any) -> Counter[str]:
    """Return how many rows of which table a query reads; on SQLite, which does not tell, none or all."""
    if database == "sqlite":
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        plan = " ".join(str(row[-1]) for row in cursor.fetchall())
        # A page goes on where the one before it ended, and not at the beginning of the index.
        is_bad = "SCAN " in plan or ("LIMIT 100" in sql and '"updated_at" >' in sql and "(updated_at>? AND" not in plan)
        return Counter({plan: OLD + YOUNG if is_bad else 0})
    return plans.rows_read(database, cursor, sql, parameters)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("dry_run", [True, False], ids=["counting", "deleting"])
def test_a_query_reads_what_is_of_a_hundred_rows_and_no_table(settings: Any, database: str, dry_run: bool) -> None:
    settings.BLOONIO_CHAT_MIRROR_RETENTION_DAYS = 30
    fill(database)
    queries: list[tuple[str, Counter[str]]] = []

    def look(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and "bloonio_chat_mirror" in sql:
            with context["connection"].cursor() as cursor:
                queries.append((sql, rows_read(database, cursor, sql, parameters)))
        return execute(sql, parameters, many, context)

    with connections[database].execute_wrapper(look):
        assert not Conversation.objects.filter(locale="xx").exists()
        assert max(queries.pop()[1].values()) == OLD + YOUNG, "what reads all is not seen"
        counts = prune(dry_run, Lines(), now=lambda: NOW)
    past = OLD // 3
    assert counts == {
        "deleted_conversations": past,
        "deleted_messages": past * MESSAGES_EACH,
        "deleted_tickets": past + OLD,
        "protected": 0,
    }
    assert Conversation.objects.count() == OLD + YOUNG - (0 if dry_run else past)
    assert len(queries) > 2 * OLD // 100
    for sql, read in queries:
        assert max(read.values()) <= MOST_READ, (sql, read)
