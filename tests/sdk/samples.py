"""For each of the thirteen operations: a call with every argument, what it sends, and an answer (protocol §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from tests.secrets import MARK, TENANT_ID

TOKEN: Final = f"eyJhbGciOiJIUzI1NiJ9.{MARK}.c2lnbmF0dXJl"
AT: Final = "2026-01-02T03:04:05.678Z"
AT_WITH_OFFSET: Final = "2026-01-02T05:04:05+02:00"

CONVERSATION: Final[dict[str, Any]] = {
    "id": "6650a1b2c3d4e5f601234567",
    "tenant_id": TENANT_ID,
    "visitor_user_id": "user-123",
    "visitor_display_name": "Zoé",
    "locale": "fr",
    "channel": "text",
    "status": "active",
    "metadata": {"cart": 3},
    "created_at": AT,
    "updated_at": AT_WITH_OFFSET,
    "last_message_at": None,
    "closed_at": None,
}
ATTACHMENT: Final[dict[str, Any]] = {"type": "image", "mime": "image/png", "size": 12, "url": "https://cdn.test/a.png"}
MESSAGE: Final[dict[str, Any]] = {
    "id": "m1",
    "conversation_id": "c1",
    "tenant_id": TENANT_ID,
    "role": "bot",
    "content": "Où est ma commande ? 🙂",
    "attachments": [ATTACHMENT],
    "citations": [{"chunk_id": "k1", "document_id": "d1", "document_version": 2, "score": 0.5}],
    "confidence": 0.9,
    "created_at": AT,
}
TICKET: Final[dict[str, Any]] = {
    "id": "t1",
    "tenant_id": TENANT_ID,
    "ticket_number": "LOK-000123",
    "user_id": "user-123",
    "subject": "Late",
    "description": "It is late",
    "priority": "p2",
    "status": "in_progress",
    "assignee_user_id": "op-1",
    "sla_due_at": AT,
    "tags": ["late"],
    "conversation_id": "c1",
    "escalation_id": "e1",
    "created_at": AT,
    "updated_at": AT,
    "resolved_at": None,
    "closed_at": None,
}
DOCUMENT: Final[dict[str, Any]] = {
    "id": "d1",
    "tenant_id": TENANT_ID,
    "title": "Returns",
    "body": "Within 14 days.",
    "category": "general",
    "language": "fr",
    "tags": ["a"],
    "status": "draft",
    "version": 1,
    "created_at": AT,
    "updated_at": AT,
}
TENANT_INFO: Final[dict[str, Any]] = {
    "tenant_id": TENANT_ID,
    "tenant_name": "Shop",
    "status": "active",
    "plan_tier": "pro",
    "allowed_origins": ["https://shop.test"],
    "voice_enabled": True,
    "video_enabled": False,
    "file_upload_enabled": True,
    "multi_channel_enabled": False,
    "monthly_msg_quota": 1000,
    "storage_gb_quota": 1.5,
    "agent_seats": 3,
}
OPERATOR: Final[dict[str, Any]] = {"operator_id": "op-1", "created": True, "email": "op@shop.test"}
OPERATOR_TOKEN: Final[dict[str, Any]] = {
    "operator_id": "op-1",
    "display_name": "Ann",
    "operator_token": TOKEN,
    "expires_at": AT,
    "tenant_id": TENANT_ID,
    "routing_keys": ["store-1"],
}
CONTACT_TICKET: Final[dict[str, Any]] = {"conversation_id": "c1", "status": "open", "tenant_id": TENANT_ID}

HOSTILE_ID: Final = "a&b=c#d/?%41 +é;\\"


@dataclass(frozen=True)
class Sample:
    """``kwargs`` are all keywords, ``least`` what is required; ``sent`` is the body of the one, ``least_sent`` of the
    other."""

    name: str
    method: str
    path: str
    answer: Any = field(repr=False)
    args: tuple[str, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    least: dict[str, Any] = field(default_factory=dict)
    least_query: dict[str, str] | None = None
    sent: dict[str, Any] | None = None
    least_sent: dict[str, Any] | None = None
    repeatable: bool = False
    holds_token: bool = False


SAMPLES: Final = (
    Sample(
        "create_conversation",
        "POST",
        "/create/conversation",
        CONVERSATION,
        kwargs={
            "visitor_user_id": "user-123",
            "visitor_display_name": "Zoé",
            "locale": "en",
            "channel": "voice",
            "visitor_email": "zoe@mail.test",
            "visitor_phone": "+33 1",
            "metadata": {"cart": {"items": [1, 2.5, None]}},
        },
        sent={
            "visitor_user_id": "user-123",
            "visitor_display_name": "Zoé",
            "locale": "en",
            "channel": "voice",
            "visitor_email": "zoe@mail.test",
            "visitor_phone": "+33 1",
            "metadata": {"cart": {"items": [1, 2.5, None]}},
        },
        least={"visitor_user_id": "user-123"},
        least_sent={"visitor_user_id": "user-123", "locale": "fr", "channel": "text"},
    ),
    Sample(
        "fetch_conversation",
        "GET",
        "/fetch/conversation",
        CONVERSATION,
        args=(HOSTILE_ID,),
        query={"conversation_id": HOSTILE_ID},
        repeatable=True,
    ),
    Sample(
        "list_conversations",
        "GET",
        "/fetch/conversations",
        [CONVERSATION],
        kwargs={"limit": 5, "offset": 7, "visitor_user_id": HOSTILE_ID},
        query={"limit": "5", "offset": "7", "visitor_user_id": HOSTILE_ID},
        least_query={"limit": "20", "offset": "0"},
        repeatable=True,
    ),
    Sample(
        "send_message",
        "POST",
        "/add/message",
        MESSAGE,
        args=(HOSTILE_ID,),
        kwargs={"role": "agent", "content": "Où est ma commande ? 🙂", "attachments": [ATTACHMENT]},
        query={"conversation_id": HOSTILE_ID},
        sent={"role": "agent", "content": "Où est ma commande ? 🙂", "attachments": [ATTACHMENT]},
        least={"content": "x"},
        least_sent={"role": "visitor", "content": "x"},
    ),
    Sample(
        "list_messages",
        "GET",
        "/fetch/messages",
        [MESSAGE],
        args=(HOSTILE_ID,),
        kwargs={"limit": 3},
        query={"conversation_id": HOSTILE_ID, "limit": "3"},
        least_query={"conversation_id": HOSTILE_ID, "limit": "100"},
        repeatable=True,
    ),
    Sample(
        "list_tickets",
        "GET",
        "/fetch/tickets",
        [TICKET],
        kwargs={"limit": 1, "offset": 2, "status": "in_progress", "assignee_user_id": HOSTILE_ID},
        query={"limit": "1", "offset": "2", "status": "in_progress", "assignee_user_id": HOSTILE_ID},
        least_query={"limit": "20", "offset": "0"},
        repeatable=True,
    ),
    Sample(
        "fetch_ticket",
        "GET",
        "/fetch/ticket",
        TICKET,
        args=(HOSTILE_ID,),
        query={"ticket_id": HOSTILE_ID},
        repeatable=True,
    ),
    Sample(
        "ingest_knowledge",
        "POST",
        "/ingest/knowledge",
        DOCUMENT,
        kwargs={"title": "Returns", "body": "Within", "category": "faq", "language": "en", "tags": ["a", "b"]},
        sent={"title": "Returns", "body": "Within", "category": "faq", "language": "en", "tags": ["a", "b"]},
        least={"title": "R", "body": "W"},
        least_sent={"title": "R", "body": "W", "category": "general", "language": "fr"},
    ),
    Sample(
        "mint_visitor_token",
        "POST",
        "/mint/visitor-token",
        {"token": TOKEN, "expires_at": AT},
        kwargs={"visitor_user_id": "user-123", "visitor_email_hash": "sha256:" + "0" * 64, "ttl_seconds": 60},
        sent={"visitor_user_id": "user-123", "visitor_email_hash": "sha256:" + "0" * 64, "ttl_seconds": 60},
        least={"visitor_user_id": "user-123"},
        least_sent={"visitor_user_id": "user-123", "ttl_seconds": 3600},
        holds_token=True,
    ),
    Sample("fetch_tenant_info", "GET", "/fetch/tenant-info", TENANT_INFO, repeatable=True),
    Sample(
        "provision_operator",
        "POST",
        "/provision/operator",
        OPERATOR,
        kwargs={
            "email": "op@shop.test",
            "display_name": "Ann",
            "routing_keys": ["store-1"],
            "avatar_url": "https://cdn.test/a.png",
        },
        sent={
            "email": "op@shop.test",
            "display_name": "Ann",
            "routing_keys": ["store-1"],
            "avatar_url": "https://cdn.test/a.png",
        },
        least={"email": "op@shop.test", "display_name": "Ann"},
        least_sent={"email": "op@shop.test", "display_name": "Ann"},
        repeatable=True,
    ),
    Sample(
        "fetch_operator_token",
        "POST",
        "/fetch/operator-token",
        OPERATOR_TOKEN,
        kwargs={"email": "op@shop.test"},
        sent={"email": "op@shop.test"},
        least={"email": "op@shop.test"},
        least_sent={"email": "op@shop.test"},
        repeatable=True,
        holds_token=True,
    ),
    Sample(
        "create_contact_ticket",
        "POST",
        "/create/contact-ticket",
        CONTACT_TICKET,
        kwargs={
            "customer_email": "zoe@mail.test",
            "customer_name": "Zoé",
            "subject": "Hi",
            "message": "Hello",
            "company": "Acme",
            "source": "web",
            "locale": "en",
            "routing_key": "store-1",
            "metadata": {"a": 1},
        },
        sent={
            "customer_email": "zoe@mail.test",
            "customer_name": "Zoé",
            "subject": "Hi",
            "message": "Hello",
            "company": "Acme",
            "source": "web",
            "locale": "en",
            "routing_key": "store-1",
            "metadata": {"a": 1},
        },
        least={"customer_email": "z@m.test", "customer_name": "Z", "subject": "S", "message": "M"},
        least_sent={"customer_email": "z@m.test", "customer_name": "Z", "subject": "S", "message": "M"},
    ),
)
BY_NAME: Final = {sample.name: sample for sample in SAMPLES}
