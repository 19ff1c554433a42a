"""The mirror: conversations, messages and tickets in the ORM (design "Mirror").

``models`` with ``managers``, read-only but for ``writable``. The way of what is heard: ``projection`` (locks and
writes) → ``folding`` (what rows become by an event) and ``merging`` (by a full object) → ``rows`` (the rows in hand) →
``facts`` (what events said of one). ``timeline`` tells it again.
"""

from __future__ import annotations

from bloonio_chat.mirror.writable import ReadOnlyError as ReadOnlyError
from bloonio_chat.mirror.writable import writable as writable

__all__ = ["ReadOnlyError", "writable"]
