"""TLS: a certificate that nobody vouches for is an error that says so; the environment may name whom to trust."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from bloonio_chat.sdk.errors import ChatRelayConfigurationError, ChatRelayConnectionError
from tests.sdk.conftest import FacadeFactory
from tests.sdk.samples import BY_NAME, TICKET
from tests.sdk.scripted_server import ScriptedServer, answers_data, answers_json


@pytest.mark.parametrize("name", ["fetch_ticket", "send_message"])
def test_an_untrusted_certificate_is_a_clear_error_and_not_tried_again(
    tls_server: ScriptedServer, make_client: FacadeFactory, name: str
) -> None:
    client = make_client(tls_server.url)
    error = client.error_of(name, "c1", **BY_NAME[name].least)
    assert type(error) is ChatRelayConnectionError
    assert "TLS certificate or handshake was refused" in str(error)
    assert not error.maybe_processed
    assert client.sleeps == []
    assert tls_server.connections == 1
    assert tls_server.requests == []


@pytest.mark.parametrize("busy_with", [TimeoutError, KeyError, ssl.SSLError])
def test_what_the_caller_was_busy_with_is_no_cause(
    tls_server: ScriptedServer, make_client: FacadeFactory, busy_with: type[Exception]
) -> None:
    untrusted, unreachable = make_client(tls_server.url), make_client("http://127.0.0.1:1")
    try:
        raise busy_with  # noqa: TRY301  # the call is to be made while it is handled
    except busy_with:
        assert "TLS certificate or handshake was refused" in str(untrusted.error_of("fetch_ticket", "t1"))
        assert "the relay was not reached" in str(unreachable.error_of("fetch_ticket", "t1"))
    assert tls_server.connections == 1


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_trusted(
    tls_server: ScriptedServer,
    make_client: FacadeFactory,
    certificate: str,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, certificate)
    client = make_client(tls_server.url)
    tls_server.otherwise = answers_json(TICKET)
    assert client.call("fetch_ticket", "t1").id == "t1"
    # Looked up once: what is set later is for clients that are made later.
    monkeypatch.setenv(variable, "/nowhere")
    assert client.call("fetch_ticket", "t1").id == "t1"
    assert tls_server.connections == 1


def test_a_directory_of_certificates_is_trusted_too(
    tls_server: ScriptedServer,
    make_client: FacadeFactory,
    certificate: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["openssl", "x509", "-in", certificate, "-noout", "-subject_hash"]
    digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(certificate, tmp_path / f"{digest}.0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    tls_server.otherwise = answers_json(TICKET)
    assert make_client(tls_server.url).call("fetch_ticket", "t1").id == "t1"


def test_a_certificate_for_another_name_is_refused(
    tls_server: ScriptedServer, make_client: FacadeFactory, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    error = make_client(f"https://localhost:{tls_server.port}").error_of("fetch_ticket", "t1")
    assert "TLS certificate or handshake was refused" in str(error)
    assert tls_server.requests == []


def test_a_bundle_that_is_not_there_is_a_mistake_in_the_configuration(
    tls_server: ScriptedServer, make_client: FacadeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(ChatRelayConfigurationError, match="REQUESTS_CA_BUNDLE names no file"):
        make_client(tls_server.url).call("fetch_ticket", "t1")
    assert tls_server.connections == 0


def test_a_bundle_without_a_certificate_is_an_error_of_ours_too(
    tls_server: ScriptedServer, make_client: FacadeFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "empty.pem"
    bundle.write_text("nothing")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises((ChatRelayConfigurationError, ChatRelayConnectionError)):
        make_client(tls_server.url).call("fetch_ticket", "t1")
    assert tls_server.requests == []


def test_a_relay_that_speaks_no_tls_is_a_clear_error(server: ScriptedServer, make_client: FacadeFactory) -> None:
    client = make_client(f"https://127.0.0.1:{server.port}")
    error = client.error_of("send_message", "c1", content="x")
    assert type(error) is ChatRelayConnectionError
    assert not error.maybe_processed


def test_tls_connections_are_kept_and_closed_like_others(
    tls_server: ScriptedServer, make_client: FacadeFactory, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    client = make_client(tls_server.url)
    tls_server.otherwise = answers_data(BY_NAME["send_message"].answer)
    for _ in range(3):
        client.call("send_message", "c1", content="x")
    assert tls_server.connections == 1
    assert len(tls_server.requests) == 3
