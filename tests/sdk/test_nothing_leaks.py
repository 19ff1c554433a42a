"""No secret, token or signature shows: not in an error, nor in what an error page makes of one."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from bloonio_chat.sdk.errors import ChatRelayAnswerError, ChatRelayError
from bloonio_chat.sdk.settings import ChatRelaySettings
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade, make_settings
from tests.sdk.samples import BY_NAME, SAMPLES, TOKEN
from tests.sdk.scripted_server import (
    Behaviour,
    Line,
    Received,
    ScriptedServer,
    answers,
    answers_data,
    answers_json,
    hangs_up,
    says_nothing,
)
from tests.secrets import FALLBACK_SECRET, MARK, SECRET, TENANT_ID


def quotes_the_request(status: int, *, as_message: bool) -> Behaviour:
    """Answer like a gateway whose page for debugging shows the request's headers, signature and all."""

    def behaviour(line: Line, request: Received) -> bool:
        quoted = "; ".join(f"{name}={value}" for name, value in request.headers) + f"; token={TOKEN}"
        if as_message:
            return answers_json({"message": quoted}, status)(line, request)
        return answers(status, f"<pre>{quoted}</pre>{'x' * 1800}{TOKEN}{TOKEN}".encode())(line, request)

    return behaviour


FAILURES: dict[str, Behaviour] = {
    "lost": hangs_up,
    "refused": answers_json({"detail": "bad signature"}, 401),
    "failed": answers(500, b"oops"),
    "not JSON": answers(200, b"<html>" + TOKEN.encode()),
    "no answer in time": says_nothing,
    "a page that quotes the request": quotes_the_request(502, as_message=False),
    "an error that quotes the request": quotes_the_request(400, as_message=True),
    "an answer that quotes the request": quotes_the_request(200, as_message=True),
}


def chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [current.__cause__, current.__context__]


def frames(trace: TracebackType | None) -> Iterator[dict[str, Any]]:
    while trace is not None:
        yield trace.tb_frame.f_locals
        trace = trace.tb_next


def everything_shown_by(error: BaseException) -> str:
    pickled = pickle.dumps(error)
    twin = pickle.loads(pickled)  # noqa: S301  # pickled a line above
    shown = [*traceback.format_exception(error), repr(pickled), repr(twin), repr(vars(twin))]
    for one in chain(error):
        shown += [repr(one), str(one), repr(one.args), repr(vars(one))]
        shown += [repr(list(local.items())) for local in frames(one.__traceback__)]
    reporter = ExceptionReporter(RequestFactory().get("/"), type(error), error, error.__traceback__)
    return "\n".join([*shown, reporter.get_traceback_text(), reporter.get_traceback_html()])


def assert_nothing_shows(error: BaseException, server: ScriptedServer) -> None:
    shown = everything_shown_by(error)
    assert "sdk/exchange.py" in shown, "the report is empty"
    assert MARK not in shown
    assert MARK.encode().hex() not in shown
    assert "eyJ" not in shown
    signatures = {request.header("X-Bloonio-Signature") for request in server.requests}
    assert not [signature for signature in signatures if signature and signature[:20] in shown]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["fetch_ticket", "mint_visitor_token", "fetch_operator_token"])
def test_an_error_of_a_call_shows_nothing(
    server: ScriptedServer, make_client: FacadeFactory, name: str, failure: str
) -> None:
    seconds = 1 if failure == "no answer in time" else 30
    client = make_client(fallbacks=[FALLBACK_SECRET], request_timeout_seconds=seconds, max_attempts=1)
    server.otherwise = FAILURES[failure]
    error = client.error_of(name, *BY_NAME[name].args, **BY_NAME[name].least)
    assert isinstance(error, ChatRelayError)
    assert server.requests
    assert_nothing_shows(error, server)
    # What HTTP libraries raise quotes the request, so none of it is kept as a cause.
    assert list(chain(error)) == [error]


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.holds_token], ids=lambda s: s.name)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda answer: {**answer, "expires_at": "soon"},
        lambda answer: {"wrapped": answer},
        lambda answer: [answer],
        lambda answer: TOKEN,
    ],
)
def test_a_token_in_an_answer_that_is_not_understood_shows_nowhere(
    server: ScriptedServer, client: Facade, sample: Any, wrong: Callable[[Any], Any]
) -> None:
    server.otherwise = answers_data(wrong(sample.answer))
    error = client.error_of(sample.name, **sample.least)
    assert type(error) is ChatRelayAnswerError
    assert error.body == ""
    assert_nothing_shows(error, server)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.holds_token], ids=lambda s: s.name)
def test_the_body_of_an_answer_that_may_hold_a_token_is_never_kept(
    server: ScriptedServer, make_client: FacadeFactory, sample: Any, status: int
) -> None:
    server.otherwise = answers(status, b'{"reason": "an opaque token"}')
    error = make_client(max_attempts=1).error_of(sample.name, **sample.least)
    assert isinstance(error, ChatRelayError)
    assert error.body == ""
    assert "opaque" not in everything_shown_by(error)


def test_a_call_that_is_never_made_shows_nothing(
    server: ScriptedServer, make_client: FacadeFactory, refusing_url: str
) -> None:
    assert_nothing_shows(make_client(refusing_url).error_of("create_conversation", visitor_user_id="u"), server)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant_secret": f" {SECRET}"},
        {"tenant_secret": f"{SECRET}\ud800"},
        {"tenant_secret_fallbacks": [SECRET, ""]},
        {"tenant_secret_fallbacks": f"[{SECRET}"},
        {"tenant_secret_fallbacks": {SECRET: 1}},
        {"base_url": f"https://user:{SECRET}@relay.test"},
        {"base_url": f"https://relay.test?{SECRET}"},
        {"tenant_id": SECRET},
        {"request_timeout_seconds": SECRET},
    ],
)
def test_an_error_of_the_configuration_names_settings_and_no_values(wrong: dict[str, Any]) -> None:
    error = None
    try:
        make_wrong_settings(wrong)
    except ChatRelayError as caught:
        error = caught
    assert error is not None
    own = list(frames(error.__traceback__))[2:]
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__.tb_next.tb_next)  # type: ignore[union-attr]  # it was raised
    shown = "".join([str(error), repr(error), repr(own), reporter.get_traceback_html(), repr(list(chain(error)))])
    assert "BLOONIO_CHAT_" in shown
    assert MARK not in shown


def make_wrong_settings(wrong: dict[str, Any]) -> None:
    ChatRelaySettings(**{"base_url": "https://relay.test", "tenant_id": TENANT_ID, "tenant_secret": SECRET, **wrong})


def test_settings_show_no_secret() -> None:
    settings = make_settings("https://relay.test", fallbacks=[FALLBACK_SECRET])
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert MARK not in shown
        assert TENANT_ID in shown
