"""The Django signals: one for each of the relay's nine events, one for all of them, one for what was refused, one for
what could not be delivered.

Every event's receiver gets ``sender=WebhookEvent``, ``event`` (a :class:`~bloonio_chat.sdk.events.WebhookEvent`) and
``tenant`` (the alias)::

    @receiver(bloonio_chat.signals.message_received)
    def forward(sender, event, tenant, **kwargs): ...
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.dispatch import Signal
from django.dispatch.dispatcher import NONE_ID, _make_id  # type: ignore[attr-defined]  # missing in the stubs

from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.events import WebhookEvent

_Receiver = Callable[..., Any]


class ConnectedReceiver(NamedTuple):
    """A receiver of an event's signal: its stable name, whether it wants a transaction, and itself."""

    name: str
    atomic: bool
    is_async: bool
    function: _Receiver
    signal: EventSignal

    def call(self, event: WebhookEvent, tenant: str) -> None:
        """Call it, an asynchronous one to its end. Raises whatever it raises."""
        call = async_to_sync(self.function) if self.is_async else self.function
        call(signal=self.signal, sender=WebhookEvent, event=event, tenant=tenant)


class _Kind(NamedTuple):
    name: str
    is_async: bool
    atomic: bool


class EventSignal(Signal):
    """A signal whose receivers have stable names, so that it can be told which of them have had an event.

    A name is the ``dispatch_uid``, else the receiver's module and qualified name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        # By Django's own key.
        self._kinds: dict[Any, _Kind] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def connect(
        self,
        receiver: _Receiver,
        sender: object | None = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        *,
        atomic: bool = False,
    ) -> None:
        """Connect a receiver, as Django's ``Signal.connect``.

        ``atomic``: run it in a transaction; with the inbox, together with the note that it has run, so that what it
        does in the inbox's database is done exactly once. ``transaction.on_commit`` is then for the outside world.

        Raises ``ValueError`` for one whose name is not its own (a lambda, a ``functools.partial``, a second receiver
        of the same name): pass ``dispatch_uid``, a text that stays the same from one start of the project to the
        next. Also for an asynchronous one with ``atomic``: it would run outside the transaction.
        """
        key = (dispatch_uid or _make_id(receiver), _make_id(sender))
        name = str(dispatch_uid) if dispatch_uid else _name_of(receiver)
        if name is None:
            raise ValueError(f"{receiver!r} has no name of its own to be remembered by: pass dispatch_uid=.")
        for other, _ in self._live():
            if other != key and self._kinds[other].name == name:
                raise ValueError(f"Another receiver of {self.name} is named {name}: pass dispatch_uid= to one of them.")
        is_async = _is_async(receiver)
        if atomic and is_async:
            raise ValueError(
                f"{name} is asynchronous, and would run outside the transaction: connect it without atomic=."
            )
        # Django keeps the receiver that already has this key. Else this goes first, so that a delivery in another
        # thread never meets a receiver without its name.
        if all(other != key for other, _ in self._live()):
            self._kinds[key] = _Kind(name, is_async, atomic)
        super().connect(receiver, sender, weak, dispatch_uid)

    def connected(self) -> list[ConnectedReceiver]:
        """Return the receivers that events go to, in the order in which they were connected."""
        return [
            ConnectedReceiver(kind.name, kind.atomic, kind.is_async, receiver, self)
            for key, receiver in self._live()
            if key[1] in (NONE_ID, id(WebhookEvent))
            for kind in (self._kinds[key],)
        ]

    def _live(self) -> list[tuple[Any, _Receiver]]:
        """Return the receivers that are still there, by Django's own key, as they were connected.

        Read from Django's list, and not from its lookup, which error trackers replace to wrap what it finds: a
        wrapper has another name.
        """
        live = []
        for key, reference, *_ in list(self.receivers):
            receiver = reference() if isinstance(reference, weakref.ReferenceType) else reference
            if receiver is not None:
                live.append((key, receiver))
        return live


def _name_of(receiver: _Receiver) -> str | None:
    name = getattr(receiver, "__qualname__", None)
    if name is None or "<lambda>" in name or isinstance(receiver, functools.partial):
        return None
    return f"{receiver.__module__}.{name}"


def _is_async(receiver: _Receiver) -> bool:
    return iscoroutinefunction(receiver) or iscoroutinefunction(getattr(receiver, "__call__", None))  # noqa: B004  # its kind, not whether it is there


conversation_started = EventSignal("conversation_started")
"""A conversation was opened."""
message_received = EventSignal("message_received")
"""The visitor sent a message."""
ticket_created = EventSignal("ticket_created")
"""An escalation created a ticket."""
ticket_assigned = EventSignal("ticket_assigned")
"""A human took the ticket."""
ticket_resolved = EventSignal("ticket_resolved")
"""The ticket was marked resolved."""
escalation_triggered = EventSignal("escalation_triggered")
"""The bot handed the conversation to a human."""
agent_assigned = EventSignal("agent_assigned")
"""An operator took the conversation."""
agent_released = EventSignal("agent_released")
"""The operator gave the conversation back to the queue."""
agent_resolved = EventSignal("agent_resolved")
"""The operator marked the conversation resolved."""

event_received = EventSignal("event_received")
"""Any event, known to this app or not; called before the event's own signal."""

callback_rejected = Signal()
"""A callback was refused: ``sender=CallbackRejected``, ``reason`` and ``status`` (protocol §4.3), ``tenant_id`` (what
the request claims, ``None`` where it claims nothing possible or was refused before that was looked at), ``path`` (the
event it was posted for), ``remote_addr``. What its receivers raise is logged. The body is not sent along: it is a
stranger's."""


delivery_failed = Signal()
"""The inbox gave an event up: ``sender=WebhookEvent``, ``event`` (``None`` where its stored body can't be read any
more), ``tenant`` (the alias), ``errors`` (what each that did not succeed raised last: a receiver by its name in the
ledger, ``signal:module.function``; the mirror as ``projection``; a worker that was killed, or could not read the event,
as ``worker``), ``attempts``, and ``inbox_event_id``, by which the admin and ``bloonio_process_inbox --event`` know it.
What its receivers raise is logged."""


def signals_of(event: WebhookEvent) -> list[EventSignal]:
    """Return the signals of an event, in the order in which they are called."""
    own = _BY_TYPE.get(event.event_type)
    return [event_received] if own is None else [event_received, own]


_BY_TYPE: dict[WebhookEventType, EventSignal] = {
    WebhookEventType.CONVERSATION_STARTED: conversation_started,
    WebhookEventType.MESSAGE_RECEIVED: message_received,
    WebhookEventType.TICKET_CREATED: ticket_created,
    WebhookEventType.TICKET_ASSIGNED: ticket_assigned,
    WebhookEventType.TICKET_RESOLVED: ticket_resolved,
    WebhookEventType.ESCALATION_TRIGGERED: escalation_triggered,
    WebhookEventType.AGENT_ASSIGNED: agent_assigned,
    WebhookEventType.AGENT_RELEASED: agent_released,
    WebhookEventType.AGENT_RESOLVED: agent_resolved,
}
