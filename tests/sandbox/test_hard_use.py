"""A sandbox that is used hard, or wrongly: it says so, or goes on; it never hangs and never contradicts itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.core.management import CommandParser

from bloonio_chat.management.commands.bloonio_sandbox import Command
from bloonio_chat.sandbox import Refusal, SandboxRelay
from tests.sandbox.wire import Receiver, Wire, raw, sign
from tests.secrets import MARK, TENANT_ID


def test_waiting_for_the_state_while_others_change_it_ends(relay: SandboxRelay) -> None:
    def talk() -> None:
        for number in range(30):
            conversation = relay.open_conversation(f"visitor-{number}")
            relay.say(conversation.id, "I want to talk to a human")

    threads = [threading.Thread(target=talk, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    relay.wait_until(lambda: len(relay.conversations) == 60 and len(relay.tickets) == 60, 20)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_waiting_notices_what_causes_no_callback(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay()
    relay.callback_base_url = None
    timer = threading.Timer(0.1, relay.open_conversation, ["visitor-1"])
    timer.start()
    relay.wait_until(lambda: len(relay.conversations) == 1, 20)
    timer.join()


def test_waiting_in_vain_ends_in_time(relay: SandboxRelay) -> None:
    with pytest.raises(TimeoutError):
        relay.wait_until(lambda: False, 0.1)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("skew", float("nan")),
        ("skew", 1e300),
        ("delay", float("inf")),
        ("slow", -1.0),
        ("rate_limit", -1e300),
        ("server_error", 200.0),
        ("server_error", 42.0),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(relay: SandboxRelay, fault: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{fault}: its value is from"):
        relay.faults.calls.set(fault, value=value)


def test_a_callback_url_that_is_none_is_a_problem_of_the_attempt(make_relay: Callable[..., SandboxRelay]) -> None:
    relay = make_relay(callback_pauses=())
    relay.tenant.callback_base_url = "http://[x"
    relay.open_conversation("visitor-1")
    relay.wait(20)
    [callback] = relay.callbacks
    assert callback.outcome == "given_up"
    assert callback.attempts[0].problem


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 65535"):
        SandboxRelay(port=port)


def test_a_relay_that_was_stopped_does_not_start_again() -> None:
    relay = SandboxRelay()
    relay.start()
    relay.stop()
    with pytest.raises(RuntimeError, match="make another one"):
        relay.start()


def test_a_number_that_json_can_not_write_is_refused(wire: Wire) -> None:
    body = b'{"visitor_user_id": "v", "metadata": {"n": [1e999]}}'
    assert wire.call("POST", "/create/conversation", body=body).status == 422


def test_half_a_surrogate_pair_is_sent_as_its_escape_and_breaks_no_page(
    wire: Wire, relay: SandboxRelay, receiver: Receiver
) -> None:
    conversation = relay.open_conversation("visitor-1", visitor_display_name="\ud83d")
    relay.emit("visitor_typing", conversation_id=conversation.id, extra={"name": "\ud83d"})
    relay.wait()
    assert receiver.posted[-1].json["extra"] == {"name": "\ud83d"}
    answer = wire.call("GET", f"/fetch/conversation?conversation_id={conversation.id}")
    assert (answer.status, answer.data["visitor_display_name"]) == (200, "\ud83d")
    page = raw(relay.base_url, "GET", f"/?conversation={conversation.id}", b"", {})
    assert page.status == 200
    assert "visitor-1" in page.body.decode()


def test_the_timestamp_is_signed_as_it_was_sent(wire: Wire) -> None:
    now = str(wire.relay.clock.now_ms())
    for signed, status in ((f"00{now}", 200), (now, 401)):
        headers = {
            "X-Bloonio-Timestamp": f"00{now}",
            "X-Bloonio-Signature": sign(wire.relay.tenant_secret, signed, b""),
        }
        assert wire.call("GET", "/fetch/tenant-info", headers=headers).status == status


def test_visitors_and_operators_are_refused_what_a_call_would_be(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("visitor-1")
    for refused in (
        lambda: relay.say(conversation.id, ""),
        lambda: relay.say(conversation.id, "x" * 8001),
        lambda: relay.answer(conversation.id, "x" * 8001),
        lambda: relay.open_conversation(""),
        lambda: relay.open_conversation("visitor-1", channel="fax"),
    ):
        with pytest.raises(Refusal) as refusal:
            refused()
        assert refusal.value.status == 422


def test_an_event_that_is_made_up_does_not_contradict_its_path(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("visitor-1")
    relay.say(conversation.id, "I want to talk to a human")
    relay.claim(conversation.id)
    relay.emit("agent_released", conversation_id=conversation.id)
    relay.wait()
    made_up = relay.callbacks[-1]
    assert (made_up.data["status"], made_up.outcome) == ("WAITING", "delivered")
    assert made_up.data["released_at"]
    with pytest.raises(ValueError, match="takeover body"):
        relay.emit("agent_released", shape="takeover", conversation_id="c-unknown")


def test_what_was_pasted_into_the_settings_holds_for_the_next_start(settings: object) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = f"sk_sandbox_{MARK}"  # type: ignore[attr-defined]  # pytest-django's
    settings.BLOONIO_CHAT_CALLBACK_BASE_URL = "http://127.0.0.1:8000"  # type: ignore[attr-defined]  # the same
    options = Command().create_parser("manage.py", "bloonio_sandbox").parse_args([])
    assert isinstance(Command().create_parser("manage.py", "bloonio_sandbox"), CommandParser)
    assert options.tenant_id == TENANT_ID
    assert options.tenant_secret == f"sk_sandbox_{MARK}"
    assert options.callback_base_url == "http://127.0.0.1:8000"
