"""``EventSignal``: stable names, every receiver called, and nobody's wrapper in between."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from asgiref.sync import markcoroutinefunction
from django.dispatch import Signal

from bloonio_chat import signals
from bloonio_chat.callbacks.delivery import call
from bloonio_chat.sdk.enums import WebhookEventType
from bloonio_chat.sdk.events import WebhookEvent
from bloonio_chat.signals import EventSignal
from tests.callbacks.relay import PATHS, envelope

EVENT = WebhookEvent.model_validate(envelope())


class Owner:
    def method(self, **_: Any) -> None:
        """A bound method's receiver."""

    async def async_method(self, **_: Any) -> None:
        await asyncio.sleep(0)

    def __call__(self, **_: Any) -> None:
        """A callable object's receiver."""


class AsyncOwner:
    called = False

    async def __call__(self, **_: Any) -> None:
        await asyncio.sleep(0)
        self.called = True


def a_receiver(**_: Any) -> None:
    """A function of a module: the usual receiver."""


def another_receiver(**_: Any) -> None:
    """Another one."""


class Outcome(NamedTuple):
    receiver: str
    error: BaseException | None


@pytest.fixture
def signal() -> EventSignal:
    return EventSignal("tested")


def delivered(signal: EventSignal) -> list[Outcome]:
    return [Outcome(one.name, call(one, EVENT, tenant="default")) for one in signal.connected()]


def names(signal: EventSignal) -> list[str]:
    return [outcome.receiver for outcome in delivered(signal)]


# ---- names -----------------------------------------------------------------------------------------------------


def test_a_name_is_the_module_and_the_qualified_name_or_the_dispatch_uid(signal: EventSignal) -> None:
    owner = Owner()
    signal.connect(a_receiver)
    signal.connect(owner.method)
    signal.connect(owner, dispatch_uid="an object")
    signal.connect(another_receiver, dispatch_uid="mine")
    assert names(signal) == ["tests.test_signals.a_receiver", "tests.test_signals.Owner.method", "an object", "mine"]


@pytest.mark.parametrize(
    "make",
    [lambda: lambda **_: None, lambda: functools.partial(a_receiver), Owner, AsyncOwner],
    ids=["lambda", "partial", "callable object", "async callable object"],
)
def test_a_receiver_without_a_name_of_its_own_must_be_given_one(signal: EventSignal, make: Callable[[], Any]) -> None:
    receiver = make()
    with pytest.raises(ValueError, match="dispatch_uid"):
        signal.connect(receiver)
    assert delivered(signal) == []
    signal.connect(receiver, dispatch_uid="named")
    assert names(signal) == ["named"]


def test_two_receivers_of_one_name_must_be_told_apart(signal: EventSignal) -> None:
    def make() -> Callable[..., None]:
        def twin(**_: Any) -> None:
            """One of two closures of the same name."""

        return twin

    first, second = make(), make()
    signal.connect(first)
    with pytest.raises(ValueError, match=r"Another receiver of tested is named .*twin: pass dispatch_uid="):
        signal.connect(second)
    assert len(delivered(signal)) == 1
    signal.connect(second, dispatch_uid="second")
    assert len(set(names(signal))) == 2


def test_a_dispatch_uid_that_is_anothers_name_is_refused(signal: EventSignal) -> None:
    signal.connect(a_receiver)
    with pytest.raises(ValueError, match="Another receiver"):
        signal.connect(another_receiver, dispatch_uid="tests.test_signals.a_receiver")


def test_two_bound_methods_of_one_class_must_be_told_apart(signal: EventSignal) -> None:
    first, second = Owner(), Owner()
    signal.connect(first.method)
    with pytest.raises(ValueError, match="dispatch_uid"):
        signal.connect(second.method)
    signal.connect(second.method, dispatch_uid="second")
    assert len(delivered(signal)) == 2


def test_connecting_again_changes_nothing(signal: EventSignal) -> None:
    for _ in range(2):
        signal.connect(a_receiver)
        signal.connect(another_receiver, dispatch_uid="mine")
    assert names(signal) == ["tests.test_signals.a_receiver", "mine"]


def test_the_receivers_module_and_the_signals_name_are_told_in_reprs(signal: EventSignal) -> None:
    assert repr(signal) == "<EventSignal tested>"
    assert [getattr(signals, path.replace("-", "_")).name for path in PATHS] == [e.value for e in WebhookEventType]


# ---- who is called ---------------------------------------------------------------------------------------------


def test_a_disconnected_receiver_is_not_called_and_frees_its_name(signal: EventSignal) -> None:
    signal.connect(a_receiver)
    signal.connect(another_receiver, dispatch_uid="mine")
    assert signal.disconnect(a_receiver)
    assert signal.disconnect(dispatch_uid="mine")
    assert delivered(signal) == []
    signal.connect(another_receiver, dispatch_uid="tests.test_signals.a_receiver")
    assert names(signal) == ["tests.test_signals.a_receiver"]


