"""Faults of calls: each one as it looks to the tenant, and that a seed repeats them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox.faults import CALL_FAULTS
from tests.sandbox.wire import Wire

INFO = ("GET", "/fetch/tenant-info")
NEW = ("POST", "/create/conversation", {"visitor_user_id": "a"})


def test_rate_limit_asks_to_wait(wire: Wire) -> None:
    wire.relay.faults.calls.set("rate_limit", count=2, value=7)
    for _ in range(2):
        answer = wire.call(*NEW)
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert wire.call(*NEW).status == 201
    assert len(wire.relay.conversations) == 1


def test_rate_limit_can_ask_with_a_date(still_wire: Wire) -> None:
    still_wire.relay.faults.calls.set("rate_limit", value=-30)
    until = parsedate_to_datetime(still_wire.call(*INFO).headers["retry-after"]).timestamp()
    assert until - still_wire.relay.clock.now() == 30


def test_a_server_error_comes_before_the_work(wire: Wire) -> None:
    wire.relay.faults.calls.set("server_error")
    answer = wire.call(*NEW)
    assert (answer.status, answer.json["status_code"]) == (503, 503)
    assert wire.relay.conversations == {}


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_s_error_is_a_page(wire: Wire, status: int) -> None:
    wire.relay.faults.calls.set("server_error", value=status)
    answer = wire.call(*NEW)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (status, "text/html")
    assert answer.body.startswith(b"<html>")


@pytest.mark.parametrize(("name", "done"), [("drop_before", 0), ("drop_after", 1)])
def test_the_connection_is_cut_before_or_after_the_work(wire: Wire, name: str, done: int) -> None:
    wire.relay.faults.calls.set(name)
    with pytest.raises(http.client.RemoteDisconnected):
        wire.call(*NEW)
    assert len(wire.relay.conversations) == done
    assert [(call.status, call.faults) for call in wire.relay.calls] == [(0, (name,))]


def test_an_answer_is_cut_short_after_the_work(wire: Wire) -> None:
    wire.relay.faults.calls.set("truncate")
    with pytest.raises(http.client.IncompleteRead) as cut:
        wire.call(*NEW)
    assert cut.value.partial.startswith(b'{"status_code": 201')
    assert cut.value.expected is not None
    assert cut.value.expected > 0
    assert len(wire.relay.conversations) == 1


def test_an_answer_is_late(wire: Wire) -> None:
    wire.relay.faults.calls.set("delay", value=0.1)
    started = time.monotonic()
    assert wire.call(*INFO).status == 200
    assert time.monotonic() - started >= 0.1


def test_an_answer_trickles(wire: Wire) -> None:
    wire.relay.faults.calls.set("slow", value=0.1)
    started = time.monotonic()
    assert wire.call(*INFO).data["tenant_id"] == wire.relay.tenant_id
    assert time.monotonic() - started >= 0.09


def test_a_late_answer_waits_for_the_relay_s_clock(wire: Wire) -> None:
    wire.relay.faults.calls.set("delay", value=3600)
    statuses: list[int] = []
    caller = threading.Thread(target=lambda: statuses.append(wire.call(*NEW).status))
    caller.start()
    wire.relay.wait_until(lambda: len(wire.relay.callbacks) == 1 and wire.relay.callbacks[0].outcome != "pending")
    while caller.is_alive():
        # Whether the answer has begun to wait can't be seen from outside.
        wire.relay.clock.advance(3600)
        caller.join(0.01)
    assert statuses == [201]


def test_a_late_answer_does_not_hold_up_stopping(make_relay: Callable[..., SandboxRelay]) -> None:
    wire = Wire(make_relay())
    wire.relay.faults.calls.set("delay", value=3600)
    errors: list[type[Exception]] = []

    def call() -> None:
        try:
            wire.call(*NEW)
        except (OSError, http.client.HTTPException) as error:
            errors.append(type(error))

    caller = threading.Thread(target=call)
    caller.start()
    while not wire.relay.conversations:
        caller.join(0.005)
    wire.relay.stop()
    caller.join(10)
    assert not caller.is_alive()


def test_a_skewed_clock_refuses_and_dates_its_answer(still_wire: Wire) -> None:
    still_wire.relay.faults.calls.set("skew", value=-300)
    answer = still_wire.call(*INFO)
    assert answer.status == 401
    now = still_wire.relay.clock.now()
    assert parsedate_to_datetime(answer.headers["date"]).timestamp() == now - 300
    right = still_wire.call(*INFO)
    assert right.status == 200
    assert parsedate_to_datetime(right.headers["date"]).timestamp() == now


def test_a_skew_within_the_window_is_let_in(wire: Wire) -> None:
    wire.relay.faults.calls.set("skew", value=20)
    assert wire.call(*INFO).status == 200
    assert wire.relay.calls[0].faults == ("skew",)


def test_a_fault_can_be_for_one_operation(wire: Wire) -> None:
    wire.relay.faults.calls.set("server_error", count=1, only="create_conversation")
    assert [wire.call(*INFO).status, wire.call(*NEW).status, wire.call(*NEW).status] == [200, 503, 201]


def test_faults_can_be_taken_back(wire: Wire) -> None:
    faults = wire.relay.faults
    faults.calls.set("server_error", probability=1)
    faults.calls.set("delay", probability=0.5)
    faults.callbacks.set("duplicate", count=3)
    faults.calls.clear("server_error")
    assert [each.name for each in faults.calls.active()] == ["delay"]
    faults.clear()
    assert faults.calls.active() == faults.callbacks.active() == []
    assert wire.call(*INFO).status == 200


def _struck(relay: SandboxRelay) -> list[tuple[str, ...]]:
    wire = Wire(relay)
    for name in ("rate_limit", "server_error", "delay"):
        relay.faults.calls.set(name, probability=0.3, value={"delay": 0.0}.get(name))
    for _ in range(40):
        wire.call(*INFO)
    return [call.faults for call in relay.calls]


def test_a_seed_repeats_faults_and_ids(make_relay: Callable[..., SandboxRelay]) -> None:
    first, same, other = (make_relay(seed=seed, rate_limit_per_min=None) for seed in (7, 7, 8))
    faults = _struck(first)
    assert _struck(same) == faults
    assert _struck(other) != faults
    assert 5 < sum(map(bool, faults)) < 35
    assert (first.tenant_id, first.open_conversation("a").id) == (same.tenant_id, same.open_conversation("a").id)
    assert first.open_conversation("a").id != other.open_conversation("a").id


def test_without_a_seed_every_run_is_another() -> None:
    first, second = SandboxRelay(), SandboxRelay()
    assert (first.seed, first.tenant_id, first.tenant_secret) != (second.seed, second.tenant_id, second.tenant_secret)
    assert first.tenant_secret != second.tenant_secret
    first.stop()
    second.stop()


@pytest.mark.parametrize(
    "settings", [{"probability": 1.1}, {"probability": -0.1}, {"count": -1}, {"probability": 0.5, "count": 1}]
)
def test_a_fault_that_makes_no_sense_is_refused(relay: SandboxRelay, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="delay"):
        relay.faults.calls.set("delay", **settings)  # type: ignore[arg-type]  # that is the point


def test_an_unknown_fault_is_refused_with_those_that_there_are(relay: SandboxRelay) -> None:
    with pytest.raises(ValueError, match=", ".join(CALL_FAULTS)):
        relay.faults.calls.set("duplicate")


@pytest.mark.parametrize(
    ("text", "calls", "callbacks"),
    [
        ("calls.slow=0.5:3", [("slow", 0.5, None, 3.0)], []),
        ("callbacks.slow=2x", [], [("slow", None, 2, 2.0)]),
        ("slow=1", [("slow", 1.0, None, 2.0)], [("slow", 1.0, None, 2.0)]),
        ("duplicate=0.1", [], [("duplicate", 0.1, None, 0.0)]),
    ],
)
def test_faults_as_the_command_line_writes_them(
    relay: SandboxRelay, text: str, calls: list[object], callbacks: list[object]
) -> None:
    relay.faults.set_from_text(text)
    for side, expected in ((relay.faults.calls, calls), (relay.faults.callbacks, callbacks)):
        assert [(each.name, each.probability, each.count, each.value) for each in side.active()] == expected


@pytest.mark.parametrize("text", ["slow", "slow=", "slow=often", "nothing=1", "calls.duplicate=1", "slow=2", "slow=x"])
def test_a_text_that_is_no_fault_is_refused(relay: SandboxRelay, text: str) -> None:
    with pytest.raises(ValueError, match=r"slow|duplicate|nothing"):
        relay.faults.set_from_text(text)
