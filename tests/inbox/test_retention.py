"""``bloonio_prune`` in the inbox: what is erased when, and what never is."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import interventions, retention, sweeping
from bloonio_chat.inbox.models import InboxEvent, InboxLane, InboxReceipt
from bloonio_chat.inbox.retention import KEY_DAYS, prune
from tests.callbacks.relay import envelope, post
from tests.inbox.events import hear, keep, run, states
from tests.inbox.rows import Quiet, add, add_many, add_receipt, made

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("database")]


@pytest.fixture(autouse=True)
def a_week(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RETENTION_DAYS = 7


def in_days(days: float) -> Any:
    return lambda: timezone.now() + timedelta(days=days)


def pruned(**options: Any) -> dict[str, int]:
    return dict(prune(options.pop("dry_run", False), Quiet(), **options))


def nothing_of(event: InboxEvent) -> bool:
    event.refresh_from_db()
    texts = (bytes(event.body), event.signature, event.visitor_user_id, event.last_error)
    return not any(texts) and event.erased_at is not None


def test_without_a_retention_everything_is_kept_and_that_is_said(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RETENTION_DAYS = None
    add(days_ago=9999)
    report = Quiet()
    assert prune(False, report) == {}
    assert report.lines == ["BLOONIO_CHAT_INBOX_RETENTION_DAYS is not set: the inbox keeps everything."]
    assert InboxEvent.objects.exclude(body=b"").count() == 1


def test_what_finished_events_said_is_erased_and_their_keys_stay() -> None:
    old = add(days_ago=8, last_error="ValueError: Jane")
    dead = add(days_ago=8, state="dead", last_error="ValueError: Jane")
    young = add(days_ago=6)
    receipts = [add_receipt(event, "r", "ValueError: Jane") for event in (old, dead, young)]
    keys = {old.key, dead.key}
    assert pruned() == {"erased_bodies": 2, "deleted_events": 0, "deleted_lanes": 0}
    assert nothing_of(old)
    assert nothing_of(dead)
    assert not nothing_of(young)
    assert {old.key, dead.key} == keys
    assert (old.state, dead.state) == ("delivered", "buried")
    for receipt in receipts:
        receipt.refresh_from_db()
    assert [receipt.last_error for receipt in receipts] == ["", "", "ValueError: Jane"]
    assert pruned() == {"erased_bodies": 0, "deleted_events": 0, "deleted_lanes": 0}


def test_rows_go_after_thirty_days_at_least() -> None:
    gone = add(days_ago=KEY_DAYS + 1)
    add_receipt(gone, "r", "error")
    kept = add(days_ago=KEY_DAYS - 1)
    receipt = add_receipt(kept, "r", "error")
    assert pruned() == {"erased_bodies": 1, "deleted_events": 1, "deleted_lanes": 0}
    assert list(InboxEvent.objects.all()) == [kept]
    assert list(InboxReceipt.objects.all()) == [receipt]


def test_a_longer_retention_keeps_rows_and_bodies_as_long(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RETENTION_DAYS = 90
    add(days_ago=91)
    kept = add(days_ago=89)
    assert pruned() == {"erased_bodies": 0, "deleted_events": 1, "deleted_lanes": 0}
    assert not nothing_of(kept)


def test_what_is_not_finished_is_never_touched() -> None:
    rows = [add(days_ago=400, state=state) for state in ("received", "delivering", "failed")]
    before = list(InboxEvent.objects.order_by("pk").values())
    assert pruned() == {"erased_bodies": 0, "deleted_events": 0, "deleted_lanes": 0}
    assert list(InboxEvent.objects.order_by("pk").values()) == before
    assert len(rows) == 3


def test_a_dry_run_counts_the_same_and_changes_nothing() -> None:
    add(days_ago=8)
    add(days_ago=40, state="dead")
    InboxLane.objects.create(lane="a", token="t", leased_until_ms=1, holder="gone")
    before = list(InboxEvent.objects.order_by("pk").values())
    counted = pruned(dry_run=True)
    assert counted == {"erased_bodies": 1, "deleted_events": 1, "deleted_lanes": 1}
    assert list(InboxEvent.objects.order_by("pk").values()) == before
    assert InboxLane.objects.exists()
    assert pruned() == counted
    assert not InboxLane.objects.exists()


def test_it_goes_in_batches_and_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 10)
    add_many(made(days_ago=40 if number % 3 else 8) for number in range(95))
    add_many(made(days_ago=1) for _ in range(30))
    report = Quiet()
    assert prune(False, report) == {"erased_bodies": 32, "deleted_events": 63, "deleted_lanes": 0}
    assert report.done == 95
    assert InboxEvent.objects.filter(erased_at__isnull=True).count() == 30


def test_what_was_received_late_is_found_behind_what_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and times differ a little between web processes."""
    add(days_ago=6.999)
    late = add(days_ago=7.0001)
    assert pruned()["erased_bodies"] == 1
    assert nothing_of(late)


def test_a_run_that_was_ended_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 10)
    add_many(made(days_ago=8) for _ in range(25))

    class Ended(Quiet):
        def advance(self, count: int = 1) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(False, Ended())
    assert InboxEvent.objects.filter(erased_at__isnull=False).count() == 10
    assert pruned()["erased_bodies"] == 15


def test_a_dead_event_that_is_retried_meanwhile_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [add(days_ago=days, state="dead") for days in (8, 40)]

    def retried(now: datetime) -> datetime:
        interventions.retry([row.pk for row in rows])
        return now

    times = iter([timezone.now() for _ in range(9)])
    real = retention._delete

    def delete(using: str, ids: Any) -> None:
        retried(next(times))
        real(using, ids)

    monkeypatch.setattr(retention, "_delete", delete)
    pruned()
    assert states() == ["failed", "failed"]
    assert InboxEvent.objects.exclude(body=b"").filter(erased_at__isnull=True).count() == 2


def test_a_repeat_of_what_was_erased_is_still_a_repeat() -> None:
    heard = hear("r")
    event = keep(event_id="e1")
    run()
    assert pruned(now=in_days(8))["erased_bodies"] == 1
    body = envelope(message_id="again", event_id="e1")
    assert post(Client(), "message-received", body).status_code == 200
    run()
    assert len(heard) == 1
    event.refresh_from_db()
    assert event.repeats == 1
    assert nothing_of(event)


def test_what_was_erased_can_not_be_delivered_again() -> None:
    event = add(days_ago=8, state="dead")
    pruned()
    assert interventions.retry([event.pk]) == 0
    assert interventions.retry_all("dead") == 0
    options = {"forever": False, "retry_failed": False, "retry_dead": True, "limit": None, "event": event.pk}
    with pytest.raises(ValueError, match="was erased"):
        sweeping.process_inbox(options, Quiet())
    assert states() == ["buried"]


def test_times_without_zones_are_compared(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    add(days_ago=8)
    add(days_ago=6)
    assert pruned()["erased_bodies"] == 1


def test_the_command_prunes_the_inbox() -> None:
    add(days_ago=8)
    assert ports.prune["bloonio_chat_inbox"] is prune
    out = StringIO()
    call_command("bloonio_prune", stdout=out)
    assert "bloonio_chat_inbox: 1 erased bodies, 0 deleted events, 0 deleted lanes." in out.getvalue()
