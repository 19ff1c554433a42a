"""The health view: 200 or 503, for anybody, and never a 500."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client

from bloonio_chat.inbox import health as health_module
from bloonio_chat.inbox import interventions, sweeping
from bloonio_chat.inbox.models import InboxSweep
from tests.inbox.rows import add, add_receipt

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("database"),
    pytest.mark.urls("tests.inbox.urls"),
]


def told(response: Any) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(response.content)
    assert tree["healthy"] is (response.status_code == 200)
    assert bool(tree["problems"]) is (response.status_code == 503)
    return tree


def problems(path: str = "/health/") -> str:
    return " ".join(told(Client().get(path))["problems"])


def test_an_inbox_that_is_swept_and_empty_is_well() -> None:
    sweeping.note_sweep()
    for path in ("/health/", "/health/strict/", "/health/blind/"):
        response = Client().get(path)
        assert response.status_code == 200
        assert "no-store" in response.headers["Cache-Control"]
        assert told(response)["figures"]["dead"] == 0


def test_it_shows_numbers_alone() -> None:
    sweeping.note_sweep()
    add_receipt(add(state="failed", last_error="secret error"), "shop.receiver", "secret error")
    figures = told(Client().get("/health/"))["figures"]
    assert all(value is None or isinstance(value, (int, float)) for value in figures.values())


def test_each_limit_is_watched() -> None:
    assert problems() == "There was no sweep yet."
    assert problems("/health/blind/") == ""
    sweeping.note_sweep()
    assert problems("/health/strict/") == ""
    InboxSweep.objects.update(at_ms=_now_ms() - 40_000)
    assert problems("/health/strict/").startswith("last_sweep_seconds is 4")
    assert problems() == ""
    sweeping.note_sweep()
    died = add(state="dead")
    assert problems("/health/strict/") == "dead is 1, more than 0."
    assert interventions.bury([died.pk]) == 1
    assert problems("/health/strict/") == "", "somebody has seen it"
    add(state="dead")
    assert problems() == ""
    waiting = add(state="failed", days_ago=2 / 1440, due_ms=_now_ms() + 60_000)
    assert "oldest_undelivered_seconds" in problems("/health/strict/")
    assert problems() == ""
    waiting.due_ms = _now_ms() - 20_000
    waiting.save()
    assert "overdue_seconds is 2" in problems("/health/strict/")
    assert problems() == ""
    waiting.due_ms = _now_ms() - 400_000
    waiting.save()
    assert problems().endswith("more than 300.")


def test_where_no_callback_can_be_taken_it_is_not_well(settings: Any) -> None:
    sweeping.note_sweep()
    assert problems() == ""
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    assert "configuration is wrong" in problems()


def test_only_reading_is_allowed() -> None:
    client = Client()
    assert client.head("/health/blind/").status_code == 200
    for method in (client.post, client.put, client.delete):
        assert method("/health/").status_code == 405


def test_a_database_that_is_gone_is_a_503(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> dict[str, Any]:
        raise ConnectionError("postgresql://shop:hunter2@db/shop refused")

    monkeypatch.setattr(health_module, "vitals", refuse)
    response = Client().get("/health/")
    assert response.status_code == 503
    assert told(response) == {"healthy": False, "problems": ["The database can't be asked."], "figures": {}}
    assert "refused" in caplog.text
    assert "hunter2" not in caplog.text


def test_no_transaction_is_begun_around_it(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """``ATOMIC_REQUESTS`` is on for the default database, which is gone here."""
    sweeping.note_sweep()
    assert connections[DEFAULT_DB_ALIAS].settings_dict["ATOMIC_REQUESTS"]

    def refuse(*_: Any) -> None:
        raise AssertionError("a transaction was begun")

    monkeypatch.setattr("django.db.transaction.Atomic.__enter__", refuse)
    assert Client().get("/health/").status_code == 200


def _now_ms() -> int:
    return int(time.time() * 1000)
