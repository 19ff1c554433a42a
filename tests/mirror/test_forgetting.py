"""``bloonio_forget``: one person is gone from every table, by the whole id, and nothing brings the person back."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction

from bloonio_chat import mirror
from bloonio_chat.callbacks.ports import Projectable, ports
from bloonio_chat.mirror import projection
from bloonio_chat.mirror.forgetting import MirrorForgetting
from bloonio_chat.mirror.hydration import hydrate
from bloonio_chat.mirror.models import Conversation, ForgottenVisitor, Message, Ticket, visitor_digest
from bloonio_chat.mirror.projection import project
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.verifying import verify
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox import objects as relays
from tests.mirror.at_relay import TENANT, Lines, Time, escalated, event_of, tell
from tests.mirror.referring import referring
from tests.mirror.test_sync import OPTIONS

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database", "many_calls")]

PERSON = "user-12"
# Whatever a person's rows hold is marked, so that a trace of it is seen wherever it is.
TRACE = "Jeanne"
OTHERS = ["user-1", "user-123", "USER-12", "user-12 ", "%", "user_12"]


def chatted(relay: SandboxRelay, visitor: str, name: str = "somebody") -> tuple[relays.Conversation, relays.Ticket]:
    conversation = relay.open_conversation(visitor, visitor_display_name=name, metadata={"of": name})
    relay.say(conversation.id, f"I am {name}")
    ticket = escalated_of(relay, conversation)
    ticket.subject = ticket.description = f"{name} asks"
    relay.claim(conversation.id)
    return conversation, ticket


def escalated_of(relay: SandboxRelay, conversation: relays.Conversation) -> relays.Ticket:
    if conversation.id not in relay.escalations:
        return escalated(relay, conversation)
    return relay.tickets[relay.escalations[conversation.id].ticket_id]


@pytest.fixture
def mirrored(relay: SandboxRelay, its_time: Time) -> SandboxRelay:
    """Two conversations of the person, and one each of people whose ids are nearly the same; all fetched."""
    for visitor in (PERSON, PERSON, *OTHERS):
        conversation, ticket = chatted(relay, visitor, f"{TRACE}/{PERSON}" if visitor == PERSON else "somebody")
        tell(relay, "conversation-started", conversation)
        tell(relay, "ticket-created", ticket, escalation_reason="user_request")
        tell(relay, "agent-assigned", conversation, agent_user_id="op1", operator_display_name="Olga")
    hydrate(99, clock=its_time)
    its_time.now += 600
    return relay


def dump() -> str:
    """Everything that the mirror's tables hold."""
    return "\n".join(
        json.dumps(row, cls=DjangoJSONEncoder)
        for model in apps.get_app_config("bloonio_chat_mirror").get_models()
        for row in model._default_manager.values()
    )


def forget(visitor: str = PERSON, **options: Any) -> dict[str, int]:
    room = ports.forget["bloonio_chat_mirror"]
    tenant = options.get("tenant")
    conversations = options.pop("conversations", None) or room.conversations(tenant=tenant, visitor=visitor)
    given = {"tenant": None, "dry_run": False, **options}
    return dict(room.erase(visitor=visitor, conversations=conversations, **given))


def test_nothing_of_the_person_is_left_and_everything_of_the_others(mirrored: SandboxRelay) -> None:
    of_others = Message.objects.exclude(conversation__visitor_user_id=PERSON).count()
    of_person = Message.objects.count() - of_others
    assert of_person >= 2
    assert forget() == {"erased_conversations": 2, "deleted_messages": of_person, "erased_tickets": 2}
    assert TRACE not in dump()
    assert f'"{PERSON}"' not in dump()
    assert Message.objects.count() == of_others
    assert set(Conversation.objects.values_list("visitor_user_id", flat=True)) == {"", *OTHERS}
    for model in (Conversation, Ticket):
        for row in model._default_manager.exclude(forgotten_at=None):
            kept = {name for name, value in model._default_manager.values().get(pk=row.pk).items() if value}
            assert kept <= {
                "id", "tenant", "relay_id", "created_at", "updated_at", "synced_at", "synced_from", "forgotten_at"
            }  # fmt: skip
    assert forget() == {"erased_conversations": 0, "deleted_messages": 0, "erased_tickets": 0}


