"""Measuring on a machine that is never quiet: contenders take turns, and only ratios within one round are compared.

A round is a number of turns; in each turn every contender runs a short slice of work. A contender's time in a round is
the median of its slices, so a slice that the machine interrupted does not count. Its ratio in a round is to the first
contender's time in that same round, and what is reported is the median of those ratios, with the least and the largest.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Target:
    """The worst ratio that is still good: the least where rates are compared, the largest where times are."""

    ratio: float


@dataclass(frozen=True)
class Contender:
    """One of those compared. ``run_slice`` does a slice of work and returns the seconds that one operation took."""

    name: str
    run_slice: Callable[[], float]
    target: Target | None = None


@dataclass(frozen=True)
class Race:
    """Contenders to compare with the first of them.

    ``compares_rates``: a ratio is "how many per second, of the first's"; otherwise it is "how long, of the first's".
    ``notes`` returns what else is to be said, once it was run.
    """

    title: str
    contenders: Sequence[Contender]
    turns: int
    compares_rates: bool = False
    notes: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True)
class Spread:
    """What the rounds gave."""

    median: float
    least: float
    largest: float


@dataclass(frozen=True)
class Row:
    """One contender's result; ``seconds`` are per operation."""

    name: str
    seconds: Spread
    ratio: Spread
    target: Target | None
    holds: bool | None


@dataclass(frozen=True)
class Result:
    """A race that was run."""

    race: Race
    rows: Sequence[Row]
    notes: Sequence[str]


def run(race: Race, *, rounds: int, quick: bool, progress: Callable[[str], None]) -> Result:
    """Run a race; ``quick`` takes a quarter of its turns."""
    turns = max(1, race.turns // 4) if quick else race.turns
    for contender in race.contenders:
        contender.run_slice()
    # What is there by now stays: it need not be walked by every collection before a slice.
    gc.collect()
    gc.freeze()
    times: list[list[float]] = []
    for number in range(1, rounds + 1):
        progress(f"{race.title}: round {number} of {rounds}")
        times.append(_run_round(race.contenders, turns))
    gc.unfreeze()
    return Result(race, [_row(race, place, times) for place in range(len(race.contenders))], race.notes())


def seconds_each(work: Callable[[_T], object], inputs: Iterable[_T]) -> float:
    """Do the work for each input and return the seconds that one took. The inputs are made before the clock starts."""
    ready = list(inputs)
    # Garbage of whoever ran before, and of making the inputs, is not this contender's cost; its own is.
    gc.collect()
    started = perf_counter()
    for item in ready:
        work(item)
    return (perf_counter() - started) / len(ready)


def require(holds: bool, otherwise: str) -> None:
    """Raise ``RuntimeError`` where what was measured is not what is said."""
    if not holds:
        raise RuntimeError(f"The benchmark does not measure what it says: {otherwise}.")


def _run_round(contenders: Sequence[Contender], turns: int) -> list[float]:
    slices: list[list[float]] = [[] for _ in contenders]
    for turn in range(turns):
        for step in range(len(contenders)):
            # Everyone goes first as often as the others: whoever follows finds other caches.
            place = (turn + step) % len(contenders)
            slices[place].append(contenders[place].run_slice())
    return [median(its_slices) for its_slices in slices]


def _row(race: Race, place: int, times: Sequence[Sequence[float]]) -> Row:
    contender = race.contenders[place]
    own = [its_round[place] for its_round in times]
    first = [its_round[0] for its_round in times]
    ratio = _spread(
        [base / mine if race.compares_rates else mine / base for base, mine in zip(first, own, strict=True)]
    )
    holds = None
    if contender.target is not None:
        limit = contender.target.ratio
        holds = ratio.median >= limit if race.compares_rates else ratio.median <= limit
    return Row(contender.name, _spread(own), ratio, contender.target, holds)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median(values), min(values), max(values))
