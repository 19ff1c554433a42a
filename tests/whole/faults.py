"""Everything that the sandbox can let go wrong, at once, and whether it did."""

from __future__ import annotations

from typing import Final

from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox.faults import CALL_FAULTS, CALLBACK_FAULTS

# Seconds, where a fault takes time; what it does is the same as with the longer times of its table.
SHORT: Final = {"delay": 0.05, "slow": 0.05, "reorder": 0.2, "rate_limit": 0.0, "server_error": 503.0}

PROBABILITY: Final = 0.02
# So that each strikes: at 2 % one that meets a few hundred calls may not.
PROBABILITY_OF_FEW: Final = 0.05
_FEW: Final = 200


def probability_for(conversations: int) -> float:
    """Return how likely each fault is to be, so that all of them strike in so many conversations."""
    return PROBABILITY if conversations >= _FEW else PROBABILITY_OF_FEW


def let_everything_go_wrong(relay: SandboxRelay, probability: float) -> None:
    for name in CALL_FAULTS:
        relay.faults.calls.set(name, probability=probability, value=SHORT.get(name))
    for name in CALLBACK_FAULTS:
        relay.faults.callbacks.set(name, probability=probability, value=SHORT.get(name))


def every_fault_struck(relay: SandboxRelay) -> None:
    assert {fault for call in relay.calls for fault in call.faults} == set(CALL_FAULTS)
    struck = {fault for callback in relay.callbacks for attempt in callback.attempts for fault in attempt.faults}
    # Those happen to a callback before its first attempt.
    assert struck >= set(CALLBACK_FAULTS) - {"duplicate", "reorder", "delay"}
    assert any(callback.duplicate_of is not None for callback in relay.callbacks)