@pytest.mark.parametrize("visitor", ["user", "ser-12", "user-12%", "user-12\t", "USER-12 "])
def test_a_part_of_an_id_is_nobodys(mirrored: SandboxRelay, visitor: str) -> None:
    before = Conversation.objects.filter(forgotten_at=None).count()
    assert forget(visitor) == {"erased_conversations": 0, "deleted_messages": 0, "erased_tickets": 0}
    assert Conversation.objects.filter(forgotten_at=None).count() == before


def test_an_empty_id_is_refused(mirrored: SandboxRelay) -> None:
    with pytest.raises(ValueError, match="nobody"):
        forget("")


def test_a_dry_run_counts_and_leaves_everything(mirrored: SandboxRelay) -> None:
    before = dump()
    counts = forget(dry_run=True)
    assert dump() == before
    assert counts == forget()


def test_nothing_brings_the_person_back(mirrored: SandboxRelay, its_time: Time) -> None:
    forget()
    [conversation, *_] = [each for each in mirrored.conversations.values() if each.visitor_user_id == PERSON]
    ticket = escalated_of(mirrored, conversation)
    before = dump()
    # Late events, which say who it is or do not, of things that were known and that were not.
    earlier = (aware_now() - timedelta(hours=1)).isoformat()
    tell(mirrored, "message-received", conversation, message_id="late")
    tell(mirrored, "ticket-resolved", ticket)
    tell(mirrored, "agent-released", conversation, visitor_user_id=None, operator_display_name=TRACE)
    tell(mirrored, "agent-assigned", conversation, visitor_user_id=None, operator_display_name=TRACE)
    # What is fetched because of them, and what the relay lists.
    hydrate(99, clock=its_time)
    assert dump() == before
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    unknown = relays.Conversation(
        "never seen", mirrored.tenant_id, PERSON, "en", "text", conversation.created_at, conversation.created_at
    )
    tell(mirrored, "conversation-started", unknown, occurred_at=earlier)
    assert TRACE not in dump()
    assert f'"{PERSON}"' not in dump()
    assert not Message.objects.filter(conversation__forgotten_at__isnull=False).exists()
    its_time.now += 600
    counts = verify({"tenant": None, "sample": None}, Lines(), clock=its_time, sleep=its_time.sleep)
    assert counts["missing"] == counts["stale"] == counts["extra"] == 0


def test_a_conversation_that_was_never_mirrored_is_not_either(relay: SandboxRelay, its_time: Time) -> None:
    conversation, ticket = chatted(relay, PERSON, TRACE)
    forget()
    # An operator's event does not say who the visitor is.
    tell(relay, "agent-assigned", conversation, visitor_user_id=None)
    assert Conversation.objects.get().forgotten_at is None
    hydrate(99, clock=its_time)
    assert Conversation.objects.get().forgotten_at is not None
    tell(relay, "ticket-created", ticket, visitor_user_id=None)
    hydrate(99, clock=its_time)
    assert TRACE not in dump()
    assert not Message.objects.exists()


def test_a_returning_customer_is_mirrored_again(mirrored: SandboxRelay, its_time: Time) -> None:
    forget()
    conversation, ticket = chatted(mirrored, PERSON, "another name")
    tell(mirrored, "conversation-started", conversation)
    tell(mirrored, "ticket-created", ticket)
    hydrate(99, clock=its_time)
    row = Conversation.objects.get(relay_id=conversation.id)
    assert (row.visitor_user_id, row.visitor_display_name) == (PERSON, "another name")
    assert row.messages.exists()
    assert row.tickets.get().subject == "another name asks"
    # And may be forgotten again.
    assert forget()["erased_conversations"] == 1
    assert "another name" not in dump()


def test_only_the_tenant_that_was_named(mirrored: SandboxRelay) -> None:
    conversation = next(each for each in mirrored.conversations.values() if each.visitor_user_id == PERSON)
    project([Projectable("shop-b", event_of(mirrored, "conversation-started", conversation))])
    assert forget(tenant=TENANT)["erased_conversations"] == 2
    assert Conversation.objects.get(visitor_user_id=PERSON).tenant == "shop-b"
    assert list(ForgottenVisitor.objects.values_list("tenant", flat=True)) == [TENANT]


