"""Many callbacks at once: one row for each event, every answer a 2xx, and no database finds fault."""

from __future__ import annotations

from collections import Counter

import pytest
from django.test import Client

from bloonio_chat.inbox.models import InboxEvent
from tests.callbacks.relay import envelope, post, written
from tests.inbox.events import hear, run, states
from tests.inbox.server_errors import no_error_in
from tests.inbox.workers import many_connections, together

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

THREADS = 50


def post_together(bodies: list[bytes]) -> Counter[int]:
    def send(number: int) -> int:
        return post(Client(raise_request_exception=False), "message-received", bodies[number]).status_code

    with many_connections():
        return Counter(together(len(bodies), send))


def test_fifty_threads_with_one_event_leave_one_row_that_is_delivered_once(database: str) -> None:
    heard = hear("r")
    body = written(envelope(message_id="m1", event_id="e1"))
    with no_error_in(database):
        assert post_together([body] * THREADS) == {200: THREADS}
        assert run().total == 1
    row = InboxEvent.objects.get()
    assert (row.repeats, row.state, row.attempts, bytes(row.body)) == (THREADS - 1, "delivered", 1, body)
    assert heard == ["m1"]
    assert post_together([body] * 5) == {200: 5}
    assert run().total == 0
    assert heard == ["m1"]


def test_fifty_threads_with_an_event_each_leave_fifty_rows(database: str) -> None:
    heard = hear("r")
    bodies = [written(envelope(message_id=f"m{number}", conversation_id=f"c{number % 7}")) for number in range(THREADS)]
    with no_error_in(database):
        assert post_together(bodies) == {200: THREADS}
        assert {bytes(body) for body in InboxEvent.objects.values_list("body", flat=True)} == set(bodies)
        assert run().delivered == THREADS
    assert states() == ["delivered"] * THREADS
    assert sorted(heard) == sorted(f"m{number}" for number in range(THREADS))


def test_fifty_threads_with_ten_events_five_times_each(database: str) -> None:
    bodies = [written(envelope(message_id=f"m{number % 10}")) for number in range(THREADS)]
    with no_error_in(database):
        assert post_together(bodies) == {200: THREADS}
    assert list(InboxEvent.objects.values_list("repeats", flat=True)) == [4] * 10