def test_a_receiver_that_died_is_not_called_and_frees_its_name(signal: EventSignal) -> None:
    owner, other = Owner(), Owner()
    signal.connect(owner.method)
    assert len(delivered(signal)) == 1
    del owner
    gc.collect()
    assert delivered(signal) == []
    signal.connect(other.method)
    assert names(signal) == ["tests.test_signals.Owner.method"]


def test_a_receiver_held_strongly_stays(signal: EventSignal) -> None:
    def local(**_: Any) -> None:
        """Nobody else holds it."""

    signal.connect(local, weak=False)
    del local
    gc.collect()
    assert len(delivered(signal)) == 1


def test_a_sender_filters(signal: EventSignal) -> None:
    signal.connect(a_receiver, sender=WebhookEvent)
    signal.connect(another_receiver, sender=Owner)
    assert names(signal) == ["tests.test_signals.a_receiver"]


def test_a_receiver_gets_what_the_signal_promises(signal: EventSignal) -> None:
    got: list[dict[str, Any]] = []

    def receive(**arguments: Any) -> None:
        got.append(arguments)

    signal.connect(receive)
    delivered(signal)
    assert got == [{"signal": signal, "sender": WebhookEvent, "event": EVENT, "tenant": "default"}]


def test_every_receiver_is_called_and_each_has_its_outcome(signal: EventSignal) -> None:
    error, async_error = RuntimeError("sync"), ValueError("async")

    def fails(**_: Any) -> None:
        raise error

    async def fails_async(**_: Any) -> None:
        await asyncio.sleep(0)
        raise async_error

    owner, async_owner = Owner(), AsyncOwner()
    signal.connect(fails, dispatch_uid="fails")
    signal.connect(fails_async, dispatch_uid="fails async")
    signal.connect(owner.async_method, dispatch_uid="async method")
    signal.connect(async_owner, dispatch_uid="async object")
    signal.connect(a_receiver, dispatch_uid="good")
    assert delivered(signal) == [
        Outcome("fails", error),
        Outcome("fails async", async_error),
        Outcome("async method", None),
        Outcome("async object", None),
        Outcome("good", None),
    ]
    assert async_owner.called


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_what_is_to_stop_the_process_does(signal: EventSignal, stop: type[BaseException]) -> None:
    def stops(**_: Any) -> None:
        raise stop

    signal.connect(stops)
    with pytest.raises(stop):
        delivered(signal)


def test_a_cancelled_receiver_is_an_outcome_and_the_others_are_called(signal: EventSignal) -> None:
    async def cancelled(**_: Any) -> None:
        raise asyncio.CancelledError

    signal.connect(cancelled, dispatch_uid="cancelled")
    signal.connect(a_receiver)
    first, second = delivered(signal)
    assert (first.receiver, type(first.error)) == ("cancelled", asyncio.CancelledError)
    assert second == Outcome("tests.test_signals.a_receiver", None)


def test_a_function_that_is_marked_as_a_coroutine_function_is_awaited(signal: EventSignal) -> None:
    called: list[bool] = []

    async def real() -> None:
        called.append(True)

    def wrapper(**_: Any) -> Any:
        return real()

    signal.connect(markcoroutinefunction(wrapper), dispatch_uid="marked")
    assert delivered(signal) == [Outcome("marked", None)]
    assert called == [True]


def test_a_second_receiver_of_a_live_dispatch_uid_changes_nothing_of_the_first(signal: EventSignal) -> None:
    called: list[str] = []

    async def first(**_: Any) -> None:
        called.append("first")

    def second(**_: Any) -> None:
        called.append("second")

    signal.connect(first, dispatch_uid="one")
    signal.connect(second, dispatch_uid="one")
    assert delivered(signal) == [Outcome("one", None)]
    assert called == ["first"]


@pytest.fixture
def wrapped_receivers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Wrap what Django's lookup finds, as Sentry's integration does."""
    wrapped: list[Any] = []
    original: Any = Signal._live_receivers

    def patched(self: Signal, sender: object) -> Any:
        def wrap(receiver: Callable[..., Any]) -> Callable[..., Any]:
            wrapped.append(receiver)

            def sentry_wrapper(*args: Any, **kwargs: Any) -> Any:
                return receiver(*args, **kwargs)

            return sentry_wrapper

        found = original(self, sender)
        return tuple([wrap(receiver) for receiver in part] for part in found[:2])

    monkeypatch.setattr(Signal, "_live_receivers", patched)
    return wrapped


def test_a_third_partys_wrapper_changes_no_name(signal: EventSignal, wrapped_receivers: list[Any]) -> None:
    signal.connect(a_receiver)
    signal.send(sender=WebhookEvent)
    assert wrapped_receivers == [a_receiver], "the wrapper is at work"
    assert names(signal) == ["tests.test_signals.a_receiver"]


def test_a_delivery_in_another_thread_meets_no_receiver_without_its_name(
    signal: EventSignal, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []
    connect = Signal.connect

    def connect_and_be_interrupted(self: EventSignal, *arguments: Any) -> None:
        connect(self, *arguments)
        met.extend(names(self))

    monkeypatch.setattr(Signal, "connect", connect_and_be_interrupted)
    signal.connect(a_receiver)
    assert met == ["tests.test_signals.a_receiver"]
