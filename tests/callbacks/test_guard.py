"""The claim on the cache, without the inbox: who runs, who waits, and who may release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client

from bloonio_chat import signals
from bloonio_chat.callbacks.guard import CLAIM_LEASE_SECONDS
from tests.callbacks.caches import DroppingCache, FailingCache, NotingCache
from tests.callbacks.relay import answer, envelope, post, signed, written
from tests.secrets import OTHER_SECRET, OTHER_TENANT_ID

BODY = written(envelope(event_id="e1"))


class Receiver:
    """Counts its calls, and does at each what it is told."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: BaseException | None = None
        self.meanwhile: Any = None

    def __call__(self, **_: Any) -> None:
        self.calls += 1
        if self.meanwhile is not None:
            self.meanwhile()
        if self.error is not None:
            raise self.error


@pytest.fixture
def receiver() -> Receiver:
    connected = Receiver()
    signals.message_received.connect(connected, weak=False, dispatch_uid="receiver")
    return connected


@pytest.fixture
def second() -> Receiver:
    connected = Receiver()
    signals.message_received.connect(connected, weak=False, dispatch_uid="second")
    return connected


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    NotingCache.operations.clear()
    yield
    FailingCache.fails_on, FailingCache.for_good = 0, False


def use(settings: Any, kind: type[NotingCache]) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{kind.__module__}.{kind.__qualname__}", "LOCATION": "guard"}}
    cache.clear()
    kind.operations.clear()


def send(relay: Client, body: bytes = BODY) -> HttpResponse:
    return post(relay, "message-received", body)


def is_retry(response: HttpResponse) -> bool:
    """Whether the answer is the 503 that asks the relay to send the event again."""
    if response.status_code != 503:
        return False
    assert answer(response)["code"] == "retry_later"
    assert int(response.headers["Retry-After"]) > 0
    return True


def test_a_repeat_of_what_is_done_is_acknowledged_and_delivered_to_nobody(relay: Client, receiver: Receiver) -> None:
    assert [send(relay).status_code for _ in range(3)] == [200, 200, 200]
    assert receiver.calls == 1


def test_a_repeat_with_a_new_timestamp_is_still_a_repeat(relay: Client, receiver: Receiver) -> None:
    send(relay)
    later = written(envelope(event_id="e1", occurred_at="2026-09-09T09:09:09Z"))
    assert send(relay, later).status_code == 200
    assert receiver.calls == 1


def test_another_event_tenant_or_type_is_no_repeat(relay: Client, receiver: Receiver, settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANTS = {"b": {"TENANT_ID": OTHER_TENANT_ID, "TENANT_SECRET": OTHER_SECRET}}
    send(relay)
    send(relay, written(envelope(event_id="e2")))
    theirs = written(envelope(event_id="e1", tenant_id=OTHER_TENANT_ID))
    post(relay, "message-received", theirs, signed(theirs, tenant_id=OTHER_TENANT_ID, secret=OTHER_SECRET))
    assert receiver.calls == 3


def test_a_repeat_that_meets_a_held_claim_waits(relay: Client, receiver: Receiver) -> None:
    meanwhile: list[HttpResponse] = []
    receiver.meanwhile = lambda: meanwhile.append(send(Client()))
    assert send(relay).status_code == 200
    assert [is_retry(response) for response in meanwhile] == [True]
    assert receiver.calls == 1
    assert send(relay).status_code == 200


def test_the_claim_is_short_and_the_mark_outlives_the_retries(relay: Client, receiver: Receiver, settings: Any) -> None:
    use(settings, NotingCache)
    settings.BLOONIO_CHAT_IDEMPOTENCY_TTL_SECONDS = 7777
    assert send(relay).status_code == 200
    (add, key, token, lease), (mark, marked_key, _, ttl), (look, *_) = NotingCache.operations
    assert look == "get", "it looks whether the mark is there"
    assert (add, mark, lease, ttl) == ("add", "set", CLAIM_LEASE_SECONDS, 7777)
    assert key == marked_key
    assert CLAIM_LEASE_SECONDS <= 60
    send(relay, written(envelope(event_id="e2")))
    other_token = NotingCache.operations[3][2]
    assert token != other_token, "a claim is told from every other by its token"


def test_the_mark_is_kept_for_a_day_unless_set(relay: Client, settings: Any) -> None:
    use(settings, NotingCache)
    send(relay)
    assert [ttl for name, _, _, ttl in NotingCache.operations if name == "set"] == [86_400]


def test_the_cache_is_the_one_that_is_named(relay: Client, settings: Any) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "tests.callbacks.caches.DroppingCache"},
        "claims": {"BACKEND": "tests.callbacks.caches.NotingCache", "LOCATION": "claims"},
    }
    assert is_retry(send(relay))
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = "claims"
    assert send(relay).status_code == 200


