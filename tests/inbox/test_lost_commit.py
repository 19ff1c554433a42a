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


@pytest.fixture
def cuts(database: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """While there is something in the list, the next COMMIT is done, and its answer lost."""
    connection: Any = connections[database]
    commit = connection._commit
    wanted: list[str] = []

    def commit_and_hear_nothing() -> None:
        commit()
        if wanted:
            raise OperationalError(wanted.pop())

    monkeypatch.setattr(connection, "_commit", commit_and_hear_nothing)
    return wanted


def test_a_receiver_whose_commit_got_no_answer_is_not_called_again(cuts: list[str]) -> None:
    calls: list[str] = []

    def receiver(**_: Any) -> None:
        calls.append("called")
        cuts.append("the connection was cut")

    signals.message_received.connect(receiver, dispatch_uid="receiver", atomic=True)
    assert post(Client(), "message-received", envelope()).status_code == 200
    process(random=lambda: 0.0)
    process(random=lambda: 0.0)
    assert calls == ["called"]
    assert InboxEvent.objects.get().state == "delivered"
    assert InboxReceipt.objects.get().succeeded


def test_an_event_whose_end_was_committed_without_an_answer_is_mourned_all_the_same(
    cuts: list[str], settings: Any
) -> None:
    settings.BLOONIO_CHAT_INBOX_MAX_ATTEMPTS = 1
    mourned: list[int] = []

    def receiver(**_: Any) -> None:
        cuts.append("the connection was cut")
        raise ValueError("boom")

    def mourn(inbox_event_id: int, **_: Any) -> None:
        mourned.append(inbox_event_id)

    signals.message_received.connect(receiver, dispatch_uid="receiver")
    signals.delivery_failed.connect(mourn, weak=False)
    assert post(Client(), "message-received", envelope()).status_code == 200
    assert process(sleep=lambda seconds: None).dead == 1
    assert not cuts
    assert mourned == [InboxEvent.objects.get(state="dead").pk]
