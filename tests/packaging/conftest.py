"""What the packaging tests share: the distributions, built once, and the environments they are installed in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.documents import ROOT
from tests.packaging.environments import Environment, clean_environ

_NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".nox", ".hypothesis", "__pycache__", "build", "dist"
)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from that sdist, and return the directory that holds them.

    From a copy: what an earlier build left in the tree would get into the wheel.
    """
    where = tmp_path_factory.mktemp("distributions")
    source = where / "source"
    shutil.copytree(ROOT, source, ignore=_NOT_SOURCE)
    command = [sys.executable, "-m", "build", "--outdir", str(where / "dist"), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, env=clean_environ())
    assert built.returncode == 0, built.stdout + built.stderr
    return where / "dist"


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    """Return the wheel."""
    [found] = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    """Return the source distribution."""
    [found] = distributions.glob("*.tar.gz")
    return found


@pytest.fixture(scope="session")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment without any package."""
    return Environment.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def core_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """Return an environment with the wheel and without any extra."""
    environment = Environment.make(tmp_path_factory.mktemp("core"))
    environment.run("pip", "install", "--quiet", str(wheel))
    return environment


@pytest.fixture(autouse=True)
def no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the developer's own ``BLOONIO_CHAT_*`` out of the way."""
    for name in [name for name in os.environ if name.startswith("BLOONIO_CHAT_")]:
        monkeypatch.delenv(name)