# ---- receivers that raise --------------------------------------------------------------------------------------


def test_when_one_receiver_raises_every_other_is_called_and_the_relay_sends_it_again(
    relay: Client, receiver: Receiver, second: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.error = RuntimeError("boom")
    assert is_retry(send(relay))
    assert (receiver.calls, second.calls) == (1, 1)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR" and record.exc_info]
    assert vars(record)["receiver"] == "receiver"
    assert record.exc_info is not None
    assert record.exc_info[1] is receiver.error
    receiver.error = None
    assert send(relay).status_code == 200
    assert (receiver.calls, second.calls) == (2, 2), "without a ledger every receiver runs again"
    assert send(relay).status_code == 200
    assert (receiver.calls, second.calls) == (2, 2)


def test_the_events_own_signal_is_sent_even_when_event_received_fails(relay: Client, receiver: Receiver) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("boom")

    signals.event_received.connect(fail)
    assert is_retry(send(relay))
    assert receiver.calls == 1


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_stops_the_process_gives_the_claim_back(
    relay: Client, receiver: Receiver, stop: type[BaseException]
) -> None:
    receiver.error = stop()
    with pytest.raises(stop):
        send(relay)
    receiver.error = None
    assert send(relay).status_code == 200
    assert receiver.calls == 2


def test_only_its_holder_releases_a_claim(relay: Client, receiver: Receiver, settings: Any) -> None:
    use(settings, NotingCache)

    def lose_the_lease() -> None:
        key = NotingCache.operations[0][1]
        cache.set(key, "another's token", 60)

    receiver.meanwhile, receiver.error = lose_the_lease, RuntimeError("boom")
    assert is_retry(send(relay))
    assert cache.get(NotingCache.operations[0][1]) == "another's token"
    assert "delete" not in [name for name, *_ in NotingCache.operations]


# ---- caches that fail ------------------------------------------------------------------------------------------


def test_a_cache_that_says_no_and_then_shows_nothing_is_gone(relay: Client, receiver: Receiver, settings: Any) -> None:
    use(settings, DroppingCache)
    assert is_retry(send(relay))
    assert [name for name, *_ in DroppingCache.operations] == ["add", "get"]
    assert receiver.calls == 0


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize(
    ("fails_on", "receiver_fails", "done_before", "calls"),
    [
        (1, False, False, 0),  # the claim
        (2, False, False, 1),  # the done mark
        (2, True, False, 1),  # the look at the claim before it is released
        (3, True, False, 1),  # its release
        (2, False, True, 0),  # the look whether a repeat is done
    ],
)
def test_a_cache_that_fails_at_any_step_is_503_and_no_event_is_lost(
    relay: Client, receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture,
    fails_on: int, receiver_fails: bool, done_before: bool, calls: int, for_good: bool,
) -> None:  # fmt: skip
    use(settings, FailingCache)
    if done_before:
        assert send(relay).status_code == 200
        FailingCache.operations.clear()
        receiver.calls = 0
    FailingCache.fails_on, FailingCache.for_good = fails_on, for_good
    receiver.error = RuntimeError("boom") if receiver_fails else None
    assert is_retry(send(relay))
    assert receiver.calls == calls
    assert len(FailingCache.operations) >= fails_on, "the step that was to fail was reached"
    assert "the cache is gone" in caplog.text
    # The relay sends it again when the cache is back and the lease of a claim that stayed is over.
    FailingCache.fails_on, receiver.error = 0, None
    if not done_before:
        cache.clear()
    assert send(relay).status_code == 200
    assert receiver.calls == calls + (0 if done_before else 1)


def test_a_cache_alias_that_is_not_there_is_503(relay: Client, receiver: Receiver, settings: Any) -> None:
    settings.BLOONIO_CHAT_IDEMPOTENCY_CACHE = "nowhere"
    assert is_retry(send(relay))
    assert receiver.calls == 0


def test_a_claim_that_nobody_gave_back_ends_by_itself(relay: Client, receiver: Receiver, settings: Any) -> None:
    use(settings, NotingCache)
    receiver.error = RuntimeError("boom")
    send(relay)
    receiver.error = None
    key = NotingCache.operations[0][1]
    cache.add(key, "the token of a process that died", CLAIM_LEASE_SECONDS)
    assert is_retry(send(relay))
    cache.touch(key, 0)
    assert send(relay).status_code == 200
