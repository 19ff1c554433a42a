"""What passes between the exchange and a client: a request to send, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

# A list of a hundred of the longest messages stays far below; what is larger is no answer of the relay's.
LARGEST_ANSWER: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """A signed request. Its ``repr`` shows neither headers nor body nor query."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """A whole answer; the names of its headers are in lower case."""

    status_code: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Failure:
    """An attempt without a whole answer.

    ``reached`` is false only where the connection was never made; ``reason`` is for people and must not quote the
    request. ``transient`` is false where another attempt would end the same way.
    """

    reason: str
    reached: bool
    timed_out: bool = False
    transient: bool = True
    too_large: bool = False


def failure(*, reached: bool, timed_out: bool = False, tls: bool = False, proxy: bool = False) -> Failure:
    """Return the failure of an attempt, described by its kind alone: what HTTP libraries say quotes the URL."""
    if timed_out:
        return Failure("no answer in time" if reached else "no connection in time", reached=reached, timed_out=True)
    if reached:
        return Failure("the connection was lost before the answer was whole", reached=True)
    if tls:
        return Failure("the relay's TLS certificate or handshake was refused", reached=False, transient=False)
    if proxy:
        return Failure("the proxy was not reached, or it refused", reached=False)
    return Failure("the relay was not reached: no such host, or nothing listens there", reached=False)


def causes(error: BaseException, *, outer: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that led to it, up to ``outer``: what the caller was busy with before the attempt."""
    found: BaseException | None = error
    while found is not None and found is not outer:
        yield found
        found = found.__cause__ or found.__context__


def too_large() -> Failure:
    """Return the failure of an attempt whose answer passed the limit."""
    return Failure(f"the answer is larger than {LARGEST_ANSWER} bytes", reached=True, transient=False, too_large=True)


@dataclass(frozen=True)
class Pause:
    """Time to let pass before the next attempt, in seconds."""

    seconds: float
