"""Each of the thirteen operations sends what protocol §3 says, signed as §2 says, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, SAMPLES, Sample
from tests.sdk.scripted_server import Received, ScriptedServer, answers_data
from tests.secrets import SECRET, TENANT_ID

EXPECTED_HEADERS = {
    "host",
    "accept",
    "accept-encoding",
    "user-agent",
    "connection",
    "x-bloonio-tenant-id",
    "x-bloonio-timestamp",
    "x-bloonio-signature",
}


def assert_signed(request: Received, secret: str = SECRET) -> None:
    timestamp = request.header("X-Bloonio-Timestamp") or ""
    message = f"{timestamp}.{hashlib.sha256(request.body).hexdigest()}".encode()
    assert request.header("X-Bloonio-Tenant-Id") == TENANT_ID
    assert timestamp.isdecimal()
    assert request.header("X-Bloonio-Signature") == hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def sent_by(server: ScriptedServer, client: Facade, sample: Sample, kwargs: dict[str, Any]) -> Received:
    server.script.append(answers_data(sample.answer))
    client.call(sample.name, *sample.args, **kwargs)
    (request,) = server.requests
    return request


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_every_argument_is_sent_where_the_protocol_wants_it(
    server: ScriptedServer, client: Facade, sample: Sample
) -> None:
    request = sent_by(server, client, sample, sample.kwargs)
    assert request.method == sample.method
    assert request.path == f"/api/v1/relay{sample.path}"
    assert request.query == sample.query
    assert (json.loads(request.body) if request.body else None) == sample.sent


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_what_is_left_out_takes_the_protocols_default_or_is_not_sent(
    server: ScriptedServer, client: Facade, sample: Sample
) -> None:
    request = sent_by(server, client, sample, sample.least)
    assert request.query == (sample.query if sample.least_query is None else sample.least_query)
    assert (json.loads(request.body) if request.body else None) == sample.least_sent


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_headers_are_the_signed_ones_and_no_others(server: ScriptedServer, client: Facade, sample: Sample) -> None:
    request = sent_by(server, client, sample, sample.kwargs)
    expected = EXPECTED_HEADERS | ({"content-type", "content-length"} if sample.sent is not None else set())
    # "Connection" is a library's own business, and only keep-alive would do.
    assert {name.lower() for name, _ in request.headers} | {"connection"} == expected
    assert request.header("Connection") in (None, "keep-alive")
    assert request.header("Accept") == "application/json"
    assert request.header("Accept-Encoding") == "identity"
    assert request.header("Content-Type") == ("application/json" if sample.sent is not None else None)
    assert_signed(request)


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.query], ids=lambda sample: sample.name)
def test_an_id_is_percent_encoded_and_changes_nothing_else(
    server: ScriptedServer, client: Facade, sample: Sample
) -> None:
    request = sent_by(server, client, sample, sample.kwargs)
    assert "#" not in request.target
    assert request.target.count("&") == max(0, len(sample.query) - 1)
    assert request.target.isascii()


def test_the_body_is_compact_utf8_and_the_very_bytes_that_were_signed(server: ScriptedServer, client: Facade) -> None:
    request = sent_by(server, client, BY_NAME["send_message"], {"content": "Où ? 🙂"})
    assert request.body == '{"role":"visitor","content":"Où ? 🙂"}'.encode()
    assert_signed(request)


def test_the_timestamp_is_the_clocks_in_milliseconds(server: ScriptedServer, make_client: FacadeFactory) -> None:
    sent_by(server, make_client(clock=lambda: 1718966400.1239), BY_NAME["fetch_tenant_info"], {})
    assert server.requests[0].header("X-Bloonio-Timestamp") == "1718966400123"
    before = int(time.time() * 1000)
    server.script.append(answers_data(BY_NAME["fetch_tenant_info"].answer))
    make_client().call("fetch_tenant_info")
    assert before <= int(server.requests[1].header("X-Bloonio-Timestamp") or 0) <= time.time() * 1000


def test_a_base_url_may_have_a_path_and_trailing_slashes(server: ScriptedServer, make_client: FacadeFactory) -> None:
    sent_by(server, make_client(server.url + "/behind/gateway//"), BY_NAME["fetch_tenant_info"], {})
    assert server.requests[0].target == "/behind/gateway/api/v1/relay/fetch/tenant-info"


def test_a_secret_outside_ascii_signs_as_utf8(server: ScriptedServer, make_client: FacadeFactory) -> None:
    secret = f"{SECRET}-sécret-☃"
    client = make_client(fallbacks=[secret])
    server.script.extend([answers_data(None, 401), answers_data(BY_NAME["fetch_tenant_info"].answer)])
    client.call("fetch_tenant_info")
    assert_signed(server.requests[1], secret)
