"""What it costs to bring the mirror up to date with a backlog of events, beside an ``update_or_create`` for each.

``python -m benchmarks.projection`` is ``python -m benchmarks --only projection`` with its own options.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, Final

from django.core.management import call_command
from django.db import connections

from benchmarks import project, rounds, scratch, tables
from benchmarks.rounds import Contender, Race, Target, seconds_each
from bloonio_chat.callbacks.ports import Projectable
from bloonio_chat.sdk.events import WebhookEvent

BATCH: Final = 500
TURNS: Final = 2
TARGET: Final = Target(15.0)

# A conversation that a human ends: what is told of it, in its order.
_STORY: Final = (
    "conversation_started",
    "message_received",
    "message_received",
    "escalation_triggered",
    "ticket_created",
    "agent_assigned",
    "ticket_assigned",
    "message_received",
    "agent_released",
    "agent_assigned",
    "message_received",
    "agent_resolved",
    "ticket_resolved",
)
# So many conversations go on at once, and their events come mixed: fewer where each event takes long.
AT_ONCE: Final = 100
NAIVE_AT_ONCE: Final = 10
_NOON: Final = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
_numbers = itertools.count()


class Router:
    """Sends everything to the database that is being measured."""

    alias: ClassVar[str] = "default"

    def db_for_read(self, model: Any, **_: Any) -> str:
        return type(self).alias

    db_for_write = db_for_read


def races() -> Iterator[Race]:
    """Yield what is to be compared, on each database; stop the run if both ways do not end in the same rows."""
    with contextlib.ExitStack() as stack:
        databases = {"PostgreSQL": stack.enter_context(scratch.postgresql_database("projection"))}
        if scratch.has_mariadb():
            databases["MariaDB"] = stack.enter_context(scratch.mariadb_database("projection"))
        project.configure(
            database=databases["PostgreSQL"],
            others={name: its for name, its in databases.items() if name != "PostgreSQL"},
            rooms=["bloonio_chat.mirror"],
            DATABASE_ROUTERS=["benchmarks.projection.Router"],
        )
        for name in databases:
            Router.alias = "default" if name == "PostgreSQL" else name
            call_command("migrate", "bloonio_chat_mirror", database=Router.alias, verbosity=0)
            _require_same_rows()
            yield Race(
                f"The mirror takes in a backlog, {name}: an event",
                [
                    Contender("update_or_create for each row of each event", _run_naive),
                    Contender(f"projected in batches of {BATCH}", _run_ours, TARGET),
                ],
                turns=TURNS,
                compares_rates=True,
            )
        connections.close_all()


# ---- the backlog -----------------------------------------------------------------------------------------------


def make_backlog(at_once: int, times: int = 1) -> list[WebhookEvent]:
    """Return the events of new conversations from first to last, in the order in which they occurred: so many
    conversations at once, and as many again, so many times.
    """
    events: list[WebhookEvent] = []
    for _ in range(times):
        numbers = [next(_numbers) for _ in range(at_once)]
        for step in range(len(_STORY)):
            events += [_event(number, step) for number in numbers]
    return events


def _event(number: int, step: int) -> WebhookEvent:
    kind = _STORY[step]
    fields: dict[str, Any] = {
        "event_type": kind,
        "tenant_id": project.TENANT_ID,
        "occurred_at": _NOON + timedelta(seconds=number * len(_STORY) + step),
        "conversation_id": f"{number:024x}",
        "visitor_user_id": f"user-{number % 1000}",
    }
    if kind == "message_received":
        fields["message_id"] = f"{number:020x}{step:04x}"
    if kind.startswith("agent"):
        fields["claim_count"] = 1 if step < 8 else 2
    if kind.startswith(("agent", "ticket_assigned", "ticket_resolved")):
        fields["agent_user_id"] = f"operator-{number % 20}"
    if kind.startswith(("ticket", "escalation")):
        fields |= {"escalation_id": f"e{number:023x}", "escalation_reason": "user_request"}
    if kind.startswith("ticket"):
        fields |= {"ticket_id": f"t{number:023x}", "ticket_number": f"LOK-{number:06d}"}
    return WebhookEvent.model_validate(fields)


# ---- the contenders --------------------------------------------------------------------------------------------


def _run_naive() -> float:
    return seconds_each(lambda event: _write_naively("naive", event), make_backlog(NAIVE_AT_ONCE))


def _run_ours() -> float:
    # As many stories as fill whole batches.
    events = make_backlog(AT_ONCE, times=math.lcm(AT_ONCE * len(_STORY), BATCH) // (AT_ONCE * len(_STORY)))
    batches = [events[first : first + BATCH] for first in range(0, len(events), BATCH)]
    return seconds_each(lambda batch: _write_ours("ours", batch), batches) / BATCH


def _write_ours(tenant: str, events: Sequence[WebhookEvent]) -> None:
    from bloonio_chat.mirror.projection import project as project_events

    project_events([Projectable(tenant, event) for event in events])


def _write_naively(tenant: str, event: WebhookEvent) -> None:
    """Write what an event says as it comes: right as long as each comes once, in its order, and one at a time."""
    from bloonio_chat.mirror.models import Conversation, Message, Ticket
    from bloonio_chat.mirror.writable import writable

    kind, time = event.event_type.value, event.occurred_at
    values: dict[str, Any] = {"visitor_user_id": event.visitor_user_id, "updated_at": time, "marked_at": time}
    if kind == "escalation_triggered":
        values |= {"escalation_id": event.escalation_id, "escalation_reason": event.escalation_reason}
        values |= {"agent_status": "WAITING", "escalated_at": time}
    if kind == "agent_assigned":
        values |= {"agent_status": "ASSIGNED", "operator_id": event.agent_user_id, "claim_count": event.claim_count}
        values |= {"claimed_at": time, "released_at": None}
    if kind == "agent_released":
        values |= {"agent_status": "WAITING", "operator_id": "", "released_at": time}
    if kind == "agent_resolved":
        values |= {"agent_status": "RESOLVED", "agent_resolved_at": time}
    if kind == "message_received":
        values["last_message_at"] = time
    with writable():
        conversation, _ = Conversation.objects.update_or_create(
            tenant=tenant,
            relay_id=event.conversation_id,
            defaults=values,
            create_defaults={**values, "created_at": time},
        )
        if event.message_id:
            about = {"conversation": conversation, "role": "visitor", "created_at": time, "heard_at": time}
            Message.objects.update_or_create(tenant=tenant, relay_id=event.message_id, defaults=about)
        if event.ticket_id:
            values = {"conversation": conversation, "ticket_number": event.ticket_number, "updated_at": time}
            values |= {"user_id": event.visitor_user_id, "escalation_id": event.escalation_id, "marked_at": time}
            values["status"] = {"ticket_created": "open", "ticket_assigned": "assigned"}.get(kind, "resolved")
            if event.agent_user_id:
                values["assignee_user_id"] = event.agent_user_id
            if kind == "ticket_resolved":
                values["resolved_at"] = time
            Ticket.objects.update_or_create(
                tenant=tenant,
                relay_id=event.ticket_id,
                defaults=values,
                create_defaults={**values, "created_at": time},
            )


def _require_same_rows() -> None:
    """Stop the run unless both ways end in the same rows, as far as the naive one goes."""
    events = make_backlog(AT_ONCE)
    for event in events:
        _write_naively("check naive", event)
    for first in range(0, len(events), BATCH):
        _write_ours("check ours", events[first : first + BATCH])
    naive, ours = _rows("check naive"), _rows("check ours")
    if naive != ours or len(naive) != AT_ONCE * (2 + _STORY.count("message_received")):
        raise RuntimeError("The two ways did not end in the same rows.")


_OF_CONVERSATIONS: Final = (
    "visitor_user_id",
    "created_at",
    "updated_at",
    "last_message_at",
    "agent_status",
    "operator_id",
    "claim_count",
    "claimed_at",
    "released_at",
    "agent_resolved_at",
    "escalation_id",
    "escalation_reason",
    "escalated_at",
)
_OF_MESSAGES: Final = ("conversation__relay_id", "role", "created_at", "heard_at")
_OF_TICKETS: Final = (
    "conversation__relay_id",
    "ticket_number",
    "user_id",
    "status",
    "assignee_user_id",
    "escalation_id",
    "created_at",
    "updated_at",
    "resolved_at",
)


def _rows(tenant: str) -> list[tuple[Any, ...]]:
    from bloonio_chat.mirror.models import Conversation, Message, Ticket

    found: list[tuple[Any, ...]] = []
    for model, names in ((Conversation, _OF_CONVERSATIONS), (Message, _OF_MESSAGES), (Ticket, _OF_TICKETS)):
        found += model._default_manager.filter(tenant=tenant).order_by("relay_id").values_list("relay_id", *names)
    return found


def main(arguments: Sequence[str] | None = None, *, show: Callable[[str], object] = print) -> int:
    """Measure, and print the tables; the exit status is 1 where a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.projection", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how many rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="one turn in each round: a first impression")
    options = parser.parse_args(arguments)
    results = []
    for race in races():
        results.append(rounds.run(race, rounds=options.rounds, quick=options.quick, progress=lambda _: None))
        show(tables.as_text(results[-1]))
    missed = tables.missed(results)
    show("\n".join(["Missed:", *missed]) if missed else "No target was missed.")
    return 1 if missed else 0


if __name__ == "__main__":
    # Under its name, by which Django finds the router: as __main__ it would be there twice.
    from benchmarks import projection

    sys.exit(projection.main())
