"""``python -m benchmarks``, from the project's root."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Final

from benchmarks import rounds, tables

# What is measured unless one is named.
QUIET_GROUPS: Final = {"receive": "benchmarks.receive", "calls": "benchmarks.calls", "import": "benchmarks.imports"}
# Those that take minutes and want services: only by name, and each in a process of its own.
SERVICE_GROUPS: Final = {
    "store": "benchmarks.store",
    "drain": "benchmarks.drain",
    "old-rows": "benchmarks.old_rows",
    "projection": "benchmarks.projection",
}
# How much some of them work on: without and with --quick.
SIZES: Final = {"drain": (100_000, 10_000), "old-rows": (5_000_000, 200_000)}
GROUPS: Final = {**QUIET_GROUPS, **SERVICE_GROUPS}


def main() -> int:
    """Run what was asked for; the exit status is 1 where a target was missed and that matters."""
    options = _parser().parse_args()
    results = []
    for group in [options.only] if options.only else QUIET_GROUPS:
        # Loaded when its turn comes: no group carries what another has imported.
        sizes = [options.size or SIZES[group][options.quick]] if group in SIZES else []
        for race in importlib.import_module(GROUPS[group]).races(*sizes):
            result = rounds.run(race, rounds=options.rounds, quick=options.quick, progress=_show_progress)
            _show_progress("")
            print(tables.as_text(result), flush=True)
            results.append(result)
    if options.json:
        options.json.write_text(tables.as_json(results, rounds=options.rounds) + "\n")
    missed = tables.missed(results)
    print("\n".join(["Missed:", *missed]) if missed else "No target was missed.")
    return 1 if missed and options.check else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what docs/benchmarks.md says.")
    parser.add_argument(
        "--rounds", type=_rounds, default=7, metavar="N", help="how many rounds, at least 5 (default 7)"
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the turns in each round: a first impression")
    parser.add_argument("--only", choices=GROUPS, help="measure one group")
    parser.add_argument(
        "--size", type=int, metavar="N", help="for drain and old-rows: how many events, rather than the usual number"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < 5:
        raise argparse.ArgumentTypeError("at least 5: the median of fewer says little")
    return number


def _show_progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
