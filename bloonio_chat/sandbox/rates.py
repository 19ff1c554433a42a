"""How often a tenant may call (protocol §3.1)."""

from __future__ import annotations

import math
import threading
from collections import deque

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.clock import Clock
from bloonio_chat.sandbox.objects import Tenant
from bloonio_chat.sandbox.refusals import Refusal


class Rates:
    """Counts each tenant's calls of the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[str, deque[float]] = {}

    def count(self, tenant: Tenant) -> None:
        """Count a call; refuse with 429 and ``Retry-After`` in seconds when the tenant has had its share."""
        if tenant.rate_limit_per_min is None:
            return
        with self._lock:
            now = self._clock.now()
            calls = self._calls.setdefault(tenant.tenant_id, deque())
            while calls and calls[0] <= now - choices.RATE_WINDOW_SECONDS:
                calls.popleft()
            if len(calls) >= tenant.rate_limit_per_min:
                first = calls[0] if calls else now
                wait = max(1, math.ceil(first + choices.RATE_WINDOW_SECONDS - now))
                raise Refusal(429, "Rate limit exceeded", headers={"Retry-After": str(wait)})
            calls.append(now)
