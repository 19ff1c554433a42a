"""The mirror: conversations, messages and tickets in the ORM.

``models`` with ``managers``, read-only but for ``writable``; ``times`` is what their columns hold.

The way of what is heard: ``projection`` (locks and writes, again where ``contention`` was in the way) → ``folding``
(what rows become by an event) and ``merging`` (by a full object) → ``rows`` (the rows in hand) → ``facts`` (what events
said of one). ``timeline`` tells it again.

The way of what is fetched: ``hydration`` takes marked rows (``marks``) within the share of calls (``rates``), asks for
their objects (``fetching``) and has them merged; ``refreshing`` does so for one row, at once.

All that the relay has: ``sync`` has each tenant's lists read (``reading``) by a patient caller (``pacing``), page by
page (``walking``), so that a killed run is gone on with (``checkpoints``). ``verifying`` has them compared
(``examining``, ``comparing``) and counted (``findings``). ``tasks`` are all these for Celery.

What does not stay: ``forgetting`` erases a person, ``retention`` what is past its time; ``scope`` keeps a sync from
bringing either back. Everything else is the admin.
"""

from __future__ import annotations

from bloonio_chat.mirror.writable import ReadOnlyError as ReadOnlyError
from bloonio_chat.mirror.writable import writable as writable

__all__ = ["ReadOnlyError", "writable"]
