"""Hydration: callbacks are summaries, which mark rows; here the full objects are fetched.

Ten events of one conversation leave one mark, and cost one fetch of the conversation and one of its messages. The mark
stays until the object has been merged, or the relay has said often enough that it has none such; an event that comes
during the fetch marks anew. Without the inbox nothing calls this in a request: there it is ``bloonio_sync --marked`` or
the Celery task.
"""

from __future__ import annotations

import logging
import random as random_module
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from bloonio_chat.clients import get_chat_client
from bloonio_chat.conf import get_config
from bloonio_chat.mirror import rates
from bloonio_chat.mirror.fetching import (
    CONVERSATION,
    MESSAGES,
    TICKET,
    Messages,
    bundle,
    fetch_conversation,
    fetch_messages,
    fetch_ticket,
)
from bloonio_chat.mirror.folding import Fetched
from bloonio_chat.mirror.marks import Marked, find_marked
from bloonio_chat.mirror.models import Conversation, HydratedModel, Ticket
from bloonio_chat.mirror.piecewise import merge_each
from bloonio_chat.sdk.errors import (
    ChatRelayAuthenticationError,
    ChatRelayConfigurationError,
    ChatRelayConnectionError,
    ChatRelayError,
    ChatRelayForbiddenError,
    ChatRelayNotFoundError,
    ChatRelayRateLimitError,
    ChatRelayServerError,
)

logger = logging.getLogger("bloonio_chat.mirror")

# A suspended tenant is not asked sooner.
FORBIDDEN_SECONDS: Final = 900.0
# Where a 429 does not say.
RETRY_AFTER_SECONDS: Final = 30.0
_ROWS_AT_ONCE: Final = 20

_ROUTES: Final[dict[type[HydratedModel], str]] = {Conversation: CONVERSATION, Ticket: TICKET}


@dataclass
class Drained:
    """How a drain went: how many rows' full objects were ``fetched`` and merged, and how many ``failed``.

    ``wait_ms``: there is more to do once so many milliseconds have passed; 0: nothing else is due. ``error``: what
    ended it, where the trouble is not one object's.
    """

    fetched: int = 0
    failed: int = 0
    wait_ms: int = 0
    error: ChatRelayError | None = None


def hydrate(
    limit: int,
    *,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    random: Callable[[], float] = random_module.random,
) -> int:
    """Fetch at most so many marked conversations and tickets, of all tenants, and return how many were.

    Ends when nothing is due, when the share of calls is used up, or when ``stop`` says so, which is asked between two
    of them. Raises what the database raises, nothing that the relay does. ``clock`` gives the Unix time in seconds,
    ``random`` a number from 0 to 1.
    """
    fetched = 0
    # Whoever comes first may use up the limit.
    for tenant in sorted(get_config().tenants, key=lambda _: random()):
        if fetched < limit and not stop():
            fetched += drain(tenant, limit=limit - fetched, stop=stop, clock=clock, random=random).fetched
    return fetched


def hydrate_patiently(
    seconds: float,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = random_module.random,
) -> int:
    """Fetch what is marked, of all tenants, for so many seconds at the most, waiting for calls; return how many."""
    ends, fetched = clock() + seconds, 0
    while clock() < ends:
        drained = [
            drain(tenant, limit=_ROWS_AT_ONCE, stop=lambda: clock() >= ends, clock=clock, random=random)
            for tenant in get_config().tenants
        ]
        fetched += sum(each.fetched for each in drained)
        if any(each.fetched or each.failed for each in drained):
            continue
        waits_ms = [each.wait_ms for each in drained if each.wait_ms]
        if not waits_ms or clock() + min(waits_ms) / 1000 >= ends:
            break
        sleep(min(waits_ms) / 1000)
    return fetched


def drain(
    tenant: str,
    *,
    limit: int,
    despite_pause: bool = False,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    random: Callable[[], float] = random_module.random,
) -> Drained:
    """Fetch at most so many marked rows of one tenant, given by its alias; arguments and errors as :func:`hydrate`.

    ``despite_pause``: also where the relay failed just now: somebody waits for it.
    """
    drained = Drained()
    while drained.fetched + drained.failed < limit and not stop():
        now_ms = int(clock() * 1000)
        missing = rates.missing_routes(tenant, now_ms=now_ms)
        doubted = rates.doubted_routes(tenant)
        rows = find_marked(
            tenant,
            now_ms=now_ms,
            limit=min(_ROWS_AT_ONCE, limit - drained.fetched - drained.failed),
            conversations=CONVERSATION not in missing,
            tickets=TICKET not in missing,
            # What is gone says nothing of the others a second time.
            untried_first=[model for model, route in _ROUTES.items() if route in doubted],
        )
        if not rows:
            break
        has_taken = False
        for row in rows:
            with_messages = row.model is Conversation and MESSAGES not in missing and get_config().app.mirror_messages
            fetch = _Fetch(row, with_messages, despite_pause, int(clock() * 1000), clock, random)
            drained.wait_ms = fetch.look()
            if drained.wait_ms or stop():
                return drained
            if not row.take(now_ms=fetch.taken_ms):
                # Another worker has it.
                continue
            has_taken = True
            drained.wait_ms = fetch.take_calls()
            if drained.wait_ms:
                return drained
            if not fetch.run(drained):
                break
        # Where others are faster with every one of them, they do the work.
        if drained.error is not None or not has_taken:
            break
    return drained


class _RefusedError(Exception):
    """The database does not take something of what was fetched."""


def _merge(batch: Sequence[Fetched]) -> None:
    if merge_each(batch):
        raise _RefusedError


