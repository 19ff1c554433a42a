"""The results, for people and for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Final

from benchmarks.rounds import Race, Result, Row, Spread, Target

_VERDICTS: Final = {True: "holds", False: "MISSED", None: ""}


def as_text(result: Result) -> str:
    """Return a result as a table."""
    ratio = "times its rate" if result.race.compares_rates else "times its time"
    head = ("", "time", f"{ratio} [least-largest]", "target", "")
    lines = [head, *(_cells(result.race, row) for row in result.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "  ".join(
            cell.ljust(width) if column in (0, 4) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([result.race.title, "-" * len(result.race.title), *text, *result.notes, ""])


def as_json(results: Sequence[Result], *, rounds: int) -> str:
    """Return all results, with what they were measured on."""
    return json.dumps(
        {
            "rounds": rounds,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in ("django", "pydantic", "requests", "httpx2")},
            "races": [
                {
                    "title": result.race.title,
                    "compares": "rates" if result.race.compares_rates else "times",
                    "rows": [asdict(row) for row in result.rows],
                    "notes": list(result.notes),
                }
                for result in results
            ],
        },
        indent=2,
    )


def missed(results: Sequence[Result]) -> list[str]:
    """Return a line for each target that was missed."""
    return [
        f"{row.name}: {row.ratio.median:.3f}, and the target is {_target(result.race, row.target)}"
        for result in results
        for row in result.rows
        if row.holds is False
    ]


def _cells(race: Race, row: Row) -> tuple[str, ...]:
    ratio = f"{row.ratio.median:.3f} {_range(row.ratio, 1, 3)}" if row.ratio.least != row.ratio.largest else "1"
    return (row.name, _time(row.seconds), ratio, _target(race, row.target), _VERDICTS[row.holds])


def _time(seconds: Spread) -> str:
    factor, unit = (1e3, "ms") if seconds.median >= 1e-2 else (1e6, "us")
    digits = 2 if seconds.median < 1e-5 else 0
    return f"{seconds.median * factor:.{digits}f} {_range(seconds, factor, digits)} {unit}"


def _range(spread: Spread, factor: float, digits: int) -> str:
    return f"[{spread.least * factor:.{digits}f}-{spread.largest * factor:.{digits}f}]"


def _target(race: Race, target: Target | None) -> str:
    if target is None:
        return ""
    return f"{'>=' if race.compares_rates else '<='} {target.ratio:.2f}"
