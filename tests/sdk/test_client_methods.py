"""The two clients have the same methods, with the same arguments and the same documentation."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from unittest.mock import create_autospec

import pytest

from bloonio_chat.sdk import operations
from bloonio_chat.sdk.async_client import AsyncChatRelayClient
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.errors import ChatRelayArgumentError
from bloonio_chat.sdk.operations import Operation
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, SAMPLES, Sample
from tests.secrets import SECRET

# protocol §3: an object's own id comes first and may be positional, everything else is keyword-only.
POSITIONAL = {
    "fetch_conversation": ["conversation_id"],
    "send_message": ["conversation_id"],
    "list_messages": ["conversation_id"],
    "fetch_ticket": ["ticket_id"],
}


def public_methods(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_there_are_thirteen_operations_on_both_and_nothing_on_one_only() -> None:
    assert len(SAMPLES) == 13
    assert public_methods(ChatRelayClient) - {"close"} == public_methods(AsyncChatRelayClient) - {"aclose"}
    assert public_methods(ChatRelayClient) == {*BY_NAME, "call", "close", "iter_conversations", "iter_tickets"}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_method_has_the_signature_and_the_documentation_of_its_route(client: Facade, name: str) -> None:
    build = getattr(operations, name)
    method = getattr(client.client, name)
    assert method.__name__ == name
    assert inspect.signature(method).parameters == inspect.signature(build).parameters
    assert f"Operation[{inspect.signature(method).return_annotation}]" == inspect.signature(build).return_annotation
    assert inspect.getdoc(method) == inspect.getdoc(build)
    assert f"{BY_NAME[name].method} {BY_NAME[name].path}" in (inspect.getdoc(method) or "")
    assert getattr(type(client.client), name).__doc__ == build.__doc__


def test_users_can_mock_a_client_after_the_real_one() -> None:
    mock = create_autospec(ChatRelayClient, instance=True)
    mock.send_message("c1", content="x")
    mock.send_message.assert_called_once_with("c1", content="x")


def test_an_asynchronous_method_is_a_coroutine_function_and_refuses_when_awaited(client: Facade) -> None:
    if client.kind == "async":
        assert inspect.iscoroutinefunction(client.client.send_message)
        asyncio.run(_refused(client.client.send_message("c1", content="")))
    else:
        assert not inspect.iscoroutinefunction(client.client.send_message)


async def _refused(call: Any) -> None:
    with pytest.raises(ChatRelayArgumentError):
        await call


def test_a_method_can_be_called_on_the_class_too(client: Facade) -> None:
    if client.kind == "sync":
        with pytest.raises(ChatRelayArgumentError):
            ChatRelayClient.send_message(client.client, "c1", content="")
    else:
        asyncio.run(_refused(AsyncChatRelayClient.send_message(client.client, "c1", content="")))


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_only_an_objects_own_id_is_positional(name: str) -> None:
    parameters = inspect.signature(getattr(operations, name)).parameters.values()
    positional = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == POSITIONAL.get(name, [])
    assert {p.name for p in parameters} >= {*BY_NAME[name].kwargs}


@pytest.mark.parametrize("name", ["iter_conversations", "iter_tickets"])
def test_the_walks_are_the_same_on_both(name: str) -> None:
    sync, asynchronous = getattr(ChatRelayClient, name), getattr(AsyncChatRelayClient, name)
    assert inspect.signature(sync).parameters == inspect.signature(asynchronous).parameters
    assert inspect.getdoc(sync) == inspect.getdoc(asynchronous)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_what_may_be_repeated_and_what_holds_a_token_is_as_the_protocol_says(sample: Sample) -> None:
    operation: Operation[Any] = getattr(operations, sample.name)(*sample.args, **sample.kwargs)
    assert operation.repeatable is sample.repeatable
    assert operation.holds_token is sample.holds_token


def test_a_client_shows_its_tenant_and_never_its_secret(client: Facade) -> None:
    shown = repr(client.client) + repr(vars(client.client))
    assert client.settings.tenant_id in repr(client.client)
    assert SECRET not in shown
    assert SECRET.encode().hex() not in shown
