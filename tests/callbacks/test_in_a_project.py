"""The view amid what projects have around their views: logins, CSRF, transactions, other readers of the body."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.db import connections
from django.test import AsyncClient, Client, RequestFactory

from bloonio_chat import signals
from bloonio_chat.callbacks.views import callback
from bloonio_chat.sdk.events import WebhookEvent
from tests.callbacks.relay import ACKNOWLEDGED, PREFIX, answer, envelope, post, signed, written

BODY = written(envelope())


@pytest.fixture
def with_a_plain_view(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.callbacks.project_urls"


def behind(settings: Any, name: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"tests.callbacks.middleware.{name}"]


@pytest.mark.usefixtures("with_a_plain_view")
def test_neither_login_nor_csrf_stands_in_the_way(relay: Client, settings: Any) -> None:
    assert relay.post("/plain").status_code == 403, "CSRF is enforced"
    assert relay.get("/plain").status_code == 302, "a login is required"
    assert post(relay, "message-received", BODY).status_code == 200
    settings.DEBUG = True
    assert post(relay, "message-received/", BODY).status_code == 200


@pytest.mark.usefixtures("with_a_plain_view")
@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_no_transaction_is_open_while_a_receiver_runs(settings: Any) -> None:
    settings.MIDDLEWARE = []
    relay, open_in = Client(), []

    def look(event: WebhookEvent, **_: Any) -> None:
        open_in.append({alias: connections[alias].in_atomic_block for alias in ("default", "other")})

    signals.message_received.connect(look)
    assert answer(relay.get("/plain")) == {"default": True, "other": True}  # type: ignore[arg-type]  # the test client's
    assert post(relay, "message-received", BODY).status_code == 200
    assert post(relay, "conversation-archived", envelope("conversation-archived")).status_code == 200
    assert open_in == [{"default": False, "other": False}]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_a_receiver_wrote_stays_written_when_another_raises(relay: Client) -> None:
    from django.contrib.auth.models import Group

    def write(event: WebhookEvent, **_: Any) -> None:
        Group.objects.create(name="written")

    def fail(event: WebhookEvent, **_: Any) -> None:
        raise RuntimeError("boom")

    signals.message_received.connect(write)
    signals.message_received.connect(fail)
    assert post(relay, "message-received", BODY).status_code == 503
    assert Group.objects.filter(name="written").exists()


def test_the_view_is_exempt_for_an_alias_that_nobody_knows_yet() -> None:
    assert "an alias that a plugin adds" in callback._non_atomic_requests  # type: ignore[attr-defined]  # Django's


# ---- other readers of the body ---------------------------------------------------------------------------------


def test_a_body_that_was_read_through_request_body_is_verified_all_the_same(relay: Client, settings: Any) -> None:
    behind(settings, "reads_the_body")
    assert post(relay, "message-received", BODY).status_code == 200
    assert post(relay, "message-received", BODY, {}).status_code == 401
    settings.BLOONIO_CHAT_CALLBACK_MAX_BODY_BYTES = 10
    assert post(relay, "message-received", BODY).status_code == 413


def test_a_stream_that_was_read_is_400_not_401(relay: Client, settings: Any, rejections: list[dict[str, Any]]) -> None:
    behind(settings, "reads_the_stream")
    response = post(relay, "message-received", BODY)
    assert (response.status_code, answer(response)["code"]) == (400, "body_already_read")
    assert [rejection["reason"] for rejection in rejections] == ["body_already_read"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 200), ("application/x-www-form-urlencoded", 200), ("multipart/form-data; boundary=x", 400)],
)
def test_a_form_that_was_read_for_us(relay: Client, settings: Any, content_type: str, status: int) -> None:
    behind(settings, "reads_the_form")
    response = relay.generic("POST", PREFIX + "message-received", BODY, content_type, headers=signed(BODY))
    assert response.status_code == status


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_the_body_can_still_be_read_afterwards(relay: Client, settings: Any, content_type: str) -> None:
    behind(settings, "looks_afterwards")
    response = relay.generic("POST", PREFIX + "message-received", BODY, content_type, headers=signed(BODY))
    assert (response.status_code, response.headers["Tests-Body"]) == (200, str(len(BODY)))
    assert response.headers["Tests-Form"] == ("1" if "form" in content_type else "0")


def test_a_stream_that_fails_is_400_and_tells_no_more_than_the_errors_kind(
    relay: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    behind(settings, "breaks_the_stream")
    response = post(relay, "message-received", BODY)
    assert (response.status_code, answer(response)["code"]) == (400, "body_unreadable")
    assert "UnreadablePostError" in caplog.text
    assert "no_header_value_shows_this" not in caplog.text + response.content.decode()


# ---- what a server may hand over -------------------------------------------------------------------------------


def handed(stream: bytes, **environ: Any) -> tuple[int, str | None]:
    """Call the view on a WSGI environ of its own; return status and code."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in signed(BODY).items()}
    request = RequestFactory().generic("POST", PREFIX + "message-received", BODY, **headers)  # type: ignore[arg-type]  # the stubs' guess
    changed = {**request.environ, "wsgi.input": io.BytesIO(stream), **environ}
    response = callback(type(request)({k: v for k, v in changed.items() if v is not None}), "message-received")
    return response.status_code, json.loads(response.content).get("code")


