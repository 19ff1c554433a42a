"""401: a clock that is off, a secret that is being rotated, or a secret that is wrong."""

from __future__ import annotations

import hashlib
import hmac
from email.utils import formatdate

import pytest

from bloonio_chat.sdk.errors import ChatRelayAuthenticationError, ChatRelayNotFoundError, ChatRelayServerError
from tests.sdk.conftest import FacadeFactory
from tests.sdk.samples import BY_NAME
from tests.sdk.scripted_server import Behaviour, Line, Received, ScriptedServer, answers, answers_data, answers_json
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, SECRET

NOW = 1_718_966_400.0
DATE = formatdate(NOW, usegmt=True)
ALL_SECRETS = {"first": SECRET, "second": FALLBACK_SECRET, "third": OTHER_SECRET}


def signer_of(request: Received) -> str:
    message = f"{request.header('X-Bloonio-Timestamp')}.{hashlib.sha256(request.body).hexdigest()}".encode()
    for name, secret in ALL_SECRETS.items():
        if hmac.new(secret.encode(), message, "sha256").hexdigest() == request.header("X-Bloonio-Signature"):
            return name
    raise AssertionError("signed by none of the secrets")


def skew_of(error: BaseException) -> float | None:
    assert isinstance(error, ChatRelayAuthenticationError)
    return error.clock_skew_seconds


def accepts(name: str, behaviour: Behaviour) -> Behaviour:
    def behave(line: Line, request: Received) -> bool:
        return (behaviour if signer_of(request) == name else answers(401))(line, request)

    return behave


@pytest.mark.parametrize(("ahead", "direction"), [(45, "ahead of"), (-45, "behind"), (100_000, "ahead of")])
def test_a_clock_that_is_off_is_told_and_no_other_secret_is_tried(
    server: ScriptedServer, make_client: FacadeFactory, ahead: int, direction: str
) -> None:
    client = make_client(clock=lambda: NOW + ahead, fallbacks=[FALLBACK_SECRET])
    server.otherwise = answers_json({"detail": "bad signature"}, 401, Date=DATE)
    error = client.error_of("send_message", "c1", content="x")
    assert isinstance(error, ChatRelayAuthenticationError)
    assert error.clock_skew_seconds == ahead
    assert f"clock is {abs(ahead)} s {direction} the relay's" in str(error)
    assert "TENANT_SECRET" not in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{"Date": DATE}, {}, {"Date": "yesterday"}, {"Date": ""}])
@pytest.mark.parametrize("ahead", [0, 30, -30])
def test_with_the_clock_right_or_unknown_the_settings_are_pointed_at(
    server: ScriptedServer, make_client: FacadeFactory, headers: dict[str, str], ahead: int
) -> None:
    server.otherwise = answers_json({"detail": "bad signature"}, 401, **headers)
    error = make_client(clock=lambda: NOW + ahead).error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayAuthenticationError)
    assert error.clock_skew_seconds is None
    assert "bad signature" in str(error)
    assert "Check BLOONIO_CHAT_TENANT_ID and BLOONIO_CHAT_TENANT_SECRET" in str(error)
    assert error.maybe_processed is False


def test_the_relays_window_is_not_our_tolerance_for_callbacks(
    server: ScriptedServer, make_client: FacadeFactory
) -> None:
    server.otherwise = answers(401, Date=DATE)
    lenient = make_client(clock=lambda: NOW + 45, timestamp_tolerance_seconds=60)
    assert skew_of(lenient.error_of("fetch_ticket", "t1")) == 45
    strict = make_client(clock=lambda: NOW + 3, timestamp_tolerance_seconds=2, fallbacks=[FALLBACK_SECRET])
    assert skew_of(strict.error_of("fetch_ticket", "t1")) is None
    assert len(server.requests) == 1 + 2


def test_an_answer_that_took_long_is_no_skew(server: ScriptedServer, make_client: FacadeFactory) -> None:
    times = iter([NOW, NOW + 40])
    server.otherwise = answers(401, Date=DATE)
    assert skew_of(make_client(clock=lambda: next(times)).error_of("fetch_ticket", "t1")) is None


def test_the_fallback_that_worked_is_remembered_even_if_there_was_nothing_to_find(
    server: ScriptedServer, make_client: FacadeFactory
) -> None:
    client = make_client(fallbacks=[FALLBACK_SECRET])
    server.otherwise = accepts("second", answers(404))
    for _ in range(3):
        assert isinstance(client.error_of("fetch_ticket", "t1"), ChatRelayNotFoundError)
    assert [signer_of(request) for request in server.requests] == ["first", "second", "second", "second"]


@pytest.mark.parametrize("name", ["fetch_ticket", "send_message"])
def test_each_fallback_is_tried_once_in_order(server: ScriptedServer, make_client: FacadeFactory, name: str) -> None:
    client = make_client(fallbacks=[FALLBACK_SECRET, OTHER_SECRET], max_attempts=1)
    server.otherwise = answers(401)
    error = client.error_of(name, "c1", **BY_NAME[name].least)
    assert isinstance(error, ChatRelayAuthenticationError)
    assert [signer_of(request) for request in server.requests] == ["first", "second", "third"]
    assert client.sleeps == []
    assert MARK not in str(error)


def test_the_one_that_worked_is_remembered_and_the_first_is_still_known(
    server: ScriptedServer, make_client: FacadeFactory
) -> None:
    client = make_client(fallbacks=[FALLBACK_SECRET, OTHER_SECRET])
    answer = answers_data(BY_NAME["fetch_ticket"].answer)
    server.otherwise = accepts("third", answer)
    client.call("fetch_ticket", "t1")
    client.call("fetch_ticket", "t1")
    assert [signer_of(r) for r in server.requests] == ["first", "second", "third", "third"]
    # Rotated back: the remembered one is refused, and all the others get their turn again.
    server.otherwise = accepts("second", answer)
    client.call("fetch_ticket", "t1")
    client.call("fetch_ticket", "t1")
    assert [signer_of(r) for r in server.requests[4:]] == ["third", "first", "second", "second"]


def test_a_secret_that_gets_another_error_than_401_is_not_remembered_but_kept_for_the_call(
    server: ScriptedServer, make_client: FacadeFactory
) -> None:
    client = make_client(fallbacks=[FALLBACK_SECRET])
    server.otherwise = accepts("second", answers(503))
    assert isinstance(client.error_of("fetch_ticket", "t1"), ChatRelayServerError)
    # Three attempts as ever, all with the one that was not refused; the 401 cost none.
    assert [signer_of(r) for r in server.requests] == ["first", "second", "second", "second"]
    server.otherwise = answers_data(BY_NAME["fetch_ticket"].answer)
    client.call("fetch_ticket", "t1")
    assert signer_of(server.requests[-1]) == "first"


def test_two_clients_remember_for_themselves(server: ScriptedServer, make_client: FacadeFactory) -> None:
    one, other = make_client(fallbacks=[FALLBACK_SECRET]), make_client(fallbacks=[FALLBACK_SECRET])
    server.otherwise = accepts("second", answers_data(BY_NAME["fetch_ticket"].answer))
    one.call("fetch_ticket", "t1")
    other.call("fetch_ticket", "t1")
    assert [signer_of(r) for r in server.requests] == ["first", "second", "first", "second"]


@pytest.mark.parametrize("status", [403, 404])
def test_other_refusals_try_no_other_secret(server: ScriptedServer, make_client: FacadeFactory, status: int) -> None:
    server.otherwise = answers(status)
    make_client(fallbacks=[FALLBACK_SECRET]).error_of("fetch_ticket", "t1")
    assert len(server.requests) == 1
