"""Answers of every shape: what can't be understood is a ChatRelayError, never another exception, never a hang."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk.errors import (
    ChatRelayAnswerError,
    ChatRelayError,
    ChatRelayInputError,
    ChatRelayServerError,
    ChatRelayStatusError,
)
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, SAMPLES, TICKET, Sample
from tests.sdk.scripted_server import ScriptedServer, answers, answers_json, sends

PAGE = b"<html><title>It works!</title></html>"
WHOLE = json.dumps({"message": "ok", "data": TICKET}).encode()

NOT_UNDERSTOOD: dict[str, tuple[bytes, str]] = {
    "a page": (PAGE, "is not JSON"),
    "empty": (b"", "is not JSON"),
    "white space": (b" \r\n", "is not JSON"),
    "truncated": (WHOLE[:-20], "is not JSON"),
    "two values": (WHOLE + WHOLE, "is not JSON"),
    "not UTF-8": (WHOLE.replace(b"Late", b"L\xe9te"), "is not JSON"),
    "UTF-16": (WHOLE.decode().encode("utf-16"), "is not JSON"),
    "nested too deep": (b"[" * 100_000, "is not JSON"),
    "nested too deep, closed": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "is not JSON"),
    "a huge number": (b'{"data": ' + b"9" * 10_000 + b"}", "is not"),
    "null": (b"null", "the answer"),
    "a number": (b"7", "the answer"),
    "a text": (b'"ok"', "the answer"),
    "an array": (b"[]", "the answer"),
    "an empty object": (b"{}", "ticket_number"),
    "null data": (b'{"status_code": 200, "data": null}', "the answer"),
    "an envelope without data": (b'{"status_code": 200, "message": "ok"}', "ticket_number"),
    "a wrong type": (json.dumps({**TICKET, "subject": {"a": 1}}).encode(), "(subject)"),
    "a missing field": (json.dumps({k: v for k, v in TICKET.items() if k != "status"}).encode(), "(status)"),
    "a number for an id": (json.dumps({**TICKET, "id": 7}).encode(), "(id)"),
    "NaN in a known field": (WHOLE.replace(b'"p2"', b"NaN"), "(priority)"),
}


@pytest.mark.parametrize("shape", NOT_UNDERSTOOD)
def test_an_answer_that_can_not_be_understood_says_what_is_wrong(
    server: ScriptedServer, client: Facade, shape: str
) -> None:
    body, expected = NOT_UNDERSTOOD[shape]
    server.otherwise = answers(200, body)
    error = client.error_of("fetch_ticket", "t1")
    assert type(error) is ChatRelayAnswerError
    assert expected in str(error)
    assert error.status_code == 200
    assert error.body == body.decode("utf-8", "replace")[:2048]
    assert not error.maybe_processed
    # Asking again would bring the same.
    assert len(server.requests) == 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.parametrize("body", [PAGE, b"", b"[7]", b'{"data": {"items": {}}, "message": ""}'])
def test_a_write_that_was_answered_with_nonsense_may_have_been_processed(
    server: ScriptedServer, client: Facade, sample: Sample, body: bytes
) -> None:
    server.otherwise = answers(200, body)
    error = client.error_of(sample.name, *sample.args, **sample.kwargs)
    assert type(error) is ChatRelayAnswerError
    assert error.maybe_processed is (sample.method != "GET")
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["list_conversations", "list_messages", "list_tickets"])
@pytest.mark.parametrize("data", [None, {}, "x", {"items": None}, {"items": "x"}, [None], [[]], {"total": 0}])
def test_a_list_that_is_none(server: ScriptedServer, client: Facade, name: str, data: Any) -> None:
    server.otherwise = answers_json({"message": "ok", "data": data})
    assert type(client.error_of(name, *BY_NAME[name].args)) is ChatRelayAnswerError


def test_one_wrong_item_is_named_by_its_place(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers_json([TICKET, {**TICKET, "created_at": "soon"}])
    assert "(1.created_at)" in str(client.error_of("list_tickets"))


def test_204_is_no_answer_to_a_question(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = sends(b"HTTP/1.1 204 No Content\r\n\r\n", then_close=False)
    error = client.error_of("fetch_ticket", "t1")
    assert type(error) is ChatRelayAnswerError
    assert error.status_code == 204


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"message": "no  such\\nthing."}', "answered 418: no such thing."),
        (b'{"detail": "nope"}', "answered 418: nope."),
        (b'{"detail": [{"loc": ["body", "content"], "msg": "too long", "type": "x"}]}', "418: content: too long."),
        (
            b'{"detail": [{"loc": ["query", 0], "msg": "a"}, {"loc": "x"}, 7, null]}',
            "query.0: a; {'loc': 'x'}; 7; None",
        ),
        (b'{"message": "", "detail": "the detail"}', "418: the detail."),
        (b'{"message": {"a": 1}}', "answered 418."),
        (b'{"message": 5}', "answered 418."),
        (b'["message"]', "answered 418."),
        (PAGE, "answered 418."),
        (b"", "answered 418."),
        (b"\xff\xfe", "answered 418."),
        (b"[" * 100_000, "answered 418."),
    ],
)
def test_an_error_says_what_the_relay_said(server: ScriptedServer, client: Facade, body: bytes, expected: str) -> None:
    server.otherwise = answers(418, body)
    error = client.error_of("fetch_ticket", "t1")
    assert type(error) is ChatRelayStatusError
    assert expected in str(error)
    assert error.body == body.decode("utf-8", "replace")[:2048]


def test_what_the_relay_said_is_bounded(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers_json({"message": "é" * 5000}, 422)
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayInputError)
    assert len(str(error)) < 400
    assert len(error.body) <= 2048


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*TICKET, "data", "items", "message", "status_code", "x"]), inner, max_size=4
            )
        ),
        max_leaves=10,
    ).map(lambda tree: json.dumps(tree).encode())
    | st.binary(max_size=50),
    status=st.sampled_from([200, 201, 400, 404, 422, 500]),
    name=st.sampled_from([sample.name for sample in SAMPLES]),
)
def test_no_tree_of_json_raises_anything_but_our_error(
    server: ScriptedServer, client: Facade, body: bytes, status: int, name: str
) -> None:
    server.otherwise = answers(status, body)
    raised: ChatRelayError | None = None
    try:
        client.call(name, *BY_NAME[name].args, **BY_NAME[name].least)
    except ChatRelayError as error:
        raised = error
    if status < 300:
        assert raised is None or type(raised) is ChatRelayAnswerError
    else:
        assert raised is not None
        assert raised.status_code == status


def test_a_page_of_a_gateway_is_kept_for_whoever_looks(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers(502, PAGE)
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayServerError)
    assert error.body == PAGE.decode()
    assert "html" not in str(error)
