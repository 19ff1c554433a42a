"""Each row of the protocol's table of answers (§4.3), through a project's whole middleware."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bloonio_chat import signals
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.signals import EventSignal
from tests.callbacks.relay import ACKNOWLEDGED, PATHS, PREFIX, agent_body, answer, envelope, post, signed, written
from tests.secrets import FALLBACK_SECRET, OTHER_SECRET, OTHER_TENANT_ID

NINE: list[EventSignal] = [getattr(signals, path.replace("-", "_")) for path in PATHS]


@pytest.fixture
def called() -> list[tuple[str, str, str]]:
    """The signals that were sent: name, event type, tenant."""
    seen: list[tuple[str, str, str]] = []

    def collect(signal: EventSignal, sender: object, event: WebhookEvent, tenant: str, **_: Any) -> None:
        assert sender is WebhookEvent
        seen.append((signal.name, str(event.event_type), tenant))

    for signal in [signals.event_received, *NINE]:
        signal.connect(collect, weak=False)
    return seen


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", PATHS)
def test_each_event_is_acknowledged_and_sent_as_two_signals(
    relay: Client, called: list[tuple[str, str, str]], path: str, slash: str
) -> None:
    response = post(relay, path + slash, envelope(path))
    assert (response.status_code, answer(response)) == (200, ACKNOWLEDGED)
    assert response.headers["Content-Type"] == "application/json"
    name = path.replace("-", "_")
    assert called == [("event_received", name, "default"), (name, name, "default")]


@pytest.mark.parametrize("path", PATHS)
def test_each_route_has_the_name_of_its_event_and_no_trailing_slash(path: str) -> None:
    assert reverse(f"bloonio_chat:{path}") == PREFIX + path
    assert reverse("bloonio_chat:any-event", args=["conversation-archived"]) == PREFIX + "conversation-archived"


@pytest.mark.parametrize("path", ["agent-assigned", "agent-released", "agent-resolved"])
def test_the_three_agent_paths_take_the_documented_body_too(
    relay: Client, called: list[tuple[str, str, str]], path: str
) -> None:
    assert post(relay, path, agent_body(path)).status_code == 200
    assert [name for name, _, _ in called] == ["event_received", path.replace("-", "_")]


@pytest.mark.parametrize("path", ["conversation-archived", "conversation-archived/", "visitor-typing", "a"])
def test_an_event_of_the_future_is_sent_as_event_received_only(
    relay: Client, called: list[tuple[str, str, str]], path: str
) -> None:
    response = post(relay, path, envelope(path.rstrip("/")))
    assert (response.status_code, answer(response)) == (200, ACKNOWLEDGED)
    assert called == [("event_received", path.rstrip("/").replace("-", "_"), "default")]


def test_an_event_of_the_future_goes_through_the_same_checks(relay: Client, events: list[WebhookEvent]) -> None:
    body = written(envelope("conversation-archived"))
    assert post(relay, "conversation-archived", body, {}).status_code == 401
    assert post(relay, "conversation-archived", envelope()).status_code == 400
    assert relay.get(PREFIX + "conversation-archived").status_code == 405
    assert events == []


def test_an_event_that_nobody_handles_is_accepted_all_the_same(relay: Client) -> None:
    assert post(relay, "ticket-created", envelope("ticket-created")).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["", "Message-Received", "message_received", "message--received", "-message", "message-", "message-received//",
     "message-received/x", "message.received", "message-received%0A", "message-received%0D%0A", "message-received/%0A",
     "%20message-received", "message-received%00", "message-r%C3%A9ceived", "conversation-archived%0A", "v2"],
)  # fmt: skip
def test_what_is_no_events_name_is_404(relay: Client, events: list[WebhookEvent], path: str) -> None:
    assert post(relay, path, envelope()).status_code == 404
    assert events == []


@pytest.mark.parametrize("path", ["message-received", "message-received/", "conversation-archived"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_another_method_is_405_even_when_signed_well(
    relay: Client, events: list[WebhookEvent], method: str, path: str
) -> None:
    body = written(envelope())
    response = relay.generic(method, PREFIX + path, body, "application/json", headers=signed(body))
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert events == []


def test_the_method_is_checked_first_and_the_size_before_the_headers(relay: Client, settings: Any) -> None:
    settings.BLOONIO_CHAT_CALLBACK_MAX_BODY_BYTES = 10
    assert relay.put(PREFIX + "message-received", b"x" * 11, "application/json").status_code == 405
    assert post(relay, "message-received", b"x" * 11, {}).status_code == 413
    assert post(relay, "message-received", b"x" * 10, {}).status_code == 401


@pytest.mark.parametrize("too_many", [0, 1])
def test_the_limit_is_256_kib(relay: Client, too_many: int) -> None:
    bare = len(written(envelope(extra={"x": ""})))
    body = written(envelope(extra={"x": "x" * (262_144 - bare + too_many)}))
    assert len(body) == 262_144 + too_many
    response = post(relay, "message-received", body)
    assert response.status_code == (413 if too_many else 200)
    if too_many:
        assert answer(response)["code"] == "body_too_large"


@pytest.mark.parametrize("djangos", [100, 0])
def test_djangos_own_limit_is_answered_alike_where_it_is_smaller(relay: Client, settings: Any, djangos: int) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = djangos
    assert post(relay, "message-received", envelope(extra={"x": "x" * 100})).status_code == 413


@pytest.mark.parametrize("djangos", [None, 10**9])
def test_a_larger_limit_of_django_or_none_changes_nothing(relay: Client, settings: Any, djangos: int | None) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = djangos
    assert post(relay, "message-received", envelope()).status_code == 200
    assert post(relay, "message-received", b"x" * 262_145).status_code == 413


def test_content_type_encoding_and_query_are_not_looked_at(relay: Client, events: list[WebhookEvent]) -> None:
    for place, content_type in enumerate(
        ["text/plain", "multipart/form-data; boundary=x", "", "application/x-www-form-urlencoded"]
    ):
        body = written(envelope(event_id=f"e{place}"))
        response = relay.generic(
            "POST", PREFIX + "message-received?tenant_id=x&x=%00", body, content_type,
            headers={**signed(body), "Content-Encoding": "gzip", "Accept": "text/html"},
        )  # fmt: skip
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert len(events) == 4


def test_the_tenant_that_signed_is_the_one_whose_alias_is_sent(
    relay: Client, called: list[tuple[str, str, str]], settings: Any
) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"shop-b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    theirs = written(envelope(tenant_id=OTHER_TENANT_ID))
    headers = signed(theirs, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET)
    assert post(relay, "message-received", theirs, headers).status_code == 200
    assert {tenant for _, _, tenant in called} == {"shop-b"}
    ours = written(envelope())
    crossed = post(relay, "message-received", ours, signed(ours, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET))
    assert (crossed.status_code, answer(crossed)["code"]) == (400, "tenant_mismatch")
    assert len(called) == 2


def test_a_fallback_secret_is_taken_and_logged_by_its_place(
    relay: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET_FALLBACKS = [OTHER_SECRET, FALLBACK_SECRET]
    body = written(envelope())
    assert post(relay, "message-received", body, signed(body, secret=FALLBACK_SECRET)).status_code == 200
    assert "Tenant default signs with fallback secret 2." in caplog.messages
