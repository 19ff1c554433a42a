"""``SandboxRelay`` itself: what it keeps, what it refuses to be, what it shows."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from bloonio_chat.sandbox import SandboxRelay
from tests.sandbox.wire import API, Receiver, Wire, raw
from tests.secrets import MARK

INFO = ("GET", "/fetch/tenant-info")


def test_calls_are_kept(wire: Wire) -> None:
    wire.call(*INFO)
    wire.call(*INFO, secret="sk_sandbox_x")
    kept = [(call.operation, call.status, call.tenant_id) for call in wire.relay.calls]
    assert kept == [("fetch_tenant_info", 200, wire.relay.tenant_id), ("fetch_tenant_info", 401, None)]


@pytest.mark.parametrize("secret", ["", "sk_live_x", "sk_sandbox_"])
def test_a_secret_that_is_no_sandbox_s_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="begins with sk_sandbox_"):
        SandboxRelay(tenant_secret=secret)


def test_a_tenant_s_id_must_be_a_uuid() -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        SandboxRelay(tenant_id="shop")


def test_a_port_that_is_taken_is_an_oserror(relay: SandboxRelay) -> None:
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        SandboxRelay(port=urlsplit(relay.base_url).port or 0)


def test_no_repr_shows_a_secret(relay: SandboxRelay) -> None:
    shown = repr([relay, relay.tenant, relay.tenants, vars(relay.tenant).keys()])
    assert MARK not in shown


def test_the_relay_listens_on_the_loopback_alone(relay: SandboxRelay) -> None:
    assert urlsplit(relay.base_url).hostname == "127.0.0.1"
    assert raw(relay.base_url, "GET", f"{API}/fetch/tenant-info", b"", {}).status == 401


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_limit_is_at_least_one(rate: int) -> None:
    with pytest.raises(ValueError, match="rate limit"):
        SandboxRelay(rate_limit_per_min=rate)


def test_stopping_twice_and_without_starting_is_no_error() -> None:
    relay = SandboxRelay()
    relay.stop()
    relay.stop()


def test_the_package_says_what_it_lacks() -> None:
    import bloonio_chat.sandbox as package

    with pytest.raises(AttributeError, match="Nothing"):
        _ = package.Nothing
    assert [getattr(package, name).__name__ for name in package.__all__] == package.__all__


def test_callbacks_can_be_turned_on_while_it_runs(relay: SandboxRelay, receiver: Receiver) -> None:
    relay.callback_base_url = None
    relay.open_conversation("unheard")
    relay.callback_base_url = f"{receiver.url}/"
    assert relay.callback_base_url == receiver.url
    relay.open_conversation("heard")
    relay.wait()
    [callback] = relay.callbacks
    assert callback.data["visitor_user_id"] == "heard"


def test_what_is_no_http_is_400_and_quiet(relay: SandboxRelay, capfd: pytest.CaptureFixture[str]) -> None:
    parts = urlsplit(relay.base_url)
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as connection:
        connection.sendall(b"no HTTP at all, whatever\r\n\r\n")
        assert b"400" in connection.recv(1000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost", "ftp://a", "http://", "http://a:port", ""])
def test_callbacks_go_to_an_http_url(relay: SandboxRelay, url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        relay.callback_base_url = url
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        SandboxRelay(callback_base_url=url)
