"""A COMMIT that was done and whose answer never came: what an atomic receiver did is still done only once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client

from bloonio_chat import signals
from bloonio_chat.inbox.models import InboxEvent, InboxReceipt
from bloonio_chat.inbox.processing import process
from tests.callbacks.relay import envelope, post

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_receiver_whose_commit_got_no_answer_is_not_called_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = connections[database]
    commit = connection._commit
    calls: list[str] = []
    is_cut: list[bool] = []

    def commit_and_hear_nothing() -> None:
        commit()
        if is_cut:
            is_cut.clear()
            raise OperationalError("the connection was cut")

    def receiver(**_: Any) -> None:
        calls.append("called")
        is_cut.append(True)

    monkeypatch.setattr(connection, "_commit", commit_and_hear_nothing)
    signals.message_received.connect(receiver, dispatch_uid="receiver", atomic=True)
    assert post(Client(), "message-received", envelope()).status_code == 200
    process(random=lambda: 0.0)
    process(random=lambda: 0.0)
    assert calls == ["called"]
    assert InboxEvent.objects.get().state == "delivered"
    assert InboxReceipt.objects.get().succeeded
