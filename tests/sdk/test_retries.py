"""Which attempts are made again, and how: a write never twice unless it surely was not processed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bloonio_chat.sdk.errors import (
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayRateLimitError,
    ChatRelayServerError,
    ChatRelayStatusError,
    ChatRelayTimeoutError,
)
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, SAMPLES, Sample
from tests.sdk.scripted_server import (
    Behaviour,
    ScriptedServer,
    answers,
    answers_data,
    answers_json,
    hangs_up,
    http,
    resets,
    says_nothing,
    sends,
)
from tests.sdk.test_operations_on_the_wire import assert_signed

REPEATABLE = [sample for sample in SAMPLES if sample.repeatable]
ONCE_ONLY = [sample for sample in SAMPLES if not sample.repeatable]

CUT_OFF: dict[str, Behaviour] = {
    "closed without a byte": hangs_up,
    "reset": resets,
    "closed in the status line": sends(b"HTTP/1.1 2"),
    "closed in the headers": sends(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "closed in the body": sends(http(200, b'{"data": {', length=500)),
    "500": answers(500),
    "502 with a page": answers(502, b"<html>Bad gateway</html>", Content_Type="text/html"),
    "503": answers_json({"message": "later"}, 503),
    "504": answers(504),
}


def ticking(start: float = 1_718_966_400.0) -> Callable[[], float]:
    def ticks() -> Iterator[float]:
        now = start
        while True:
            yield now
            now += 1.0

    return ticks().__next__


def test_the_table_of_what_may_be_repeated() -> None:
    assert {sample.name for sample in ONCE_ONLY} == {
        "create_conversation",
        "send_message",
        "ingest_knowledge",
        "mint_visitor_token",
        "create_contact_ticket",
    }


@pytest.mark.parametrize("failure", CUT_OFF)
def test_a_read_is_tried_again_after_a_lost_connection_or_a_5xx(
    server: ScriptedServer, client: Facade, failure: str
) -> None:
    sample = BY_NAME["fetch_ticket"]
    server.script.extend([CUT_OFF[failure], CUT_OFF[failure], answers_data(sample.answer)])
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert len(server.requests) == 3
    assert client.sleeps == [0.25, 0.5]


@pytest.mark.parametrize("failure", CUT_OFF)
def test_a_write_that_may_have_been_processed_is_sent_exactly_once(
    server: ScriptedServer, client: Facade, failure: str
) -> None:
    server.script.append(CUT_OFF[failure])
    server.otherwise = answers_data(BY_NAME["send_message"].answer)
    error = client.error_of("send_message", "c1", content="hello")
    assert isinstance(error, ChatRelayError)
    assert error.maybe_processed
    assert len(server.requests) == 1
    assert client.sleeps == []


@pytest.mark.parametrize("sample", REPEATABLE, ids=lambda sample: sample.name)
def test_every_read_and_every_idempotent_write_is_repeated(
    server: ScriptedServer, client: Facade, sample: Sample
) -> None:
    server.script.extend([answers(503), hangs_up, answers_data(sample.answer)])
    client.call(sample.name, *sample.args, **sample.kwargs)
    assert len(server.requests) == 3
    assert len({(r.method, r.target, r.body) for r in server.requests}) == 1


@pytest.mark.parametrize("sample", ONCE_ONLY, ids=lambda sample: sample.name)
@pytest.mark.parametrize("failure", ["closed without a byte", "503"])
def test_no_other_write_is(server: ScriptedServer, client: Facade, sample: Sample, failure: str) -> None:
    server.script.append(CUT_OFF[failure])
    server.otherwise = answers_data(sample.answer)
    error = client.error_of(sample.name, *sample.args, **sample.kwargs)
    assert isinstance(error, ChatRelayError)
    assert error.maybe_processed
    assert error.operation == sample.name
    assert len(server.requests) == 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_429_was_not_processed_so_anything_is_repeated(server: ScriptedServer, client: Facade, sample: Sample) -> None:
    server.script.extend([answers(429), answers_data(sample.answer)])
    client.call(sample.name, *sample.args, **sample.kwargs)
    assert len(server.requests) == 2


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_connection_that_was_never_made_is_tried_again_by_anything(
    make_client: FacadeFactory, sample: Sample, refusing_url: str
) -> None:
    client = make_client(refusing_url)
    error = client.error_of(sample.name, *sample.args, **sample.kwargs)
    assert type(error) is ChatRelayConnectionError
    assert not error.maybe_processed
    assert "not reached" in str(error)
    assert client.sleeps == [0.25, 0.5]


def test_a_create_that_timed_out_was_sent_exactly_once(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(request_timeout_seconds=1)
    server.otherwise = says_nothing
    error = client.error_of("create_conversation", visitor_user_id="u")
    assert type(error) is ChatRelayTimeoutError
    assert error.maybe_processed
    assert "may have done the work all the same" in str(error)
    assert len(server.requests) == 1


def test_a_read_that_timed_out_is_tried_again(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(request_timeout_seconds=1, max_attempts=10)
    server.script.append(says_nothing)
    server.otherwise = answers_data(BY_NAME["fetch_ticket"].answer)
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert len(server.requests) > 1


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_there_are_as_many_attempts_as_the_settings_say(
    server: ScriptedServer, make_client: FacadeFactory, attempts: int
) -> None:
    client = make_client(max_attempts=attempts)
    server.otherwise = answers(503)
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayServerError)
    assert not error.maybe_processed
    assert len(server.requests) == attempts
    assert client.sleeps == [0.25, 0.5, 1.0, 2.0][: attempts - 1]


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 422])
@pytest.mark.parametrize("name", ["fetch_ticket", "create_conversation"])
def test_what_will_not_get_better_is_not_repeated(
    server: ScriptedServer, client: Facade, name: str, status: int
) -> None:
    server.otherwise = answers(status)
    error = client.error_of(name, *BY_NAME[name].args, **BY_NAME[name].least)
    assert isinstance(error, ChatRelayStatusError)
    assert error.status_code == status
    assert not error.maybe_processed
    assert len(server.requests) == 1


def test_every_attempt_has_its_own_timestamp_and_signature(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(clock=ticking())
    server.script.extend([answers(503), answers(429), answers_data(BY_NAME["provision_operator"].answer)])
    client.call("provision_operator", email="op@shop.test", display_name="Ann")
    for request in server.requests:
        assert_signed(request)
    timestamps = [int(request.header("X-Bloonio-Timestamp") or 0) for request in server.requests]
    assert timestamps == sorted(set(timestamps))
    assert len({request.header("X-Bloonio-Signature") for request in server.requests}) == 3


def test_the_last_error_is_the_one_that_is_raised(server: ScriptedServer, client: Facade) -> None:
    server.script.extend([hangs_up, answers(429), answers(503)])
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayServerError)
    server.script.extend([hangs_up, answers(503), answers(429)])
    assert isinstance(client.error_of("fetch_ticket", "t1"), ChatRelayRateLimitError)
