"""What the relay answers becomes typed objects that lose nothing (protocol §3.1, §3.2)."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from bloonio_chat.sdk import types
from bloonio_chat.sdk.enums import ConversationStatus, MessageRole, OpenEnum, TicketPriority, TicketStatus
from bloonio_chat.sdk.errors import ChatRelayAnswerError
from tests.sdk.facade import Facade
from tests.sdk.samples import AT, BY_NAME, CONVERSATION, MESSAGE, SAMPLES, TICKET, TOKEN, Sample
from tests.sdk.scripted_server import ScriptedServer, answers_data, answers_json
from tests.secrets import MARK

KINDS = {
    "create_conversation": types.Conversation,
    "fetch_conversation": types.Conversation,
    "list_conversations": types.Conversation,
    "send_message": types.Message,
    "list_messages": types.Message,
    "list_tickets": types.Ticket,
    "fetch_ticket": types.Ticket,
    "ingest_knowledge": types.KnowledgeDocument,
    "mint_visitor_token": types.VisitorToken,
    "fetch_tenant_info": types.TenantInfo,
    "provision_operator": types.Operator,
    "fetch_operator_token": types.OperatorToken,
    "create_contact_ticket": types.ContactTicket,
}


def with_extra(answer: Any) -> Any:
    if isinstance(answer, list):
        return [with_extra(item) for item in answer]
    return {**answer, "brand_new": {"nested": [1]}}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.parametrize("shape", ["envelope", "bare", "success"])
def test_an_answer_comes_with_or_without_the_envelope(
    server: ScriptedServer, client: Facade, sample: Sample, shape: str
) -> None:
    answer = with_extra(sample.answer)
    envelope: Any = {"envelope": {"status_code": 201, "message": "ok"}, "success": {"success": True}}.get(shape)
    server.script.append(answers_json(answer if envelope is None else {**envelope, "data": answer}, 201))
    result = client.call(sample.name, *sample.args, **sample.kwargs)
    (item,) = result if isinstance(sample.answer, list) else [result]
    assert type(item) is KINDS[sample.name]
    assert isinstance(item, BaseModel)
    assert item.model_extra == {"brand_new": {"nested": [1]}}
    expected = answer[0] if isinstance(answer, list) else answer
    shown = item.model_dump(mode="json", exclude_unset=True)
    assert shown.keys() == expected.keys()
    for name, value in shown.items():
        if "token" not in name and not name.endswith("_at"):
            assert value == expected[name], name


@pytest.mark.parametrize("name", ["list_conversations", "list_messages", "list_tickets"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_list_is_an_array_or_an_object_with_items(
    server: ScriptedServer, client: Facade, name: str, wrapped: bool
) -> None:
    sample = BY_NAME[name]
    items = {"items": sample.answer, "total": 41, "limit": 20}
    server.script.append(answers_json(items if wrapped else {"message": "ok", "data": items}))
    assert [item.id for item in client.call(name, *sample.args)] == [sample.answer[0]["id"]]
    server.script.append(answers_data({"items": []}))
    assert client.call(name, *sample.args) == []


def test_an_unknown_enum_value_survives_as_itself(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data({**TICKET, "status": "on_hold", "priority": "p0"}))
    ticket = client.call("fetch_ticket", "t1")
    assert isinstance(ticket.status, TicketStatus)
    assert ticket.status == "on_hold"
    assert not ticket.status.is_known
    assert ticket.priority == TicketPriority("p0")
    assert ticket.model_dump(mode="json")["status"] == "on_hold"
    assert types.Ticket.model_validate_json(ticket.model_dump_json()) == ticket
    attachments = [{**MESSAGE["attachments"][0], "type": "hologram"}]
    server.script.append(answers_data([{**MESSAGE, "role": "robot", "attachments": attachments}]))
    (message,) = client.call("list_messages", "c1")
    assert (message.role, message.attachments[0].type) == ("robot", "hologram")


@pytest.mark.parametrize("value", [TicketStatus.OPEN, TicketStatus("on_hold"), MessageRole(""), MessageRole("OPEN")])
def test_an_enum_value_is_copied_pickled_hashed_and_written_like_its_text(value: OpenEnum) -> None:
    unpickled = pickle.loads(pickle.dumps(value))  # noqa: S301  # pickled in this line
    for twin in (copy.copy(value), copy.deepcopy(value), unpickled, type(value)(value.value)):
        assert twin == value
        assert type(twin) is type(value)
        assert {twin: 1}[value] == 1
    assert str(value) == f"{value}" == value.value
    assert f"{value:>12}" == value.value.rjust(12)
    assert repr(value)
    assert value.is_known is (value == "open")


def test_unknown_values_never_join_the_enum() -> None:
    before = list(ConversationStatus)
    for number in range(50):
        ConversationStatus(f"new-{number}")
    assert list(ConversationStatus) == before
    with pytest.raises(ValueError, match="7"):
        ConversationStatus(7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("2026-01-02T05:04:05.5+02:00", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=timezone.utc)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
    ],
)
def test_times_are_in_utc_whatever_the_relay_writes(
    server: ScriptedServer, client: Facade, text: str, expected: datetime
) -> None:
    server.script.append(answers_data({**CONVERSATION, "created_at": text, "closed_at": text}))
    conversation = client.call("fetch_conversation", "c1")
    assert conversation.created_at == conversation.closed_at == expected
    assert conversation.created_at.tzinfo is timezone.utc
    assert conversation.last_message_at is None


@pytest.mark.parametrize(
    "wrong", ["soon", "", None, [], "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", 1e300]
)
def test_a_time_that_is_none_is_an_error_that_names_the_field(
    server: ScriptedServer, client: Facade, wrong: Any
) -> None:
    server.script.append(answers_data({**CONVERSATION, "created_at": wrong}))
    error = client.error_of("fetch_conversation", "c1")
    assert isinstance(error, ChatRelayAnswerError)
    assert "created_at" in str(error)


@pytest.mark.parametrize(
    ("name", "field"), [("mint_visitor_token", "token"), ("fetch_operator_token", "operator_token")]
)
def test_a_token_shows_only_when_asked_for(server: ScriptedServer, client: Facade, name: str, field: str) -> None:
    server.script.append(answers_data(BY_NAME[name].answer))
    result = client.call(name, **BY_NAME[name].least)
    token = getattr(result, field)
    assert isinstance(token, SecretStr)
    assert token.get_secret_value() == TOKEN
    for shown in (repr(result), str(result), result.model_dump_json(), repr(result.model_dump()), repr(vars(result))):
        assert MARK not in shown


def test_null_lists_and_objects_are_empty_ones(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data([{**MESSAGE, "attachments": None, "citations": None}]))
    (message,) = client.call("list_messages", "c1")
    assert (message.attachments, message.citations) == ([], [])
    server.script.append(answers_data({**CONVERSATION, "metadata": None}))
    assert client.call("fetch_conversation", "c1").metadata == {}


def test_a_result_can_not_be_changed(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data(CONVERSATION))
    conversation = client.call("fetch_conversation", "c1")
    with pytest.raises(ValidationError):
        conversation.status = "closed"


def test_an_attachment_of_a_result_can_be_sent_again(server: ScriptedServer, client: Facade) -> None:
    server.script.extend([answers_data([MESSAGE]), answers_data(MESSAGE)])
    (message,) = client.call("list_messages", "c1")
    client.call("send_message", "c2", content="again", attachments=message.attachments)
    assert b'"attachments":[{"type":"image","mime":"image/png","size":12,"url":"https://cdn.test/a.png"}]' in (
        server.requests[1].body
    )


def test_what_no_database_takes_is_cleaned(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data({**CONVERSATION, "visitor_display_name": "a\x00b\ud800", "score": float("nan")}))
    conversation = client.call("fetch_conversation", "c1")
    assert conversation.visitor_display_name == "a\ufffdb\ufffd"
    assert conversation.model_extra == {"score": None}
    assert AT.startswith(f"{conversation.created_at:%Y-%m-%dT%H}")
