"""A scripted server, and a client of each kind for it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest

from tests.sdk.facade import Facade, make_settings
from tests.sdk.scripted_server import ScriptedServer

FacadeFactory = Callable[..., Facade]


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the first of the world's certificates: to load them all takes longer than most tests."""
    path = tmp_path_factory.mktemp("ca") / "one.pem"
    everything = Path(certifi.where()).read_text(encoding="utf-8")
    end = "-----END CERTIFICATE-----\n"
    path.write_text(everything[: everything.index(end)] + end, encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, one_certificate: str) -> None:
    """Let nothing of the machine's proxies, certificates and settings reach a test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CURL_CA_BUNDLE", one_certificate)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """An address at which nobody listens, and nobody else can: a connection is refused at once."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_client(kind: str, server: ScriptedServer) -> Iterator[FacadeFactory]:
    """Make clients of the server, with other settings or for another URL; all are closed in the end."""
    made: list[Facade] = []

    def make(base_url: str | None = None, *, clock: Callable[[], float] | None = None, **values: Any) -> Facade:
        made.append(Facade(kind, make_settings(base_url or server.url, **values), clock=clock))
        return made[-1]

    yield make
    for facade in made:
        facade.close()


@pytest.fixture
def client(make_client: FacadeFactory) -> Facade:
    return make_client()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a certificate for 127.0.0.1 that nobody signed but itself; its key lies beside it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("THE COMMAND openssl IS MISSING: nothing about TLS is tested")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path.with_name("key.pem")), "-out", str(path)]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        [openssl, "req", "-x509", *kind, *subject, *files],
        check=True,
        capture_output=True,
    )
    return str(path)


@pytest.fixture
def server_tls(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, Path(certificate).with_name("key.pem"))
    return context


@pytest.fixture
def tls_server(server_tls: ssl.SSLContext) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tls=server_tls)
    yield server
    server.close()
