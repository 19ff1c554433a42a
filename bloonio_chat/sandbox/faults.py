"""What goes wrong on demand: ``relay.faults.calls`` for the tenant's calls, ``relay.faults.callbacks`` for callbacks.

A fault strikes with a probability, or the next so many times. Chance comes from the seed and from the number of the
call, or of the callback and its attempt, not from which thread comes first: the same seed and the same calls in the
same order meet the same faults.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# name: (what it does, what its value means, the value when none is given)
CALL_FAULTS: Final[Mapping[str, tuple[str, str, float]]] = {
    "skew": ("the relay's clock is off: Date header and the signature's window", "seconds ahead", 120.0),
    "rate_limit": ("429, before any work", "seconds in Retry-After; negative: as an HTTP date", 1.0),
    "server_error": ("a 5xx, before any work", "status; 502 and 504 with a gateway's HTML page", 503.0),
    "drop_before": ("the connection is cut before any work", "", 0.0),
    "drop_after": ("the connection is cut after the work, before the answer", "", 0.0),
    "delay": ("the answer begins late, after the work", "seconds", 1.0),
    "slow": ("the answer trickles", "seconds for all of it", 2.0),
    "truncate": ("the connection is cut in the middle of the answer", "", 0.0),
}
CALLBACK_FAULTS: Final[Mapping[str, tuple[str, str, float]]] = {
    "duplicate": ("the callback is posted twice, at the same time", "", 0.0),
    "reorder": ("the callback comes after the next one of its conversation", "longest wait in seconds", 2.0),
    "delay": ("the callback is posted late", "seconds", 1.0),
    "skew": ("the callback's timestamp is off", "seconds ahead", 120.0),
    "wrong_signature": ("the callback is signed with another secret", "", 0.0),
    "drop_before": ("the connection is cut before the body is sent", "", 0.0),
    "drop_after": ("the acknowledgement is lost, so the callback comes again", "", 0.0),
    "slow": ("the callback's body trickles", "seconds for all of it", 2.0),
    "truncate": ("the connection is cut in the middle of the body", "", 0.0),
}

_LONGEST_SECONDS: Final = 86_400.0
# Where a fault's value may be something else than seconds from 0.
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "skew": (-_LONGEST_SECONDS, _LONGEST_SECONDS),
    "rate_limit": (-_LONGEST_SECONDS, _LONGEST_SECONDS),
    "server_error": (500.0, 599.0),
}


@dataclass
class Fault:
    """A fault that is set: strikes with ``probability``, or the next ``count`` times.

    ``only`` restricts it to one operation (``send_message``) or event type (``message_received``).
    """

    name: str
    value: float
    probability: float | None = None
    count: int | None = None
    only: str | None = None


class FaultSet:
    """The faults of one direction."""

    def __init__(self, known: Mapping[str, tuple[str, str, float]], seed: str) -> None:
        self.known = known
        self._seed = seed
        self._lock = threading.Lock()
        self._set: dict[tuple[str, str | None], Fault] = {}

    def set(
        self,
        name: str,
        *,
        probability: float | None = None,
        count: int | None = None,
        value: float | None = None,
        only: str | None = None,
    ) -> None:
        """Let a fault happen: with a ``probability`` from 0 to 1, or ``count`` times from now on (once by default).

        ``value`` is what the table says, as seconds. Setting a fault again replaces it. Raises ``ValueError``.
        """
        if name not in self.known:
            raise ValueError(f"There is no fault {name!r} here; there are: {', '.join(self.known)}.")
        if probability is None and count is None:
            count = 1
        if (probability is not None and count is not None) or not 0 <= (probability or 0) <= 1 or (count or 0) < 0:
            raise ValueError(f"{name}: either a probability from 0 to 1, or a count that is not negative.")
        value = self.known[name][2] if value is None else value
        least, most = _BOUNDS.get(name, (0.0, _LONGEST_SECONDS))
        if not least <= value <= most:
            raise ValueError(f"{name}: its value is from {least:g} to {most:g}.")
        with self._lock:
            self._set[name, only] = Fault(name, value, probability, count, only)

    def clear(self, name: str | None = None) -> None:
        """Take back one fault, or all of this direction."""
        with self._lock:
            self._set = {key: fault for key, fault in self._set.items() if name is not None and key[0] != name}

    def active(self) -> list[Fault]:
        """Return the faults that are set and not used up."""
        with self._lock:
            return [fault for fault in self._set.values() if fault.probability or fault.count]

    def strike(self, name: str, subject: str, occasion: str) -> float | None:
        """Return the fault's value if it strikes on this occasion, else ``None``; a counted fault is used up by it."""
        with self._lock:
            for only in (subject, None):
                fault = self._set.get((name, only))
                if fault is None:
                    continue
                if fault.count:
                    fault.count -= 1
                    return fault.value
                if fault.probability and self._chance(name, occasion) < fault.probability:
                    return fault.value
        return None

    def _chance(self, name: str, occasion: str) -> float:
        # Faults are to be repeated, not to be unguessable.
        return random.Random(f"{self._seed}/{name}/{occasion}").random()  # noqa: S311  # as said


class Faults:
    """All that can go wrong, in both directions."""

    def __init__(self, seed: int) -> None:
        self.calls = FaultSet(CALL_FAULTS, f"{seed}/calls")
        self.callbacks = FaultSet(CALLBACK_FAULTS, f"{seed}/callbacks")

    def clear(self) -> None:
        """Take back all faults."""
        self.calls.clear()
        self.callbacks.clear()

    def set_from_text(self, text: str) -> None:
        """Set a fault as the command line writes it: ``[calls.|callbacks.]NAME=PROBABILITY[:VALUE]``.

        ``3x`` instead of the probability: the next three times. Without a direction: wherever the fault is known.
        Raises ``ValueError``.
        """
        name, separator, rest = text.partition("=")
        direction, dot, bare = name.partition(".")
        amount, _, value = rest.partition(":")
        sides = {"calls": self.calls, "callbacks": self.callbacks}
        if dot and direction in sides:
            chosen, name = [sides[direction]], bare
        else:
            chosen = [side for side in sides.values() if name in side.known] or [self.calls]
        if not separator or not amount:
            raise ValueError(f"{text!r} is not NAME=PROBABILITY, such as callbacks.duplicate=0.1 or calls.slow=0.5:3.")
        try:
            counted = amount.endswith("x")
            number = int(amount[:-1]) if counted else float(amount)
            its_value = float(value) if value else None
        except ValueError:
            raise ValueError(f"{text!r}: probability, count and value are numbers.") from None
        for side in chosen:
            if counted:
                side.set(name, count=int(number), value=its_value)
            else:
                side.set(name, probability=number, value=its_value)