@dataclass
class _Fetch:
    """One marked row's fetch; ``taken_ms`` is when the row was taken."""

    row: Marked
    with_messages: bool
    despite_pause: bool
    taken_ms: int
    clock: Callable[[], float]
    random: Callable[[], float]

    @property
    def _calls(self) -> int:
        return 2 if self.with_messages else 1

    def look(self) -> int:
        """Return in how many milliseconds there are calls for it; 0: now."""
        return rates.look(self.row.tenant, self._calls, now_ms=self.taken_ms, despite_pause=self.despite_pause)

    def take_calls(self) -> int:
        """Take the calls for it, and return 0; or let go of the row, and return when to ask again."""
        wait_ms = rates.take(self.row.tenant, self._calls, now_ms=self.taken_ms, despite_pause=self.despite_pause)
        if wait_ms:
            self.row.release(taken_ms=self.taken_ms, tries=self.row.tries)
        return wait_ms

    def run(self, drained: Drained) -> bool:
        """Fetch and merge, and note what came of it; return whether all was as expected."""
        try:
            is_whole = self._fetch_ticket() if self._route == TICKET else self._fetch_conversation()
        except ChatRelayError as error:
            drained.failed += 1
            if self._judge(error):
                drained.error = error
            return False
        except _RefusedError:
            self.row.postpone(taken_ms=self.taken_ms, now_ms=int(self.clock() * 1000))
            drained.failed += 1
            return False
        self.row.release(taken_ms=self.taken_ms)
        drained.fetched += 1
        return is_whole

    @property
    def _route(self) -> str:
        return _ROUTES[self.row.model]

    def _fetch_ticket(self) -> bool:
        row, began_at = self.row, self._now()
        ticket = fetch_ticket(get_chat_client(row.tenant), row.relay_id)
        rates.note_success(row.tenant, TICKET)
        _merge([Fetched(row.tenant, ticket, began_at, mark=row.mark)])
        return True

    def _fetch_conversation(self) -> bool:
        """Fetch and merge; return whether the relay lists messages, where they are wanted."""
        row, began_at = self.row, self._now()
        conversation = fetch_conversation(get_chat_client(row.tenant), row.relay_id)
        # At once: where it fails at the messages, that is no word on the tenant's other objects.
        rates.note_success(row.tenant, CONVERSATION)
        try:
            messages = self._messages() if self.with_messages else None
        except ChatRelayError:
            # The mark stays, since its messages are still to be fetched.
            _merge(bundle(row.tenant, conversation, None, began_at=began_at, mark=None))
            raise
        _merge(bundle(row.tenant, conversation, messages, began_at=began_at, mark=row.mark))
        return messages is not None or not self.with_messages

    def _messages(self) -> Messages | None:
        messages = fetch_messages(get_chat_client(self.row.tenant), self.row.relay_id)
        if messages is None:
            self._note_missing(MESSAGES)
        else:
            rates.note_success(self.row.tenant, MESSAGES)
        return messages

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), timezone.utc)

    def _judge(self, error: ChatRelayError) -> bool:
        """Let the row wait, or all of the tenant's; return whether the trouble is the tenant's."""
        row, now_ms = self.row, int(self.clock() * 1000)
        if isinstance(error, ChatRelayRateLimitError):
            row.release(taken_ms=self.taken_ms, tries=row.tries)
            seconds = RETRY_AFTER_SECONDS if error.retry_after is None else error.retry_after
            rates.obey(row.tenant, seconds, now_ms=now_ms)
            logger.info("Tenant %s has no calls left: nothing is fetched for %.0f s.", row.tenant, seconds)
            return True
        if isinstance(error, (ChatRelayForbiddenError, ChatRelayAuthenticationError, ChatRelayConfigurationError)):
            row.release(taken_ms=self.taken_ms, tries=row.tries)
            least = FORBIDDEN_SECONDS if isinstance(error, ChatRelayForbiddenError) else 0.0
            self._pause(error, now_ms, least)
            return True
        if isinstance(error, (ChatRelayConnectionError, ChatRelayServerError)):
            was_failing = rates.is_failing(row.tenant)
            pause_ms = int(self._pause(error, now_ms, 0.0) * 1000)
            if was_failing:
                # Until after the pause: due again by its end, it would be the first to be asked for, each time.
                row.step_aside(taken_ms=self.taken_ms, now_ms=now_ms + pause_ms)
            else:
                # The relay answered just before: it may fail at this object alone.
                row.postpone(taken_ms=self.taken_ms, now_ms=now_ms + pause_ms)
            return True
        if isinstance(error, ChatRelayNotFoundError):
            row.postpone_or_give_up(taken_ms=self.taken_ms, now_ms=now_ms)
            if not row.tries:
                # Else one that is gone, asked for again and again, would have the route taken for a missing one.
                self._note_missing(self._route)
        else:
            row.postpone(taken_ms=self.taken_ms, now_ms=now_ms)
        return False

    def _pause(self, error: ChatRelayError, now_ms: int, least: float) -> float:
        tenant = self.row.tenant
        seconds = rates.pause(tenant, now_ms=now_ms, random=self.random, at_least_seconds=least)
        problem = type(error).__name__
        logger.warning("The relay of tenant %s failed (%s): nothing is fetched for %.0f s.", tenant, problem, seconds)
        return seconds

    def _note_missing(self, route: str) -> None:
        if rates.note_missing(self.row.tenant, route, now_ms=int(self.clock() * 1000)):
            logger.info("The relay of tenant %s seems to have no %s; asked again in an hour.", self.row.tenant, route)
