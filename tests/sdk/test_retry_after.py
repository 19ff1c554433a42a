"""``Retry-After``, in seconds and as a date, honest, absurd and broken; and waits that stay bounded."""

from __future__ import annotations

from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloonio_chat.sdk.errors import ChatRelayRateLimitError, ChatRelayServerError, ChatRelayStatusError
from bloonio_chat.sdk.retry import Outcome, RetryPolicy, parse_http_date, parse_retry_after
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME
from tests.sdk.scripted_server import ScriptedServer, answers, answers_data

NOW = 1_718_966_400.0


@pytest.mark.parametrize("status", [429, 503])
def test_the_relays_wish_counts_and_the_jitter_comes_on_top(
    server: ScriptedServer, client: Facade, status: int
) -> None:
    server.script.extend([answers(status, Retry_After="7"), answers_data(BY_NAME["fetch_ticket"].answer)])
    client.call("fetch_ticket", "t1")
    assert client.sleeps == [7.25]


def test_a_date_is_measured_with_our_clock(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(clock=lambda: NOW)
    at = formatdate(NOW + 4, usegmt=True)
    server.script.extend([answers(429, Retry_After=at), answers_data(BY_NAME["fetch_ticket"].answer)])
    client.call("fetch_ticket", "t1")
    assert client.sleeps == [4.25]


@pytest.mark.parametrize("asked", ["11", "3600", "999999999999999999999999", formatdate(NOW + 60, usegmt=True)])
def test_a_wait_beyond_the_limit_is_the_callers(server: ScriptedServer, make_client: FacadeFactory, asked: str) -> None:
    client = make_client(clock=lambda: NOW)
    server.otherwise = answers(429, Retry_After=asked)
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayRateLimitError)
    assert error.retry_after is not None
    assert error.retry_after > 10
    assert client.sleeps == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "broken", ["", "soon", "-5", "1.5", "1e3", "٣", "0x10", "Thu, 99 Foo 2024 00:00:00 GMT", "inf", "nan", "1, 2", "+3"]
)
def test_a_broken_one_counts_as_none(server: ScriptedServer, client: Facade, broken: str) -> None:
    raw = broken.encode().decode("latin-1")
    server.script.extend([answers(503, Retry_After=raw), answers_data(BY_NAME["fetch_ticket"].answer)])
    client.call("fetch_ticket", "t1")
    assert client.sleeps == [0.25]


@pytest.mark.parametrize("past", ["0", formatdate(NOW - 3600, usegmt=True)])
def test_a_moment_that_has_passed_asks_for_no_wait_but_the_jitter(
    server: ScriptedServer, make_client: FacadeFactory, past: str
) -> None:
    client = make_client(clock=lambda: NOW)
    server.script.extend([answers(503, Retry_After=past), answers_data(BY_NAME["fetch_ticket"].answer)])
    client.call("fetch_ticket", "t1")
    assert client.sleeps == [0.25]


def test_an_error_that_is_not_repeated_tells_the_wait_too(server: ScriptedServer, client: Facade) -> None:
    server.otherwise = answers(503, Retry_After="5")
    error = client.error_of("create_conversation", visitor_user_id="u")
    assert isinstance(error, ChatRelayServerError)
    assert error.retry_after == 5
    assert error.maybe_processed
    assert client.sleeps == []
    server.otherwise = answers(404)
    error = client.error_of("fetch_ticket", "t1")
    assert isinstance(error, ChatRelayStatusError)
    assert error.retry_after is None


@given(
    attempt=st.integers(1, 30),
    limit=st.integers(1, 20),
    jitter=st.floats(0, 1),
    retry_after=st.none() | st.floats(0, 1e12),
    processed=st.booleans(),
    transient=st.booleans(),
    repeatable=st.booleans(),
)
def test_no_wait_is_ever_longer_than_both_limits_together(
    attempt: int,
    limit: int,
    jitter: float,
    retry_after: float | None,
    processed: bool,
    transient: bool,
    repeatable: bool,
) -> None:
    policy = RetryPolicy(max_attempts=limit, jitter=lambda: jitter)
    seconds = policy.pause(attempt, Outcome(503, processed, transient, retry_after), repeatable=repeatable)
    if attempt >= limit or not transient or (processed and not repeatable) or (retry_after or 0) > 10:
        assert seconds is None
    else:
        assert seconds is not None
        assert (retry_after or 0) <= seconds <= (retry_after or 0) + 4


def test_the_backoff_doubles_up_to_its_limit_and_is_spread_by_chance() -> None:
    lost = Outcome(None, processed=True, transient=True)
    policy = RetryPolicy(max_attempts=20, jitter=lambda: 1.0)
    waits = [policy.pause(attempt, lost, repeatable=True) for attempt in range(1, 8)]
    assert waits == [0.25, 0.5, 1, 2, 4, 4, 4]
    chance = {RetryPolicy().pause(1, lost, repeatable=True) for _ in range(20)}
    assert len(chance) > 1
    assert all(wait is not None and 0 <= wait <= 0.25 for wait in chance)


@given(st.text(max_size=60))
def test_no_header_text_breaks_the_reading(text: str) -> None:
    seconds = parse_retry_after(text, now=NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.datetimes().map(format_datetime))
def test_a_date_without_a_zone_is_taken_for_gmt(text: str) -> None:
    assert parse_http_date(text) == parse_http_date(text.replace("-0000", "GMT"))
