"""What surrounds a call: proxies and certificates of the environment, and no cookies, redirects or .netrc."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bloonio_chat.sdk.errors import ChatRelayConnectionError, ChatRelayStatusError, ChatRelayTimeoutError
from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, TICKET
from tests.sdk.scripted_server import (
    Behaviour,
    ScriptedServer,
    answers,
    answers_data,
    answers_json,
    hangs_up,
    says_nothing,
    sends,
    tunnels_to,
)


@pytest.fixture
def other_server() -> Iterator[ScriptedServer]:
    """Listen as somebody else: another host, or a proxy."""
    server = ScriptedServer()
    yield server
    server.close()


# ---- redirects, cookies, .netrc ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["fetch_ticket", "send_message"])
def test_a_redirect_is_an_error_and_no_one_else_hears_of_the_call(
    server: ScriptedServer, other_server: ScriptedServer, client: Facade, status: int, name: str
) -> None:
    server.otherwise = answers(status, Location=f"{other_server.url}/elsewhere")
    error = client.error_of(name, "c1", **BY_NAME[name].least)
    assert type(error) is ChatRelayStatusError
    assert error.status_code == status
    assert "Redirects are not followed" in str(error)
    assert "correct BASE_URL" in str(error)
    assert len(server.requests) == 1
    assert other_server.connections == 0


@pytest.mark.parametrize("status", [200, 401, 503])
def test_cookies_are_never_sent_back(server: ScriptedServer, client: Facade, status: int) -> None:
    server.script.append(answers_json(TICKET, status, Set_Cookie="session=1; Path=/"))
    server.otherwise = answers_json(TICKET, 200, Set_Cookie="session=2; Path=/; Domain=127.0.0.1")
    client.error_of("fetch_ticket", "t1") if status == 401 else client.call("fetch_ticket", "t1")
    client.call("fetch_ticket", "t1")
    client.call("fetch_ticket", "t1")
    assert len(server.requests) > 2
    assert [request.header("Cookie") for request in server.requests] == [None] * len(server.requests)


def test_no_netrc_is_read(
    server: ScriptedServer, make_client: FacadeFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login me password mine\ndefault login me password mine\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.otherwise = answers_json(TICKET)
    make_client().call("fetch_ticket", "t1")
    assert server.requests[0].header("Authorization") is None


# ---- proxies -----------------------------------------------------------------------------------------------------


def test_a_plain_call_goes_through_the_proxy_whole(
    server: ScriptedServer, other_server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", other_server.url)
    monkeypatch.setenv("http_proxy", other_server.url)
    other_server.otherwise = answers_json(TICKET)
    make_client("http://relay.test").call("fetch_ticket", "a&b")
    (request,) = other_server.requests
    assert request.target == "http://relay.test/api/v1/relay/fetch/ticket?ticket_id=a%26b"
    assert request.header("Host") == "relay.test"


@pytest.mark.parametrize("hosts", ["127.0.0.1", "relay.test,127.0.0.1"])
def test_no_proxy_is_obeyed(
    server: ScriptedServer,
    other_server: ScriptedServer,
    make_client: FacadeFactory,
    monkeypatch: pytest.MonkeyPatch,
    hosts: str,
) -> None:
    for name, value in (("HTTP_PROXY", other_server.url), ("NO_PROXY", hosts)):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    server.otherwise = answers_json(TICKET)
    make_client().call("fetch_ticket", "t1")
    assert other_server.connections == 0
    assert len(server.requests) == 1


def test_the_environment_is_looked_at_once(
    server: ScriptedServer, other_server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.otherwise = answers_json(TICKET)
    client = make_client()
    client.call("fetch_ticket", "t1")
    monkeypatch.setenv("HTTP_PROXY", other_server.url)
    monkeypatch.setenv("http_proxy", other_server.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    client.call("fetch_ticket", "t1")
    assert other_server.connections == 0
    assert len(server.requests) == 2


def test_a_proxy_that_is_not_there_is_told_from_the_relay(
    make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch, refusing_url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", refusing_url)
    client = make_client("https://relay.test")
    error = client.error_of("send_message", "c1", content="x")
    assert type(error) is ChatRelayConnectionError
    assert not error.maybe_processed
    assert len(client.sleeps) == 2


@pytest.mark.parametrize(
    "refusal",
    [answers(407, b"who are you"), answers(502), hangs_up, sends(b"garbage\r\n\r\n")],
    ids=["407", "502", "closed", "garbage"],
)
def test_a_proxy_that_refuses_has_shown_the_relay_nothing(
    other_server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch, refusal: Behaviour
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", other_server.url)
    other_server.otherwise = refusal
    error = make_client("https://relay.test").error_of("send_message", "c1", content="x")
    assert type(error) is ChatRelayConnectionError
    assert not error.maybe_processed
    # So even a write was tried again.
    assert [request.method for request in other_server.requests] == ["CONNECT"] * 3
    assert all(request.header("X-Bloonio-Signature") is None for request in other_server.requests)


def test_a_proxy_that_never_answers_ends_in_time(
    other_server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", other_server.url)
    other_server.otherwise = says_nothing
    client = make_client("https://relay.test", request_timeout_seconds=0.25, max_attempts=1)
    error = client.error_of("send_message", "c1", content="x")
    assert isinstance(error, ChatRelayTimeoutError)
    assert not error.maybe_processed


@pytest.mark.parametrize("proxy_speaks_tls", [False, True])
def test_a_call_over_tls_goes_through_a_tunnel(
    tls_server: ScriptedServer,
    other_server: ScriptedServer,
    server_tls: ssl.SSLContext,
    certificate: str,
    make_client: FacadeFactory,
    monkeypatch: pytest.MonkeyPatch,
    proxy_speaks_tls: bool,
) -> None:
    proxy = ScriptedServer(tls=server_tls) if proxy_speaks_tls else other_server
    try:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        proxy.otherwise = tunnels_to(tls_server.port)
        tls_server.script.append(answers_json(TICKET))
        tls_server.otherwise = answers_data(BY_NAME["send_message"].answer)
        client = make_client(tls_server.url)
        assert client.call("fetch_ticket", "t1").id == "t1"
        assert client.call("send_message", "c1", content="x").id == "m1"
        (connect,) = proxy.requests
        assert (connect.method, connect.target) == ("CONNECT", f"127.0.0.1:{tls_server.port}")
        assert connect.header("X-Bloonio-Signature") is None
        # One tunnel for both calls.
        assert [request.method for request in tls_server.requests] == ["GET", "POST"]
    finally:
        proxy.close()
