"""Virtual environments, and processes that see nothing of the one that the tests run in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# What would let the tests' own project, settings or coverage into another environment.
_OURS: Final = ("BLOONIO_CHAT_", "COVERAGE_", "DJANGO_", "PYTEST_", "PYTHON", "VIRTUAL_ENV")


def clean_environ() -> dict[str, str]:
    """Return this process's environment without what is about this project or this interpreter."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


@dataclass(frozen=True)
class Environment:
    """A virtual environment. ``home`` is where its commands run."""

    venv: Path
    home: Path

    @classmethod
    def make(cls, where: Path) -> Environment:
        """Make one in a directory, with the interpreter that the tests run on."""
        subprocess.run([sys.executable, "-m", "venv", str(where / "venv")], check=True, env=clean_environ())
        (where / "home").mkdir()
        return cls(where / "venv", where / "home")

    @property
    def environ(self) -> dict[str, str]:
        """The variables of an activated environment."""
        path = os.pathsep.join([str(self.venv / "bin"), os.environ["PATH"]])
        return {**clean_environ(), "PATH": path, "VIRTUAL_ENV": str(self.venv), "PYTHONUNBUFFERED": "1"}

    def run(self, *command: str, fails: bool = False, environ: Mapping[str, str] | None = None) -> str:
        """Run a command and return all that it prints; ``fails`` says that it has to."""
        its_own = self.venv / "bin" / command[0]
        result = subprocess.run(
            [str(its_own) if its_own.exists() else command[0], *command[1:]],
            cwd=self.home,
            env={**self.environ, **(environ or {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        assert bool(result.returncode) is fails, f"{' '.join(command)} -> {result.returncode}\n{result.stdout}"
        return result.stdout
