"""Several workers at once: no row is fetched twice, and all of them together stay within one share of calls."""

from __future__ import annotations

import pytest

from bloonio_chat.mirror import rates
from bloonio_chat.mirror.hydration import hydrate_patiently
from bloonio_chat.mirror.models import RelayPace
from bloonio_chat.sandbox import SandboxRelay
from tests.inbox.workers import together
from tests.mirror.at_relay import TENANT, Time, asked, tell
from tests.mirror.equality import differing

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("database"),
]

WORKERS = 4


@pytest.mark.usefixtures("many_calls")
def test_no_row_is_fetched_twice(relay: SandboxRelay) -> None:
    for number in range(24):
        tell(relay, "conversation-started", relay.open_conversation(f"v{number}"))
    # Patiently: who lets go of a row, since others are faster, is to look for it again.
    assert sum(together(WORKERS, lambda _: hydrate_patiently(60))) == 24
    assert asked(relay) == {"fetch_conversation": 24, "list_messages": 24}
    assert differing(relay) == []


def test_all_share_one_allowance(database: str, its_time: Time) -> None:
    now_ms = int(its_time() * 1000)

    def take_many(_: int) -> int:
        return sum(rates.take(TENANT, 1, now_ms=now_ms) == 0 for _ in range(20))

    taken = sum(together(WORKERS, take_many))
    assert 1 <= taken <= rates.CALLS_PER_MINUTE * rates.BURST
    assert RelayPace.objects.count() == 1
