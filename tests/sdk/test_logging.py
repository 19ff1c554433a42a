"""The log: one line at DEBUG for each attempt on ``bloonio_chat.sdk``, without anything personal."""

from __future__ import annotations

import logging

import pytest

from tests.sdk.conftest import FacadeFactory
from tests.sdk.facade import Facade
from tests.sdk.samples import BY_NAME, SAMPLES, Sample
from tests.sdk.scripted_server import ScriptedServer, answers, answers_data, hangs_up
from tests.secrets import FALLBACK_SECRET, TENANT_ID


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("bloonio_chat")]


@pytest.fixture(autouse=True)
def everything_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def test_each_attempt_is_one_record_with_its_four_facts(
    server: ScriptedServer, client: Facade, caplog: pytest.LogCaptureFixture
) -> None:
    server.script.extend([answers(503), hangs_up, answers_data(BY_NAME["fetch_ticket"].answer)])
    client.call("fetch_ticket", "t1")
    found = records(caplog)
    assert [record.name for record in found] == ["bloonio_chat.sdk"] * 3
    assert {record.levelno for record in found} == {logging.DEBUG}
    facts = [(vars(record)["operation"], vars(record)["attempt"], vars(record)["status"]) for record in found]
    assert facts == [
        ("fetch_ticket", 1, 503),
        ("fetch_ticket", 2, "the connection was lost before the answer was whole"),
        ("fetch_ticket", 3, 200),
    ]
    for record in found:
        assert 0 < vars(record)["milliseconds"] < 5000
    assert found[2].getMessage().startswith("fetch_ticket attempt 3: 200 in ")
    assert found[2].getMessage().endswith(" ms")


def test_an_attempt_with_another_secret_is_a_record_too(
    server: ScriptedServer, make_client: FacadeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server.script.append(answers(401))
    server.otherwise = answers_data(BY_NAME["fetch_ticket"].answer)
    make_client(fallbacks=[FALLBACK_SECRET]).call("fetch_ticket", "t1")
    assert [vars(record)["status"] for record in records(caplog)] == [401, 200]


def test_what_is_refused_before_it_is_sent_is_not_logged(client: Facade, caplog: pytest.LogCaptureFixture) -> None:
    client.error_of("fetch_ticket", "")
    assert records(caplog) == []


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_nothing_personal_is_logged(
    server: ScriptedServer, client: Facade, caplog: pytest.LogCaptureFixture, sample: Sample, status: int
) -> None:
    server.otherwise = answers_data(sample.answer, status)
    if status == 200:
        client.call(sample.name, *sample.args, **sample.kwargs)
    else:
        client.error_of(sample.name, *sample.args, **sample.kwargs)
    (record,) = records(caplog)
    shown = f"{record.getMessage()} {vars(record)}"
    assert sample.name in shown
    values = [*sample.args, *(value for value in sample.kwargs.values() if isinstance(value, str) and len(value) > 5)]
    for value in [*values, TENANT_ID, server.url, "user-123", "mail.test", "?"]:
        assert value not in shown


def test_nothing_is_logged_above_debug(
    server: ScriptedServer, client: Facade, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="bloonio_chat")
    server.otherwise = answers(500)
    client.error_of("fetch_ticket", "t1")
    assert records(caplog) == []
