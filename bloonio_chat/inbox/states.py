"""The state machine of an event in the inbox.

::

    received ──> delivering ──> delivered
                  │    ▲
                  │    └─────── failed (waits for its retry)
                  ├──────────────^
                  └──────────> dead (given up: retried only by hand)

    all but delivered ──> buried (given up by a person, or erased: nobody needs to look) ──> failed (retried by hand)

``delivering`` is written before a receiver is called: a worker that is killed leaves it behind, the lane's lease runs
out, and whoever takes the lane over sees that an attempt ended that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

RECEIVED: Final = "received"
DELIVERING: Final = "delivering"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
DEAD: Final = "dead"
BURIED: Final = "buried"

STATES: Final = (RECEIVED, DELIVERING, DELIVERED, FAILED, DEAD, BURIED)
OPEN_STATES: Final = (RECEIVED, DELIVERING, FAILED)
FINISHED_STATES: Final = (DELIVERED, DEAD, BURIED)

FIRST_RETRY_SECONDS: Final = 15
LONGEST_RETRY_SECONDS: Final = 4 * 3600


def retry_delay_ms(attempts: int, random: Callable[[], float]) -> int:
    """Return how long to wait after so many attempts, in milliseconds: exponential, with full jitter.

    ``random`` returns a number from 0 to 1.
    """
    # The exponent is bounded, since the result is.
    ceiling = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 20))
    return int(random() * ceiling * 1000)