def test_what_another_room_knows_is_erased_too_unless_it_is_somebody_elses(mirrored: SandboxRelay) -> None:
    other = next(each for each in mirrored.conversations.values() if each.visitor_user_id == "user-1")
    nameless = relays.Conversation("nameless", mirrored.tenant_id, "", "en", "text", other.created_at, other.created_at)
    tell(mirrored, "agent-assigned", nameless, visitor_user_id=None, operator_display_name="Olga")
    given = {(TENANT, other.id), (TENANT, "nameless"), (TENANT, "elsewhere"), ("shop-b", "elsewhere")}
    counts = forget(tenant=TENANT, conversations=given)
    assert counts["erased_conversations"] == 3
    assert Conversation.objects.get(relay_id=other.id).forgotten_at is None
    assert Conversation.objects.get(relay_id="nameless").forgotten_at is not None
    # Nothing of it was here; now nothing ever comes.
    assert Conversation.objects.get(relay_id="elsewhere").tenant == TENANT
    tell(
        mirrored,
        "agent-assigned",
        relays.Conversation("elsewhere", "", "", "en", "text", other.created_at, other.created_at),
        visitor_user_id=None,
        operator_display_name=TRACE,
    )
    assert TRACE not in dump()


def test_a_ticket_that_belongs_to_no_conversation(relay: SandboxRelay, its_time: Time) -> None:
    _, ticket = chatted(relay, PERSON, TRACE)
    ticket.conversation_id = None
    tell(relay, "ticket-created", ticket)
    hydrate(99, clock=its_time)
    assert Ticket.objects.get().subject == f"{TRACE} asks"
    assert forget() == {"erased_conversations": 0, "deleted_messages": 0, "erased_tickets": 1}
    assert TRACE not in dump()


