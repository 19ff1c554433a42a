"""From the answer to the receivers: after it, in this process or elsewhere, and never at the answer's expense."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connections
from django.test import Client, RequestFactory

from bloonio_chat.callbacks.ports import ACCEPTED
from bloonio_chat.callbacks.views import callback
from bloonio_chat.inbox import acceptance, handover, runners
from bloonio_chat.inbox.handover import Handover
from bloonio_chat.inbox.models import InboxEvent, InboxLane
from bloonio_chat.inbox.runners import get_runner
from tests.callbacks.relay import envelope, post, signed, written
from tests.inbox.events import hear, keep, keep_many, receipts, states
from tests.inbox.workers import together

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.usefixtures("database")]
on_one = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

handed: list[list[str]] = []
NOT_CALLABLE = "a text"


def runner(lanes: Sequence[str]) -> None:
    """The project's own."""
    handed.append(list(lanes))


def broken_runner(lanes: Sequence[str]) -> None:
    """The project's own, on a bad day."""
    handed.append(list(lanes))
    raise ConnectionError("no broker at amqp://guest:no_log_may_show_this@127.0.0.1")


@pytest.fixture(autouse=True)
def own_handover(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A handover of the test's own, which has no thread left when the tables are emptied."""
    handed.clear()
    made = Handover()
    monkeypatch.setattr(handover, "_handover", made)
    monkeypatch.setattr(handover, "PAUSE_AFTER_ERROR_SECONDS", 0)
    yield
    assert made.close(20)


def join() -> None:
    assert handover.join(30)


# ---- inline ----------------------------------------------------------------------------------------------------


def test_inline_delivers_in_a_thread_of_this_process(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    threads: list[str] = []
    heard = hear("r", lambda event: threads.append(threading.current_thread().name))
    rows = keep_many(5, conversations=2)
    join()
    assert states() == ["delivered"] * 5
    assert len(set(heard)) == len(heard) == 5
    assert all(name.startswith("bloonio-chat-inbox") for name in threads)
    assert [receipts(row) for row in rows] == [{"message_received:r": (True, 1)}] * 5
    assert not InboxLane.objects.exists()


def test_inline_under_many_requests_at_once_delivers_each_event_once(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    heard = hear("r")

    def send(number: int) -> list[int]:
        client = Client(raise_request_exception=False)
        bodies = [envelope(event_id=f"{number}-{turn}", conversation_id=f"c{turn}") for turn in range(5)]
        return [post(client, "message-received", body).status_code for body in bodies]

    assert together(8, send) == [[200] * 5] * 8
    # What the threads found held was left to the holder, or is overdue in a moment.
    join()
    until = time.monotonic() + 20
    while set(states()) != {"delivered"} and time.monotonic() < until:
        runners.run_inline(list(InboxEvent.objects.values_list("lane", flat=True).distinct()))
    assert states() == ["delivered"] * 40
    assert len(heard) == 40


def test_inline_works_off_a_few_overdue_events_too(settings: Any) -> None:
    heard = hear("r")
    keep_many(15, conversations=15)
    InboxEvent.objects.update(due_ms=1)
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    keep(message_id="new", conversation_id=None)
    join()
    assert "new" in heard
    assert states().count("delivered") == 11


def test_the_answer_does_not_wait_for_a_receiver(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    may_end = threading.Event()
    heard = hear("r", lambda event: may_end.wait(30))
    for _ in range(20):
        keep(conversation_id=None)
    assert "delivered" not in states()
    may_end.set()
    join()
    assert len(heard) == 20


def test_inline_leaves_no_connection_open(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    used: list[Any] = []
    alias = InboxEvent.objects.db
    hear("r", lambda event: used.append(connections[alias]))
    keep()
    join()
    assert used[0] is not connections[alias]
    assert used[0].connection is None


def test_a_receiver_that_raises_is_the_row_s_and_not_the_runner_s(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    hear("r", lambda event: 1 / 0)
    keep()
    join()
    assert states() in (["failed"], ["delivering"])
    assert "could not be handed" not in caplog.text


# ---- others ----------------------------------------------------------------------------------------------------


@on_one
def test_a_runner_of_the_project_s_own_is_told_the_lanes(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.runner"
    row = keep()
    join()
    assert handed == [[row.lane]]
    assert states() == ["received"]
    # A repeat brings nothing new.
    assert post(Client(), "message-received", bytes(row.body)).status_code == 200
    join()
    assert handed == [[row.lane]]


@on_one
def test_a_runner_that_raises_loses_nothing_and_is_a_warning(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.broken_runner"
    rows = [keep(conversation_id=None) for _ in range(3)]
    join()
    assert sorted(lane for lanes in handed for lane in lanes) == sorted(row.lane for row in rows)
    warnings = [record for record in caplog.records if record.name == "bloonio_chat.inbox"]
    assert {record.levelno for record in warnings} == {logging.WARNING}
    assert "ConnectionError: no broker at amqp://[hidden]@127.0.0.1" in caplog.text
    assert states() == ["received"] * 3


@on_one
@pytest.mark.parametrize(
    "path", ["no.such.module", f"{__name__}.missing", f"{__name__}.NOT_CALLABLE", "nonsense", "a b.c", "os.path."]
)
def test_a_path_that_leads_nowhere_is_a_200_and_a_line_in_the_log(
    path: str, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = path
    keep()
    keep()
    join()
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(loud) == 2
    assert all("next sweep picks" in record.getMessage() for record in loud)
    assert states() == ["received"] * 2
    with pytest.raises(ImportError):
        get_runner()


@on_one
def test_command_starts_nothing(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "command"
    before = threading.active_count()
    keep()
    # Others may end meanwhile.
    assert threading.active_count() <= before
    assert get_runner() is None


@on_one
def test_the_setting_is_asked_each_time(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "command"
    keep()
    settings.BLOONIO_CHAT_INBOX_RUNNER = f"{__name__}.runner"
    row = keep(conversation_id=None)
    join()
    assert handed == [[row.lane]]


# ---- after the response ----------------------------------------------------------------------------------------


@on_one
def test_it_is_handed_over_once_and_not_before_the_response_is_closed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(acceptance, "hand_over", told.append)
    body = written(envelope())
    for expected in (1, 0):
        told.clear()
        response = callback(
            RequestFactory().post("/", body, "application/json", headers=signed(body)), "message-received"
        )
        assert (response.status_code, told) == (200, [])
        assert InboxEvent.objects.count() == 1, "it is safe before the answer is"
        response.close()
        assert len(told) == expected
        response.close()
        assert len(told) == expected
    assert told == []


@on_one
def test_what_is_not_kept_is_not_handed_over(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(acceptance, "hand_over", told.append)
    assert post(Client(), "message-received", b"{}").status_code == 400
    monkeypatch.setattr(acceptance, "_store", lambda received: 1 / 0)
    assert post(Client(), "message-received", envelope()).status_code == 503
    monkeypatch.setattr(acceptance, "_store", lambda received: None)
    assert post(Client(), "message-received", envelope()).status_code == 200
    assert told == []
    assert ACCEPTED.after_response is None
