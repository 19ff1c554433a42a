"""The tree of errors: each class for its status, and each survives pickling and copying whole (Celery does both)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from bloonio_chat.sdk import errors
from bloonio_chat.sdk.errors import ChatRelayError, EventError, SignatureError, error_for_status
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.scripted_server import ScriptedServer, answers, answers_json

EVERY_CLASS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

BY_STATUS = {
    400: "ChatRelayInputError",
    401: "ChatRelayAuthenticationError",
    402: "ChatRelayStatusError",
    403: "ChatRelayForbiddenError",
    404: "ChatRelayNotFoundError",
    409: "ChatRelayConflictError",
    413: "ChatRelayTooLargeError",
    418: "ChatRelayStatusError",
    422: "ChatRelayInputError",
    429: "ChatRelayRateLimitError",
    500: "ChatRelayServerError",
    503: "ChatRelayServerError",
    599: "ChatRelayServerError",
}


def make(kind: type[ChatRelayError]) -> ChatRelayError:
    if issubclass(kind, (SignatureError, EventError)):
        return kind("a_word", "A message.")
    return kind(
        "A message.",
        operation="fetch_ticket",
        status_code=418,
        body="é" * 10,
        retry_after=1.5,
        maybe_processed=True,
        clock_skew_seconds=-45.0,
    )


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "Error" in line]
    assert {kind.__name__ for kind in EVERY_CLASS} == {
        word for line in drawn for word in line.replace("├──", "").replace("└──", "").replace("│", "").split()[:1]
    }
    assert all(issubclass(kind, ChatRelayError) for kind in EVERY_CLASS)


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_an_error_survives_pickling_whole(kind: type[ChatRelayError]) -> None:
    error = make(kind)
    pickled = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    unpickled = [pickle.loads(one) for one in pickled]  # noqa: S301  # pickled a line above
    for twin in (*unpickled, copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is kind
        assert str(twin) == str(error) == twin.message == "A message."
        assert twin.args == error.args
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_an_error_with_nothing_but_its_message_has_quiet_defaults(kind: type[ChatRelayError]) -> None:
    error = kind("a_word", "m") if issubclass(kind, (SignatureError, EventError)) else kind("m")
    assert (error.operation, error.status_code, error.body, error.retry_after) == (None, None, "", None)
    assert error.maybe_processed is False
    assert error.clock_skew_seconds is None


@pytest.mark.parametrize(("status", "name"), BY_STATUS.items())
def test_each_status_has_its_error(server: ScriptedServer, make_client: FacadeFactory, status: int, name: str) -> None:
    server.otherwise = answers_json({"message": "because"}, status, Retry_After="3")
    error = make_client(max_attempts=1).error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayError)
    assert type(error) is error_for_status(status) is getattr(errors, name)
    assert error.operation == "fetch_ticket"
    assert error.status_code == status
    assert error.retry_after == 3
    assert error.body == '{"message": "because"}'
    assert str(error).startswith(f"fetch_ticket: the relay answered {status}: because.")


def test_an_error_off_the_wire_survives_pickling(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers(429, b"slow down", Retry_After="77")
    error = client.error_of("send_message", "c1", content="x")
    twin: Any = pickle.loads(pickle.dumps(error))  # noqa: S301  # pickled in this line
    assert vars(twin) == vars(error)
    assert (twin.retry_after, twin.body) == (77, "slow down")


def test_the_body_that_is_kept_is_bounded() -> None:
    assert len(ChatRelayError("m", body="x" * 10_000).body) == 2048


def test_mistakes_of_the_caller_are_value_errors_too() -> None:
    assert issubclass(errors.ChatRelayConfigurationError, ValueError)
    assert issubclass(errors.ChatRelayArgumentError, ValueError)


def test_a_suspended_tenant_is_told(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers(403)
    assert "it may be suspended" in str(client.error_of("fetch_ticket", "t1"))
