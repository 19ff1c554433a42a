"""A configuration that is wrong at run time: the relay is asked to wait, and nobody is shown a secret."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.views.debug import ExceptionReporter

from bloonio_chat import get_async_chat_client, get_chat_client
from bloonio_chat.conf import get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.settings import ChatRelaySettings
from tests.callbacks.relay import answer, envelope, post
from tests.secrets import FALLBACK_SECRET, MARK, OTHER_SECRET, OTHER_TENANT_ID, SECRET, TENANT_ID

WRONG: dict[str, dict[str, Any]] = {
    "no secret": {"TENANT_SECRET": None},
    "an empty secret": {"TENANT_SECRET": ""},
    "a wrong id beside good secrets": {"TENANT_ID": "x", "TENANT_SECRET_FALLBACKS": [FALLBACK_SECRET]},
    "a wrong number": {"MAX_ATTEMPTS": "many", "TENANT_SECRET_FALLBACKS": FALLBACK_SECRET},
    "a wrong fallback": {"TENANT_SECRET_FALLBACKS": [FALLBACK_SECRET, ""]},
    "a wrong list of fallbacks": {"TENANT_SECRET_FALLBACKS": f'["{FALLBACK_SECRET}"'},
    "a tenant without id": {"TENANTS": {"b": {"TENANT_SECRET": OTHER_SECRET}}},
    "a tenant with a wrong URL": {
        "TENANTS": {"b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET, "BASE_URL": "x"}}
    },
    "a tenant with an unknown key": {"TENANTS": {"b": {"SECRET": OTHER_SECRET}}},
    "a tenant's fallbacks as text": {
        "TENANTS": {"b": {"TENANT_ID": "x", "TENANT_SECRET": OTHER_SECRET, "TENANT_SECRET_FALLBACKS": FALLBACK_SECRET}}
    },
    "tenants with one id": {"TENANTS": {"b": {"TENANT_ID": TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}},
    # Texts stand in the environment: of a setting Django's own pages hide by its name alone.
    "tenants in broken JSON": {"env:TENANTS": f'{{"b": {{"TENANT_SECRET": "{OTHER_SECRET}"'},
    "a callable that raises": {"TENANTS": "tests.callbacks.tenants.tenants_that_raise"},
    "a callable that returns nonsense": {"TENANTS": "tests.callbacks.tenants.tenants_of_texts"},
    "a callable that is not there": {"TENANTS": "nowhere.at_all"},
}


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WRONG[request.param].items():
        if name.startswith("env:"):
            monkeypatch.setenv(f"BLOONIO_CHAT_{name[4:]}", value)
        else:
            setattr(settings, f"BLOONIO_CHAT_{name}", value)


def locals_of(error: BaseException | None) -> str:
    """What the frames below the test show of their local variables, of the error and of all it hangs on to."""
    shown = []
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename != __file__:
                shown.append(repr(traceback.tb_frame.f_locals))
            traceback = traceback.tb_next
        shown.append(repr(vars(error)))
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


@pytest.mark.usefixtures("wrong")
def test_the_view_answers_503_and_logs_it_as_critical(relay: Client, caplog: pytest.LogCaptureFixture) -> None:
    response = post(relay, "message-received", envelope())
    assert (response.status_code, answer(response)["code"]) == (503, "retry_later")
    assert int(response.headers["Retry-After"]) > 0
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.name == "bloonio_chat.callbacks"
    assert "BLOONIO_CHAT_" in record.getMessage() or "TENANT_ID" in record.getMessage()


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize("ask", [get_config, get_chat_client, get_async_chat_client])
def test_neither_the_error_nor_any_frame_below_shows_a_secret(ask: Callable[[], object]) -> None:
    try:
        ask()
    except ChatRelayConfigurationError:
        kind, error, traceback = sys.exc_info()
        page = ExceptionReporter(None, kind, error, traceback)
        shown = page.get_traceback_text() + page.get_traceback_html() + locals_of(error)
    else:
        pytest.fail("a wrong configuration was taken")
    assert SECRET not in shown
    assert MARK not in shown


@pytest.mark.parametrize("wrong_name", ["tenant_id", "base_url", "max_attempts", "tenant_secret_fallbacks"])
def test_settings_made_by_hand_show_no_secret_either(wrong_name: str) -> None:
    good: dict[str, Any] = {"base_url": "https://r.example", "tenant_id": TENANT_ID, "tenant_secret": SECRET}
    try:
        ChatRelaySettings(**{**good, wrong_name: [""] if "fallbacks" in wrong_name else "x"})
    except ChatRelayConfigurationError as error:
        shown = locals_of(error)
    else:
        pytest.fail("a wrong setting was taken")
    assert MARK not in shown


def test_the_view_recovers_with_the_configuration(relay: Client, settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    assert post(relay, "message-received", envelope()).status_code == 503
    settings.BLOONIO_CHAT_TENANT_SECRET = SECRET
    assert post(relay, "message-received", envelope()).status_code == 200
