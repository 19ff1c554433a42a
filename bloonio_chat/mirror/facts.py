"""What events said of one row, kept as a set that only grows; columns that only events tell of are computed from it.

A fact is a small JSON object: ``type`` and ``at`` of its event and what else it said, nothing where it said nothing.
Two deliveries of one event are one fact, and a union does not care for order, so neither does anything computed here.
The set is a list in the order of time; of each type only the newest are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from bloonio_chat.sdk.enums import AgentStatus, TicketStatus, WebhookEventType
from bloonio_chat.sdk.events import LONGEST_ID, WebhookEvent

Fact = dict[str, Any]

# Of each type; far more than operators hand a conversation to and fro.
MOST_FACTS: Final = 32

STARTED: Final = WebhookEventType.CONVERSATION_STARTED.value
MESSAGE: Final = WebhookEventType.MESSAGE_RECEIVED.value
ESCALATED: Final = WebhookEventType.ESCALATION_TRIGGERED.value
ASSIGNED: Final = WebhookEventType.AGENT_ASSIGNED.value
RELEASED: Final = WebhookEventType.AGENT_RELEASED.value
RESOLVED: Final = WebhookEventType.AGENT_RESOLVED.value
TICKET_CREATED: Final = WebhookEventType.TICKET_CREATED.value
TICKET_ASSIGNED: Final = WebhookEventType.TICKET_ASSIGNED.value
TICKET_RESOLVED: Final = WebhookEventType.TICKET_RESOLVED.value

# Where two happened at one time, or within one claim, the later step wins.
_STEP: Final = {
    ASSIGNED: 1,
    RELEASED: 2,
    RESOLVED: 3,
    TICKET_CREATED: 1,
    TICKET_ASSIGNED: 2,
    TICKET_RESOLVED: 3,
}
_AGENT_STATUS: Final = {
    ASSIGNED: AgentStatus.ASSIGNED.value,
    RELEASED: AgentStatus.WAITING.value,
    RESOLVED: AgentStatus.RESOLVED.value,
}
_TICKET_STATUS: Final = {
    TICKET_CREATED: TicketStatus.OPEN.value,
    TICKET_ASSIGNED: TicketStatus.ASSIGNED.value,
    TICKET_RESOLVED: TicketStatus.RESOLVED.value,
}
TICKET_DONE: Final = (TicketStatus.RESOLVED.value, TicketStatus.CLOSED.value)
TICKET_TYPES: Final = frozenset(_TICKET_STATUS)
_KNOWN_TYPES: Final = frozenset(each.value for each in WebhookEventType)


class OperatorState(NamedTuple):
    """What a conversation's columns say of the operators' queue."""

    agent_status: str
    operator_id: str
    operator_display_name: str
    claim_count: int | None
    claimed_at: datetime | None
    released_at: datetime | None
    agent_resolved_at: datetime | None
    escalation_id: str
    escalation_reason: str
    escalated_at: datetime | None


class TicketState(NamedTuple):
    """What a ticket's columns say that events tell of too."""

    status: str
    assignee_user_id: str
    resolved_at: datetime | None


def stamp(time: datetime) -> str:
    """Return a time as a text, such that texts are in the order of their times."""
    return time.astimezone(timezone.utc).isoformat(timespec="microseconds")


def fact_of(event: WebhookEvent) -> Fact:
    """Return what an event says of its conversation, or of its ticket."""
    said: Fact = {"type": event.event_type.value[:LONGEST_ID], "at": stamp(event.occurred_at)}
    _say(said, "escalation", event.escalation_id)
    _say(said, "reason", event.escalation_reason)
    _say(said, "operator", event.agent_user_id or event.operator_id)
    if event.event_type in _AGENT_STATUS:
        _say(said, "status", event.status)
        _say(said, "name", event.operator_display_name)
        if event.claim_count is not None:
            said["count"] = event.claim_count
        for name in ("claimed_at", "released_at", "resolved_at"):
            time = getattr(event, name)
            if time is not None:
                said[name] = stamp(time)
    elif event.event_type not in _TICKET_STATUS:
        # These tell two events of one time apart.
        _say(said, "message", event.message_id)
        _say(said, "ticket", event.ticket_id)
    return said


def add(facts: list[Fact], fact: Fact) -> bool:
    """Add a fact to a row's, and return whether it is news.

    One that is older than all that are kept of its type is taken for news each time: it can't be told any more.
    """
    if not facts or facts[-1]["at"] < fact["at"]:
        facts.append(fact)
    elif fact in facts:
        return False
    else:
        facts.append(fact)
        facts.sort(key=_order)
    if len(facts) > MOST_FACTS:
        bucket = _bucket(fact)
        alike = [each for each in facts if _bucket(each) == bucket]
        if len(alike) > MOST_FACTS:
            facts.remove(alike[0])
    return True


