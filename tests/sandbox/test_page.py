"""The sandbox's own page: what it shows, what its forms do, and whom it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from bloonio_chat.sandbox import SandboxRelay
from tests.sandbox.wire import Answer, Receiver, raw
from tests.secrets import MARK

NASTY = "<script>alert('x')</script>\"&"


def _get(relay: SandboxRelay, target: str = "/", **headers: str) -> Answer:
    return raw(relay.base_url, "GET", target, b"", headers)


def _token(relay: SandboxRelay) -> str:
    found = re.search(r'name="token" value="([^"]+)"', _get(relay).body.decode())
    assert found
    return found[1]


def _post(relay: SandboxRelay, action: str, **fields: str) -> Answer:
    fields = {"token": _token(relay), **fields}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return raw(relay.base_url, "POST", f"/page/{action}", urlencode(fields).encode(), headers)


def test_an_empty_relay_has_a_page(relay: SandboxRelay) -> None:
    answer = _get(relay)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    assert relay.tenant_id in page
    assert relay.base_url in page
    for said in ("No conversation yet.", "Nobody waits", "No ticket yet.", "No callback yet.", "Nothing goes wrong."):
        assert said in page


def test_the_page_needs_nothing_from_elsewhere(relay: SandboxRelay) -> None:
    relay.open_conversation("a")
    answer = _get(relay)
    page = answer.body.decode()
    assert "<script" not in page
    assert not re.search(r"""(src|href|action)=["'](https?:)?//""", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_what_strangers_say_is_escaped(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.provision_operator("ann@shop.example", NASTY)
    conversation = relay.open_conversation(f"a{NASTY}", visitor_display_name=NASTY)
    relay.say(conversation.id, f"{NASTY} human")
    relay.claim(conversation.id)
    relay.emit_bytes("message_received", NASTY.encode())
    relay.faults.calls.set("delay", only=NASTY)
    relay.wait()
    page = _get(relay, "/?conversation=" + urlencode({"": NASTY})[1:]).body.decode()
    assert "<script" not in page
    # Name in list, queue, head and operator; the message; the subject; the callbacks' bodies; the fault.
    assert page.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") >= 8


def test_the_secret_is_not_on_the_page(relay: SandboxRelay) -> None:
    relay.open_conversation("a")
    relay.wait()
    assert MARK not in _get(relay).body.decode()


def test_a_conversation_is_played_from_the_page(relay: SandboxRelay) -> None:
    relay.provision_operator("ann@shop.example", "Ann Archer")
    opened = _post(relay, "open", visitor_user_id="jo", content="A human please")
    [conversation] = relay.conversations.values()
    here = f"/?conversation={conversation.id}"
    assert (opened.status, opened.headers["location"]) == (303, here)
    assert ">WAITING<" in _get(relay, here).body.decode()

    assert _post(relay, "claim", conversation=conversation.id, operator="ann@shop.example").status == 303
    page = _get(relay, here).body.decode()
    assert ">ASSIGNED<" in page
    assert "Ann Archer" in page
    _post(relay, "answer", conversation=conversation.id, content="Hello Jo")
    _post(relay, "say", conversation=conversation.id, content="Hello Ann")
    assert [message.content for message in relay.messages][-2:] == ["Hello Jo", "Hello Ann"]
    assert "Hello Jo" in _get(relay, here).body.decode()
    _post(relay, "release", conversation=conversation.id)
    assert relay.escalations[conversation.id].status == "WAITING"
    _post(relay, "answer", conversation=conversation.id, content="Back again", operator="")
    _post(relay, "resolve", conversation=conversation.id)
    assert conversation.status == "closed"
    assert "Closed: a message would be answered with 409." in _get(relay, here).body.decode()


def test_callbacks_are_shown_with_their_attempts(relay: SandboxRelay, receiver: Receiver) -> None:
    receiver.statuses.append(503)
    relay.faults.callbacks.set("drop_before", count=1)
    relay.open_conversation("jo")
    relay.wait()
    page = _get(relay).body.decode()
    for shown in ("conversation_started", ">delivered<", "FaultError: drop_before", "→ 503 in", "→ 200 in"):
        assert shown in page
    assert "&#34;visitor_user_id&#34;: &#34;jo&#34;" in page


def test_tickets_are_shown(relay: SandboxRelay) -> None:
    relay.escalate(relay.open_conversation("jo").id)
    page = _get(relay).body.decode()
    assert "LOK-000001" in page
    assert ">open<" in page


def test_faults_are_set_and_taken_back(relay: SandboxRelay) -> None:
    assert _post(relay, "fault", fault="calls.slow", amount="0.5", value="3").status == 303
    assert _post(relay, "fault", fault="callbacks.duplicate", amount="2x", value="").status == 303
    [slow], [duplicate] = relay.faults.calls.active(), relay.faults.callbacks.active()
    assert (slow.name, slow.probability, slow.value) == ("slow", 0.5, 3.0)
    assert (duplicate.name, duplicate.count) == ("duplicate", 2)
    page = _get(relay).body.decode()
    assert "probability 0.5" in page
    assert "2 more times" in page
    assert _post(relay, "clear-faults").status == 303
    assert relay.faults.calls.active() == relay.faults.callbacks.active() == []


def test_faults_do_not_strike_the_page(relay: SandboxRelay) -> None:
    relay.faults.calls.set("server_error", probability=1)
    assert _get(relay).status == 200


# ---- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "fields", "status", "said"),
    [
        ("claim", {"conversation": "nothing"}, 404, "Conversation not found"),
        ("fault", {"fault": "calls.nothing", "amount": "1"}, 422, "There is no fault"),
        ("fault", {"fault": "calls.slow", "amount": NASTY}, 422, "numbers"),
        ("open", {"visitor_user_id": "  "}, 422, "from 1 to 8000"),
        ("say", {"content": "Hello"}, 422, "conversation"),
        ("open", {"visitor_user_id": "a" * 8001}, 422, "from 1 to 8000"),
    ],
)
def test_what_can_t_be_done_is_said_on_the_page(
    relay: SandboxRelay, action: str, fields: dict[str, str], status: int, said: str
) -> None:
    answer = _post(relay, action, **fields)
    page = answer.body.decode()
    assert answer.status == status
    assert said in page
    assert "<script" not in page


def test_taking_what_another_has_is_said_on_the_page(relay: SandboxRelay) -> None:
    conversation = relay.open_conversation("a")
    relay.claim(conversation.id)
    answer = _post(relay, "claim", conversation=conversation.id)
    assert (answer.status, "ASSIGNED, not WAITING" in answer.body.decode()) == (409, True)


@pytest.mark.parametrize("token", ["", "guess", "é"])
def test_a_form_without_this_start_s_token_does_nothing(relay: SandboxRelay, token: str) -> None:
    answer = _post(relay, "open", visitor_user_id="jo", token=token)
    assert answer.status == 403
    assert relay.conversations == {}


def test_each_start_has_another_token(make_relay: Callable[..., SandboxRelay]) -> None:
    assert _token(make_relay(seed=1)) != _token(make_relay(seed=1))


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1", ""]
)
def test_a_foreign_host_is_refused(relay: SandboxRelay, host: str) -> None:
    assert _get(relay, Host=host).status == 400
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": host}
    body = urlencode({"token": _token(relay), "visitor_user_id": "jo"}).encode()
    assert raw(relay.base_url, "POST", "/page/open", body, headers).status == 400
    assert relay.conversations == {}


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1"])
def test_the_loopback_s_own_names_are_welcome(relay: SandboxRelay, host: str) -> None:
    assert _get(relay, Host=host).status == 200


def test_other_methods_and_paths_are_refused(relay: SandboxRelay) -> None:
    assert raw(relay.base_url, "POST", "/", b"", {}).status == 405
    assert _get(relay, "/page/open").status == 405
    assert _get(relay, "/page/nothing").status == 404


def test_too_large_a_form_is_413(relay: SandboxRelay) -> None:
    assert _post(relay, "open", visitor_user_id="jo", content="x" * 70_000).status == 413
    assert relay.conversations == {}