def test_what_came_before_its_digest_was_seen_is_found_though_it_is_committed_late(
    relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember = MirrorForgetting._remember

    def meanwhile(*arguments: Any) -> None:
        tell(relay, "conversation-started", relay.open_conversation(PERSON))
        remember(*arguments)

    monkeypatch.setattr(MirrorForgetting, "_remember", meanwhile)
    assert forget()["erased_conversations"] == 1
    assert not Conversation.objects.filter(visitor_user_id=PERSON).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_in_a_transaction_of_the_callers_another_look_follows(relay: SandboxRelay, database: str) -> None:
    from bloonio_chat.mirror import forgetting

    with transaction.atomic(using=database):
        forget()
        # As from a transaction that does not see the digest yet.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(projection, "forgotten", lambda *_: {})
            tell(relay, "conversation-started", relay.open_conversation(PERSON))
        assert Conversation.objects.filter(visitor_user_id=PERSON).exists()
    assert forgetting._find(None, PERSON, set()) == ([], [], [])
    assert Conversation.objects.get().forgotten_at is not None


def test_what_is_here_in_spite_of_all_goes_with_the_next_object(mirrored: SandboxRelay, its_time: Time) -> None:
    """Rows of a person who is forgotten: of a process that died at a bad moment, or told of as somebody else's."""
    [theirs, *_] = [each for each in mirrored.conversations.values() if each.visitor_user_id == PERSON]
    digest = visitor_digest(TENANT, PERSON)
    ForgottenVisitor.objects.create(tenant=TENANT, digest=digest, forgotten_at=aware_now())
    theirs.locale = "xx"
    theirs.updated_at += timedelta(seconds=1)
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    row = Conversation.objects.get(relay_id=theirs.id)
    assert (row.visitor_user_id, row.forgotten_at is None) == ("", False)
    assert not row.messages.exists()
    # And all of it when the person is forgotten once more.
    forget()
    assert TRACE not in dump()


def test_an_id_that_is_longer_than_its_column(relay: SandboxRelay, its_time: Time) -> None:
    person = "v" * 300
    conversation, ticket = chatted(relay, "v", TRACE)
    conversation.visitor_user_id = ticket.user_id = person
    sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
    assert Conversation.objects.get().visitor_user_id == person[:255]
    assert forget(person)["erased_conversations"] == 1
    assert TRACE not in dump()
    conversation.updated_at += timedelta(seconds=1)
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    other = relay.open_conversation("v", visitor_display_name=TRACE)
    other.visitor_user_id = person
    other.created_at -= timedelta(hours=1)
    sync({**OPTIONS, "restart": True}, Lines(), clock=its_time, sleep=its_time.sleep)
    assert TRACE not in dump()


@pytest.mark.parametrize("rule", [models.PROTECT, models.RESTRICT])
@pytest.mark.django_db(transaction=True, databases="__all__")
def test_what_protects_a_message_is_named_and_nothing_is_erased(
    mirrored: SandboxRelay, database: str, rule: Any
) -> None:
    apps.get_app_config("bloonio_chat_inbox").ready()
    with referring(Message, rule, database) as invoices:
        message = Message.objects.filter(conversation__visitor_user_id=PERSON).first()
        invoice = invoices.objects.using(database).create(row=message)
        before = dump()
        for arguments in ([], ["--dry-run"]):
            with pytest.raises(CommandError, match=r"bloonio_chat_mirror\.Invoice refers to them"):
                call_command("bloonio_forget", "--visitor", PERSON, *arguments)
        assert dump() == before
        invoice.delete()
        assert forget()["erased_conversations"] == 2
        assert TRACE not in dump()


def test_more_than_a_batch(relay: SandboxRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    from bloonio_chat.mirror import forgetting

    monkeypatch.setattr(forgetting, "_BATCH", 2)
    for _ in range(5):
        tell(relay, "conversation-started", relay.open_conversation(PERSON))
    assert forget()["erased_conversations"] == 5


def test_the_digest_says_nothing_without_the_projects_key(relay: SandboxRelay, settings: Any) -> None:
    MirrorForgetting().erase(tenant=None, visitor=PERSON, conversations=set(), dry_run=False)
    digest = ForgottenVisitor.objects.get().digest
    settings.SECRET_KEY = "another"
    MirrorForgetting().erase(tenant=None, visitor=PERSON, conversations=set(), dry_run=False)
    assert set(ForgottenVisitor.objects.values_list("digest", flat=True)) > {digest}


def test_a_rotated_key_brings_nobody_back(relay: SandboxRelay, settings: Any) -> None:
    conversation, _ = chatted(relay, PERSON, TRACE)
    others, _ = chatted(relay, OTHERS[0])
    earlier = aware_now().isoformat()
    # Nothing of it is here, so that no tombstone holds: the digest alone knows the person.
    forget()
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    settings.SECRET_KEY_FALLBACKS = ["an even older one", old]
    tell(relay, "conversation-started", conversation, occurred_at=earlier)
    tell(relay, "conversation-started", others, occurred_at=earlier)
    assert Conversation.objects.get(relay_id=conversation.id).forgotten_at is not None
    assert Conversation.objects.get(relay_id=others.id).forgotten_at is None
    assert f'"{PERSON}"' not in dump()


def test_who_is_forgotten_again_under_another_key_is_forgotten_since_then(relay: SandboxRelay, settings: Any) -> None:
    forget()
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    settings.SECRET_KEY_FALLBACKS = [old]
    between, _ = chatted(relay, PERSON, TRACE)
    its_time = aware_now().isoformat()
    forget()
    assert {row.digest for row in ForgottenVisitor.objects.all()} > {visitor_digest(TENANT, PERSON)}
    for order in ("digest", "-digest"):
        # Whichever of both the database gives first.
        times = sorted(row.forgotten_at for row in ForgottenVisitor.objects.all())
        for row, time in zip(ForgottenVisitor.objects.order_by(order), times, strict=True):
            ForgottenVisitor.objects.filter(pk=row.pk).update(forgotten_at=time)
        with mirror.writable():
            Conversation.objects.all().delete()
        tell(relay, "conversation-started", between, occurred_at=its_time)
        assert Conversation.objects.get().forgotten_at == times[-1]


def test_the_command_erases_in_both_rooms(mirrored: SandboxRelay) -> None:
    apps.get_app_config("bloonio_chat_inbox").ready()
    out = StringIO()
    call_command("bloonio_forget", "--visitor", PERSON, stdout=out)
    assert "bloonio_chat_mirror: 2 erased conversations" in out.getvalue()
    assert "bloonio_chat_inbox: " in out.getvalue()