def operator_state(facts: Sequence[Fact]) -> OperatorState:
    """Return what a conversation's facts amount to.

    Bodies that count claims are ordered by ``claim_count`` and the step within the claim, the others by time; the
    newer of the two newest holds. An escalation puts a conversation into the queue that is in nobody's hands, or
    that was resolved before.
    """
    of_agents = [fact for fact in facts if fact["type"] in _AGENT_STATUS]
    escalation = max((fact for fact in facts if fact["type"] == ESCALATED), key=_order, default=None)
    said = dict(_latest_said(of_agents, "escalation", "reason"))
    if escalation is not None:
        said.update((name, escalation[name]) for name in ("escalation", "reason") if name in escalation)
    about = (said.get("escalation", ""), said.get("reason", ""), _time(escalation, "at"))
    claims = max((fact["count"] for fact in of_agents if "count" in fact), default=None)
    held = _holding(of_agents)
    if held is None or (held["type"] == RESOLVED and escalation is not None and escalation["at"] > held["at"]):
        waiting = "" if escalation is None else AgentStatus.WAITING.value
        return OperatorState(waiting, "", "", claims, None, None, None, *about)
    operator = "" if held["type"] == RELEASED else held.get("operator", "")
    return OperatorState(
        held.get("status", _AGENT_STATUS[held["type"]]),
        operator,
        _name_of(operator, of_agents),
        claims,
        _time(held, "claimed_at") or _claimed_at(held, of_agents),
        _time(held, "released_at") or (_time(held, "at") if held["type"] == RELEASED else None),
        _time(held, "resolved_at") or (_time(held, "at") if held["type"] == RESOLVED else None),
        *about,
    )


def ticket_state(facts: Sequence[Fact], base: Fact, as_of: datetime | None) -> TicketState:
    """Return what a ticket's facts amount to on top of ``base``, what its fetched object said; empty for none.

    Only what happened after ``as_of``, up to which the object has it all, counts.
    """
    since = "" if as_of is None else stamp(as_of)
    newer = [fact for fact in facts if fact["type"] in _TICKET_STATUS and fact["at"] > since]
    status: str = base.get("status", "")
    resolved_at: str | None = base.get("resolved_at")
    for fact in sorted(newer, key=_step_order):
        if fact["type"] == TICKET_RESOLVED:
            if status not in TICKET_DONE:
                status, resolved_at = TicketStatus.RESOLVED.value, fact["at"]
        elif fact["type"] == TICKET_ASSIGNED or not status:
            status, resolved_at = _TICKET_STATUS[fact["type"]], None
    assignee = str({**base, **_latest_said(newer, "operator")}.get("operator", ""))
    return TicketState(status, assignee, None if resolved_at is None else datetime.fromisoformat(resolved_at))


def _holding(of_agents: Sequence[Fact]) -> Fact | None:
    """Return the agent's event that holds now."""
    counted = max((fact for fact in of_agents if "count" in fact), key=_claim_order, default=None)
    timed = max((fact for fact in of_agents if "count" not in fact), key=_step_order, default=None)
    if counted is None or (timed is not None and timed["at"] > counted["at"]):
        return timed
    return counted


def _claimed_at(held: Fact, of_agents: Sequence[Fact]) -> datetime | None:
    """Return when the claim began whose last event this is."""
    claims = [fact["at"] for fact in of_agents if fact["type"] == ASSIGNED and fact["at"] <= held["at"]]
    return datetime.fromisoformat(max(claims)) if claims else None


def _name_of(operator: str, of_agents: Sequence[Fact]) -> str:
    """Return the operator's name; only one of the events says it."""
    return str(_latest_said([fact for fact in of_agents if fact.get("operator") == operator], "name").get("name", ""))


def _latest_said(facts: Sequence[Fact], *names: str) -> Fact:
    """Return what was said last under each of these names."""
    said: Fact = {}
    for fact in facts:
        said.update((name, fact[name]) for name in names if name in fact)
    return said


def _say(said: Fact, name: str, text: str | None) -> None:
    if text:
        said[name] = str(text)[:LONGEST_ID]


def _time(fact: Fact | None, name: str) -> datetime | None:
    return datetime.fromisoformat(fact[name]) if fact is not None and name in fact else None


def _bucket(fact: Fact) -> str:
    return str(fact["type"]) if fact["type"] in _KNOWN_TYPES else ""


def _content(fact: Fact) -> tuple[tuple[str, Any], ...]:
    # Of two facts, values are only compared under one name, and so are of one type.
    return tuple(sorted(fact.items()))


def _order(fact: Fact) -> tuple[Any, ...]:
    return fact["at"], _content(fact)


def _step_order(fact: Fact) -> tuple[Any, ...]:
    return fact["at"], _STEP[fact["type"]], _content(fact)


def _claim_order(fact: Fact) -> tuple[Any, ...]:
    return fact["count"], _STEP[fact["type"]], fact["at"], _content(fact)
