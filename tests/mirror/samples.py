"""A support desk's last weeks, in the mirror's tables: for pictures, and for tests that want something to look at."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, Final

from bloonio_chat import mirror
from bloonio_chat.mirror.facts import stamp
from bloonio_chat.mirror.models import Conversation, Message, Ticket

OPERATORS: Final = [("op-lea", "Léa Martin"), ("op-tom", "Tom Becker"), ("op-ines", "Inês Duarte")]
VISITORS: Final = [
    ("user-1041", "Camille Roux"),
    ("user-2210", "John Okafor"),
    ("user-0317", "Mei-Lin Zhao"),
    ("user-5580", "يوسف حداد"),
    ("user-0092", "Sofía Herrera"),
    ("user-7003", ""),
]
SUBJECTS: Final = [
    "Order 20417 has not arrived",
    "Card was charged twice",
    "Wrong size delivered",
    "Cannot log in after the update",
    "Invoice for the company",
    "Voucher is refused at the checkout",
]
MAIN: Final = "6921f0c2a4b8d3e7f1059c11"


def fact(kind: str, at: datetime, **said: Any) -> dict[str, Any]:
    return {"type": kind, "at": stamp(at), **said}


def make_samples(now: datetime, *, conversations: int = 900) -> Conversation:
    """Fill the tables as of that time, the same each time, and return the conversation that there is most to see of."""
    chance = random.Random(7)
    with mirror.writable():
        for number in range(conversations):
            _make_one(number, now, chance)
        return _make_main(now)


def _make_one(number: int, now: datetime, chance: random.Random) -> None:
    age = timedelta(days=55 * chance.random() ** 1.2, minutes=30)
    began = now - age
    visitor, name = chance.choice(VISITORS)
    operator, operator_name = chance.choice(OPERATORS)
    is_open = age < timedelta(days=2) and chance.random() < 0.6
    is_escalated = chance.random() < 0.45
    escalated = began + timedelta(minutes=chance.uniform(1, 8))
    answered = escalated + timedelta(minutes=chance.expovariate(1 / 14))
    is_taken = is_escalated and (not is_open or chance.random() < 0.6)
    ended = answered + timedelta(minutes=chance.uniform(5, 90))
    conversation = Conversation.objects.create(
        tenant="default",
        relay_id=f"6920{number:020x}",
        visitor_user_id=visitor,
        visitor_display_name=name,
        locale=chance.choice(["fr", "en", "en", "de"]),
        channel=chance.choices(["text", "voice", "video"], [90, 8, 2])[0],
        status="active" if is_open else "closed",
        created_at=began,
        updated_at=min(ended, now),
        last_message_at=min(ended, now),
        closed_at=None if is_open else ended,
        fetched_at=now,
        synced_from="fetch",
        agent_status=("ASSIGNED" if is_open else "RESOLVED") if is_taken else "WAITING" if is_escalated else "",
        operator_id=operator if is_taken else "",
        operator_display_name=operator_name if is_taken else "",
        claim_count=int(is_taken),
        claimed_at=answered if is_taken else None,
        escalated_at=escalated if is_escalated else None,
        escalation_reason=chance.choice(["low_confidence", "user_request"]) if is_escalated else "",
    )
    if is_taken:
        Message.objects.create(
            tenant="default",
            relay_id=f"m{number}",
            conversation=conversation,
            role="agent",
            content="Good morning, I am looking into it.",
            created_at=answered,
            fetched_at=now,
        )
    if is_escalated:
        due = now + timedelta(hours=chance.uniform(-6, 30)) if is_open else escalated + timedelta(hours=24)
        priority = chance.choices(["p1", "p2", "p3", "p4"], [1, 3, 6, 2])[0]
        Ticket.objects.create(
            tenant="default",
            relay_id=f"t{number}",
            conversation=conversation,
            ticket_number=f"LOK-{number:06d}",
            user_id=visitor,
            subject=chance.choice(SUBJECTS),
            description="Handed over by the bot.",
            priority=priority,
            status=chance.choice(["open", "assigned", "in_progress", "waiting_on_user"]) if is_open else "closed",
            assignee_user_id=operator if is_taken else "",
            sla_due_at=due,
            created_at=escalated,
            updated_at=min(ended, now),
            resolved_at=None if is_open else ended,
            closed_at=None if is_open else ended,
            fetched_at=now,
        )


def _make_main(now: datetime) -> Conversation:
    def ago(minutes: float) -> datetime:
        return now - timedelta(minutes=minutes)

    conversation: Conversation = Conversation.objects.create(
        tenant="default",
        relay_id=MAIN,
        visitor_user_id="user-1041",
        visitor_display_name="Camille Roux",
        locale="fr",
        channel="text",
        status="active",
        metadata={"page": "/orders/20417", "cart": {"items": 2, "total": "84.90"}},
        created_at=ago(57),
        updated_at=ago(2),
        last_message_at=ago(2),
        fetched_at=ago(2),
        synced_from="fetch",
        agent_status="ASSIGNED",
        operator_id="op-lea",
        operator_display_name="Léa Martin",
        claim_count=2,
        claimed_at=ago(31),
        escalation_id="esc-88",
        escalation_reason="user_request",
        escalated_at=ago(50),
        facts=[
            fact("conversation_started", ago(57)),
            fact("escalation_triggered", ago(50), escalation="esc-88", reason="user_request"),
            fact("agent_assigned", ago(44), operator="op-tom", name="Tom Becker", count=1),
            fact("agent_released", ago(36), operator="op-tom", count=1),
            fact("agent_assigned", ago(31), operator="op-lea", name="Léa Martin", count=2),
        ],
    )
    said: list[tuple[str, float, str, dict[str, Any]]] = [
        ("visitor", 56, "Bonjour ! Où est ma commande 20417 ? Elle devait arriver hier.", {}),
        (
            "bot",
            55.5,
            "Bonjour Camille ! La commande 20417 a quitté notre entrepôt mardi. "
            "Le transporteur annonce en général un délai de deux jours ouvrés.",
            {
                "confidence": 0.82,
                "citations": [
                    {"chunk_id": "c-3", "document_id": "shipping-times", "document_version": 4, "score": 0.91},
                    {"chunk_id": "c-9", "document_id": "carriers-fr", "document_version": 2, "score": 0.74},
                ],
            },
        ),
        (
            "visitor",
            53,
            "Le suivi n'a pas bougé depuis mardi. Voici une capture.",
            {
                "attachments": [
                    {
                        "type": "image",
                        "mime": "image/png",
                        "size": 184_320,
                        "url": "https://files.example.com/up/tracking-20417.png",
                    }
                ]
            },
        ),
        ("visitor", 50.5, "Je voudrais parler à quelqu'un, s'il vous plaît.", {}),
        ("bot", 50, "Bien sûr, je passe la main à une personne de l'équipe.", {"confidence": 0.97}),
        ("agent", 43, "Bonjour Camille, je regarde tout de suite avec le transporteur.", {}),
        ("system", 36, "The operator has left.", {}),
        (
            "agent",
            29,
            "Re-bonjour, Léa ici.\n\nLe colis est resté bloqué au dépôt de Lyon :\n"
            "- il repart ce soir,\n- livraison demain avant 13 h.\n\nJe vous envoie l'avis du transporteur.",
            {
                "attachments": [
                    {
                        "type": "file",
                        "mime": "application/pdf",
                        "size": 48_112,
                        "url": "https://files.example.com/notices/avis-de-livraison.pdf",
                    },
                    {"type": "file", "mime": "text/html", "size": 12, "url": "javascript:alert(1)"},
                ]
            },
        ),
        ("visitor", 2, "Parfait, merci beaucoup !", {}),
    ]
    Message.objects.bulk_create(
        Message(
            tenant="default",
            relay_id=f"main-{place}",
            conversation=conversation,
            role=role,
            content=content,
            created_at=ago(minutes),
            fetched_at=now,
            **more,
        )
        for place, (role, minutes, content, more) in enumerate(said)
    )
    Ticket.objects.create(
        tenant="default",
        relay_id="ticket-main",
        conversation=conversation,
        ticket_number="LOK-000917",
        user_id="user-1041",
        subject="Order 20417 has not arrived",
        description="The customer waits for order 20417 since Tuesday.\nThe carrier shows no movement.",
        priority="p2",
        status="in_progress",
        assignee_user_id="op-lea",
        sla_due_at=now + timedelta(hours=2, minutes=10),
        tags=["delivery", "carrier"],
        escalation_id="esc-88",
        created_at=ago(49.5),
        updated_at=ago(2),
        fetched_at=now,
        facts=[fact("ticket_created", ago(49.5)), fact("ticket_assigned", ago(31), operator="op-lea")],
    )
    return conversation