def test_a_chunked_body_is_read_to_its_end_where_the_server_marks_it() -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": None, "wsgi.input_terminated": True}
    assert handed(BODY, **chunked) == (200, None)
    assert handed(BODY, **{**chunked, "HTTP_TRANSFER_ENCODING": "Chunked"}) == (200, None)
    assert handed(b"x" * 262_145, **chunked) == (413, "body_too_large")
    assert handed(BODY, **{**chunked, "wsgi.input_terminated": False}) == (411, "length_required")


def test_a_body_shorter_than_its_declared_length_is_400() -> None:
    assert handed(BODY[:-1]) == (400, "body_truncated")
    assert handed(b"") == (400, "body_truncated")


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "five", "\u0661"])
def test_a_declared_length_that_is_no_number_is_400(length: str) -> None:
    assert handed(BODY, CONTENT_LENGTH=length) == (400, "content_length_malformed")


def test_without_a_length_or_chunks_there_is_no_body_and_so_no_signature_of_it() -> None:
    assert handed(BODY, CONTENT_LENGTH=None) == (401, "unauthorized")
    assert handed(BODY, CONTENT_LENGTH="") == (401, "unauthorized")


# ---- ASGI ------------------------------------------------------------------------------------------------------


async def async_post(body: bytes, headers: dict[str, str] | None = None, path: str = "message-received") -> int:
    client = AsyncClient(enforce_csrf_checks=True, raise_request_exception=False)
    given = signed(body) if headers is None else headers
    response = await client.post(PREFIX + path, body, "application/json", headers=given)
    if response.status_code == 200:
        assert json.loads(response.content) == ACKNOWLEDGED
    return response.status_code


def test_under_asgi_the_answers_are_the_same(events: list[WebhookEvent], settings: Any) -> None:
    from asgiref.sync import async_to_sync

    send = async_to_sync(async_post)
    assert send(BODY) == 200
    assert send(BODY, {}) == 401
    assert send(b"[]") == 400
    assert send(b"x" * 262_145) == 413
    assert send(written(envelope("conversation-archived")), path="conversation-archived") == 200
    assert send(BODY, path="Message") == 404
    assert [event.event_type for event in events] == ["message_received", "conversation_archived"]
    behind(settings, "reads_the_stream")
    assert send(BODY) == 400
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:-1], "tests.callbacks.middleware.reads_the_body"]
    assert send(BODY) == 200
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:-1], "tests.callbacks.middleware.looks_afterwards"]
    assert send(BODY) == 200
