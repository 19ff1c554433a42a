"""The public signals as the view sends them: to whom, when, and with which arguments."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from django.test import AsyncClient, Client

from bloonio_chat import signals
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.sdk.receive import CallbackRejected
from tests.callbacks.relay import PREFIX, envelope, post, signed, written
from tests.secrets import MARK


@pytest.mark.parametrize("server", ["WSGI", "ASGI"])
def test_sync_and_async_receivers_run_to_their_end_before_the_answer(server: str) -> None:
    ended: list[str] = []

    def receive(event: WebhookEvent, **_: Any) -> None:
        ended.append("sync")

    async def receive_async(event: WebhookEvent, **_: Any) -> None:
        await asyncio.sleep(0.01)
        ended.append("async")

    signals.message_received.connect(receive)
    signals.message_received.connect(receive_async)
    body = written(envelope())
    if server == "WSGI":
        assert post(Client(), "message-received", body).status_code == 200
    else:
        call = AsyncClient().post(PREFIX + "message-received", body, "application/json", headers=signed(body))

        async def send() -> int:
            return (await call).status_code

        assert asyncio.run(send()) == 200
    assert ended == ["sync", "async"]


def test_callback_rejected_tells_what_was_refused_and_not_the_body(caplog: pytest.LogCaptureFixture) -> None:
    got: list[dict[str, Any]] = []

    def refused(**arguments: Any) -> None:
        got.append(arguments)

    def fails(**_: Any) -> None:
        raise RuntimeError("boom")

    async def fails_async(**_: Any) -> None:
        raise RuntimeError("async boom")

    for receiver in (fails, fails_async, refused):
        signals.callback_rejected.connect(receiver)
    body = written(envelope())
    response = post(Client(), "ticket-created", body)
    assert response.status_code == 400
    assert post(Client(), "message-received", body, {"X-Bloonio-Tenant-Id": "x"}).status_code == 401
    tenant_id = signed(body)["X-Bloonio-Tenant-Id"]
    always = {"signal": signals.callback_rejected, "sender": CallbackRejected, "remote_addr": "127.0.0.1"}
    assert got == [
        {**always, "reason": "event_type_mismatch", "status": 400, "tenant_id": tenant_id, "path": "ticket-created"},
        {**always, "reason": "header_missing", "status": 401, "tenant_id": None, "path": "message-received"},
    ]
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {str(record.exc_info[1]) for record in failed if record.exc_info} == {"boom", "async boom"}


def test_what_a_receiver_of_callback_rejected_raises_leads_to_no_signature_body_or_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(**_: Any) -> None:
        raise RuntimeError("boom")

    signals.callback_rejected.connect(fails)
    body = written(envelope(extra={"note": "only for the receiver"}))
    headers = {**signed(body), "X-Bloonio-Signature": "a" * 64}
    assert post(Client(), "message-received", body, headers=headers).status_code == 401
    [record] = [record for record in caplog.records if record.exc_info]
    shown = ""
    error: BaseException | None = (record.exc_info or (None, None, None))[1]
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            shown += repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    assert "boom" in str(record.exc_info)
    assert "a" * 64 not in shown
    assert "only for the receiver" not in shown
    assert MARK not in shown
