"""How much memory processes have while they work: it must not grow with what they have done."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

# What a process may take beyond what it had after its first tenth of the work: its allocator's own ups and downs.
LARGEST_GROWTH_MB: Final = 16.0


@dataclass
class Watch:
    """The children of some processes, by their resident memory in MB at each moment that was looked at."""

    parents: Sequence[int]
    samples: dict[int, list[float]] = field(default_factory=dict)

    def look(self) -> None:
        """Take note of what each child has now."""
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True)  # noqa: S607  # wherever it is
        for line in table.stdout.splitlines():
            pid, parent, kilobytes = map(int, line.split())
            if parent in self.parents:
                self.samples.setdefault(pid, []).append(kilobytes / 1024)

    def largest(self) -> float:
        """Return the most that a child had."""
        return max(max(its) for its in self.samples.values())

    def growth(self) -> float:
        """Return the most that a child had beyond what it had after a tenth of the time."""
        return max(max(its) - its[len(its) // 10] for its in self.samples.values())
