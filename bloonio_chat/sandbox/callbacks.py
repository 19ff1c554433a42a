"""The relay's callbacks (protocol §4): kept, signed afresh for each attempt, posted until a 2xx.

Each conversation has a lane with a thread of its own while there is something to post: a receiver that is slow with one
conversation holds up no other. Within a lane callbacks go out one by one; one that waits for its retry steps aside.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from bloonio_chat.sandbox.clock import Clock
from bloonio_chat.sandbox.faults import FaultSet
from bloonio_chat.sandbox.objects import Tenant
from bloonio_chat.sandbox.posting import Posting

CALLBACKS_PATH = "/api/v1/chat-callbacks"
_LOOK_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Attempt:
    """One posting: ``status`` of the answer, or the ``problem`` that left it without one; ``seconds`` it took."""

    at: datetime
    timestamp_ms: int
    status: int | None
    problem: str | None
    seconds: float
    faults: tuple[str, ...] = ()


@dataclass
class Callback:
    """A callback with all its attempts, oldest first.

    ``outcome`` is ``pending`` until a 2xx (``delivered``) or until the pauses are used up (``given_up``); ``cancelled``
    when the relay was stopped before. ``duplicate_of`` is the number of the callback that a fault doubled.
    """

    number: int
    event_type: str
    tenant_id: str
    conversation_id: str | None
    body: bytes
    created_at: datetime
    attempts: list[Attempt] = field(default_factory=list)
    outcome: Literal["pending", "delivered", "given_up", "cancelled"] = "pending"
    duplicate_of: int | None = None
    due: float = field(default=0.0, repr=False)
    held_back: bool = field(default=False, repr=False)

    @property
    def path(self) -> str:
        """The event's part of the URL, as ``message-received``."""
        return self.event_type.replace("_", "-")

    @property
    def status(self) -> int | None:
        """The last attempt's status; ``None`` where there was no answer, or no attempt yet."""
        return self.attempts[-1].status if self.attempts else None

    @property
    def data(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Outbox:
    """All callbacks of a relay.

    ``pauses`` are the seconds before each further attempt, ``timeout_seconds`` how long an answer may take.
    """

    def __init__(
        self,
        clock: Clock,
        faults: FaultSet,
        tenant: Callable[[str], Tenant],
        *,
        pauses: Sequence[float],
        timeout_seconds: float,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._tenant = tenant
        self._pauses = tuple(pauses)
        self._timeout = timeout_seconds
        # All of these are guarded by the clock's condition.
        self._callbacks: list[Callback] = []
        self._lanes: dict[str, list[Callback]] = {}
        self._threads: list[threading.Thread] = []
        self._posting: set[Posting] = set()
        self._stopped = False

    def callbacks(self) -> list[Callback]:
        """Return all callbacks, oldest first."""
        with self._clock.changed:
            return list(self._callbacks)

    def put(self, tenant: Tenant, event_type: str, conversation_id: str | None, body: bytes) -> None:
        """Keep a callback and post it as soon as its lane is free; not where the tenant has no callback URL."""
        if tenant.callback_base_url is None:
            return
        with self._clock.changed:
            if self._stopped:
                return
            callback = self._keep(tenant, event_type, conversation_id, body)
            occasion = str(callback.number)
            callback.due = self._clock.now() + (self._faults.strike("delay", event_type, occasion) or 0.0)
            hold = self._faults.strike("reorder", event_type, occasion)
            if hold is not None:
                callback.held_back, callback.due = True, callback.due + hold
            self._enqueue(callback, conversation_id or occasion)
            if self._faults.strike("duplicate", event_type, occasion) is not None:
                twin = self._keep(tenant, event_type, conversation_id, body)
                twin.duplicate_of, twin.due = callback.number, callback.due
                # A lane of its own, so that the two overlap.
                self._enqueue(twin, f"twin of {occasion}")
            self._clock.changed.notify_all()

    def wait_until(self, happened: Callable[[], bool], timeout_seconds: float) -> None:
        """Return once that is true, which is asked again and again; raise ``TimeoutError`` when it takes longer."""
        ends = time.monotonic() + timeout_seconds
        with self._clock.changed:
            while not happened():
                left = ends - time.monotonic()
                if left > 0:
                    # Attempts tell when they are made; what visitors and operators do is looked for.
                    self._clock.changed.wait(min(left, _LOOK_AGAIN_SECONDS))
                    continue
                pending = [each for each in self._callbacks if each.outcome == "pending"]
                raise TimeoutError(
                    f"{len(pending)} callbacks are still pending after {timeout_seconds:g} s: "
                    + ", ".join(f"{each.event_type} ({len(each.attempts)} attempts)" for each in pending[:5])
                )

    def settled(self) -> bool:
        """Return whether no callback is pending."""
        with self._clock.changed:
            return all(each.outcome != "pending" for each in self._callbacks)

    def stop(self) -> None:
        """Cancel what is pending, cut the attempts that are being made, and return when no thread is left."""
        with self._clock.changed:
            self._stopped = True
            for callback in self._callbacks:
                if callback.outcome == "pending":
                    callback.outcome = "cancelled"
            for posting in self._posting:
                posting.cut()
            self._clock.changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    # ---- lanes -------------------------------------------------------------------------------------------------

    def _keep(self, tenant: Tenant, event_type: str, conversation_id: str | None, body: bytes) -> Callback:
        callback = Callback(
            len(self._callbacks) + 1, event_type, tenant.tenant_id, conversation_id, body, self._clock.moment()
        )
        self._callbacks.append(callback)
        return callback

    def _enqueue(self, callback: Callback, lane: str) -> None:
        if lane in self._lanes:
            # Its thread has not closed it yet, so it sees this one too: a second thread would post it as well.
            self._lanes[lane].append(callback)
        else:
            self._lanes[lane] = [callback]
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._work, args=(lane,), name="sandbox-callbacks", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, lane: str) -> None:
        while (callback := self._next(lane)) is not None:
            attempt = self._attempt(callback)
            with self._clock.changed:
                self._settle(lane, callback, attempt)
                self._clock.changed.notify_all()

    def _next(self, lane: str) -> Callback | None:
        """Wait for the lane's next callback; ``None`` when there is nothing left, and the lane is closed."""
        with self._clock.changed:
            waiting = self._lanes[lane]
            while waiting and not self._stopped:
                callback = min(waiting, key=lambda each: (each.due, each.number))
                left = callback.due - self._clock.now()
                if left <= 0:
                    return callback
                self._clock.changed.wait(left)
            del self._lanes[lane]
            return None

    def _settle(self, lane: str, callback: Callback, attempt: Attempt) -> None:
        callback.attempts.append(attempt)
        for other in self._lanes[lane]:
            # What was held back has been overtaken now.
            if other.held_back and other is not callback:
                other.held_back, other.due = False, self._clock.now()
        callback.held_back = False
        made = len(callback.attempts)
        if callback.outcome != "cancelled":
            if attempt.status is not None and 200 <= attempt.status < 300:
                callback.outcome = "delivered"
            elif made > len(self._pauses):
                callback.outcome = "given_up"
            else:
                callback.due = self._clock.now() + self._pauses[made - 1]
                return
        self._lanes[lane].remove(callback)

    # ---- one attempt -------------------------------------------------------------------------------------------

    def _attempt(self, callback: Callback) -> Attempt:
        tenant = self._tenant(callback.tenant_id)
        occasion = f"{callback.number}.{len(callback.attempts) + 1}"
        names = ("skew", "wrong_signature", "drop_before", "drop_after", "slow", "truncate")
        struck = {
            name: value
            for name in names
            if (value := self._faults.strike(name, callback.event_type, occasion)) is not None
        }
        timestamp_ms = self._clock.now_ms() + int(struck.get("skew", 0.0) * 1000)
        at, started = self._clock.moment(), time.perf_counter()
        status, problem, posting = None, None, None
        try:
            posting = Posting(f"{tenant.callback_base_url}{CALLBACKS_PATH}/{callback.path}", self._timeout, struck)
            with self._clock.changed:
                if self._stopped:
                    posting.cut()
                self._posting.add(posting)
            status = posting.post(callback.body, tenant.tenant_id, tenant.secret, timestamp_ms)
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        finally:
            if posting is not None:
                with self._clock.changed:
                    self._posting.discard(posting)
        return Attempt(at, timestamp_ms, status, problem, time.perf_counter() - started, tuple(struck))
