"""An argument that the relay would refuse is refused here, by name, and nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

from bloonio_chat.sdk.errors import ChatRelayArgumentError
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, DOCUMENT, MESSAGE
from tests.sdk.scripted_server import ScriptedServer, answers_data


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"a": tree}
    return tree


def circular() -> dict[str, Any]:
    tree: dict[str, Any] = {}
    tree["a"] = tree
    return tree


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("create_conversation", {"visitor_user_id": ""}, "visitor_user_id is empty"),
    ("create_conversation", {"visitor_user_id": None}, "visitor_user_id must be text, not NoneType"),
    ("create_conversation", {"visitor_user_id": 7}, "visitor_user_id must be text, not int"),
    ("create_conversation", {"locale": ""}, "locale is empty"),
    ("create_conversation", {"channel": "smoke"}, "channel must be one of text, voice, video"),
    ("create_conversation", {"channel": None}, "channel must be one of"),
    ("create_conversation", {"visitor_display_name": 7}, "visitor_display_name must be text, not int"),
    ("create_conversation", {"visitor_email": b"z@m.test"}, "visitor_email must be text, not bytes"),
    ("create_conversation", {"visitor_phone": 331}, "visitor_phone must be text"),
    ("create_conversation", {"metadata": ["a"]}, "metadata must be a mapping, not list"),
    ("create_conversation", {"metadata": {"a": object()}}, "can't be written as JSON"),
    ("create_conversation", {"metadata": {"a": "\ud800"}}, "can't be written as JSON"),
    ("create_conversation", {"metadata": nested(5000)}, "can't be written as JSON"),
    ("create_conversation", {"metadata": circular()}, "can't be written as JSON"),
    ("create_conversation", {"metadata": {("a", 1): 2, (): object()}}, "can't be written as JSON"),
    ("send_message", {"content": ""}, "content is empty"),
    ("send_message", {"content": "x" * 8001}, "content has 8001 characters; the relay takes 8000"),
    ("send_message", {"role": "boss"}, "role must be one of visitor, agent, bot, system"),
    ("send_message", {"content": "\udc00"}, "can't be written as JSON"),
    ("send_message", {"attachments": ["a.png"]}, "an entry of attachments must be a mapping, not str"),
    ("send_message", {"attachments": 5}, "attachments must be a list"),
    ("send_message", {"attachments": {"type": "image"}}, "attachments must be a list"),
    ("list_conversations", {"limit": 0}, "limit is 0; the relay takes at least 1"),
    ("list_conversations", {"limit": True}, "limit must be a whole number, not bool"),
    ("list_conversations", {"limit": "5"}, "limit must be a whole number, not str"),
    ("list_conversations", {"limit": 2.0}, "limit must be a whole number, not float"),
    ("list_conversations", {"offset": -1}, "offset is -1; the relay takes at least 0"),
    ("list_conversations", {"visitor_user_id": ""}, "visitor_user_id is empty"),
    ("list_conversations", {"visitor_user_id": "\ud800"}, "can't be written in UTF-8"),
    ("list_messages", {"limit": -5}, "limit is -5"),
    ("list_messages", {"limit": 10**5000}, "limit is out of range"),
    ("mint_visitor_token", {"ttl_seconds": -(10**5000)}, "ttl_seconds is out of range"),
    ("list_tickets", {"status": "lost"}, "status must be one of open, triaged"),
    ("list_tickets", {"assignee_user_id": ""}, "assignee_user_id is empty"),
    ("ingest_knowledge", {"title": "x" * 501}, "title has 501 characters; the relay takes 500"),
    ("ingest_knowledge", {"title": ""}, "title is empty"),
    ("ingest_knowledge", {"body": ""}, "body is empty"),
    ("ingest_knowledge", {"tags": "abc"}, "tags must be a list of texts, not str"),
    ("ingest_knowledge", {"tags": 5}, "tags must be a list of texts, not int"),
    ("ingest_knowledge", {"tags": [1]}, "an entry of tags must be text"),
    ("mint_visitor_token", {"ttl_seconds": 59}, "ttl_seconds is 59; the relay takes from 60 to 86400"),
    ("mint_visitor_token", {"ttl_seconds": 86_401}, "ttl_seconds is 86401"),
    ("mint_visitor_token", {"visitor_email_hash": "zoe@mail.test"}, "visitor_email_hash must be sha256:"),
    ("mint_visitor_token", {"visitor_email_hash": "sha256:" + "0" * 64 + "\n"}, "visitor_email_hash must be sha256:"),
    ("provision_operator", {"email": ""}, "email is empty"),
    ("provision_operator", {"display_name": ""}, "display_name is empty"),
    ("provision_operator", {"routing_keys": "store-1"}, "routing_keys must be a list"),
    ("provision_operator", {"avatar_url": 5}, "avatar_url must be text"),
    ("fetch_operator_token", {"email": ""}, "email is empty"),
    ("create_contact_ticket", {"customer_email": ""}, "customer_email is empty"),
    ("create_contact_ticket", {"message": ""}, "message is empty"),
    ("create_contact_ticket", {"company": 5}, "company must be text"),
    ("create_contact_ticket", {"source": 5}, "source must be text"),
    ("create_contact_ticket", {"locale": 5}, "locale must be text"),
    ("create_contact_ticket", {"routing_key": ["a"]}, "routing_key must be text"),
    ("create_contact_ticket", {"metadata": "x"}, "metadata must be a mapping"),
]


@pytest.mark.parametrize(("name", "wrong", "expected"), REFUSED)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    server: ScriptedServer, client: Facade, name: str, wrong: dict[str, Any], expected: str
) -> None:
    error = client.error_of(name, *BY_NAME[name].args, **{**BY_NAME[name].least, **wrong})
    assert isinstance(error, ChatRelayArgumentError)
    assert isinstance(error, ValueError)
    assert expected in str(error)
    assert error.__context__ is None
    assert server.connections == 0


@pytest.mark.parametrize("name", ["fetch_conversation", "list_messages", "fetch_ticket"])
@pytest.mark.parametrize("wrong", ["", None, 5, b"c1", "\ud800"])
def test_an_id_is_text_with_something_in_it(server: ScriptedServer, client: Facade, name: str, wrong: Any) -> None:
    assert isinstance(client.error_of(name, wrong), ChatRelayArgumentError)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("name", "wrong"), [("iter_conversations", {"visitor_user_id": ""}), ("iter_tickets", {"status": "lost"})]
)
def test_the_walks_check_their_arguments_too(
    server: ScriptedServer, client: Facade, name: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ChatRelayArgumentError):
        client.iterate(name, **wrong)
    assert server.connections == 0


@pytest.mark.parametrize(
    "unknown", [{"visitor_user_id": "u", "colour": "red"}, {}, {"visitor_user_id": "u", "conversation_id": "c"}]
)
def test_arguments_that_do_not_exist_or_are_missing_are_a_type_error(
    server: ScriptedServer, client: Facade, unknown: dict[str, Any]
) -> None:
    assert isinstance(client.error_of("create_conversation", **unknown), TypeError)
    assert server.connections == 0


def test_the_longest_and_shortest_that_are_allowed_are_sent(server: ScriptedServer, client: Facade) -> None:
    server.script.extend([answers_data(MESSAGE), answers_data(DOCUMENT)])
    client.call("send_message", "c1", content="🙂" * 8000)
    client.call("ingest_knowledge", title="x" * 500, body="b", tags=iter(["a"]))
    assert len(server.requests) == 2


def test_empty_optional_text_is_sent_as_it_is(server: ScriptedServer, client: Facade) -> None:
    server.script.append(answers_data(BY_NAME["create_conversation"].answer))
    client.call("create_conversation", visitor_user_id="u", visitor_display_name="")
    assert b'"visitor_display_name":""' in server.requests[0].body
