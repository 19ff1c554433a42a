"""What is uploaded: the wheel, and the source distribution that it is built from."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.packaging.documents import ROOT, pyproject
from tests.packaging.environments import clean_environ

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

LEFT_OUT: Final = {"__pycache__", ".mypy_cache"}


def source_files(folder: str) -> set[str]:
    """Return the files of a folder of the repository, as paths from its root."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not LEFT_OUT & {*path.parts} and path.suffix not in {".pyc", ".sqlite3"}
    }


def run(*command: str, cwd: Path = ROOT) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, env=clean_environ()
    )
    assert result.returncode == 0, result.stdout + result.stderr


def wheel_files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sdist_files(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_index_would_take_them(distributions: Path) -> None:
    run("twine", "check", "--strict", *map(str, sorted(distributions.iterdir())))


def test_the_metadata_is_valid() -> None:
    run("validate_pyproject", "pyproject.toml")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="compares with what is under version control")
def test_the_manifest_holds_all_that_is_under_version_control() -> None:
    run("check_manifest")


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel: Path) -> None:
    """Modules, py.typed, templates, migrations: whatever is in the package's folder is what gets installed."""
    files = wheel_files(wheel)
    metadata = {name for name in files if ".dist-info/" in name}
    assert files - metadata == source_files("bloonio_chat")
    assert "bloonio_chat/py.typed" in files
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_the_sdist_has_what_the_readme_promises(sdist: Path) -> None:
    files = sdist_files(sdist)
    documents = {path.name for path in ROOT.glob("*.md")}
    assert documents | {"LICENSE", "run", "noxfile.py", "pyproject.toml", "setup.cfg"} <= files
    for folder in ("bloonio_chat", "tests", "example_project", "benchmarks", "docs"):
        assert source_files(folder) <= files, folder


def test_the_run_script_of_the_sdist_can_be_executed(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        [script] = [member for member in archive.getmembers() if member.name.partition("/")[2] == "run"]
    assert script.mode & 0o111


def test_nothing_is_kept_in_two_files() -> None:
    """setup.cfg holds what its tools read only there; metadata there would silently lose against pyproject.toml."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert {section.partition(":")[0] for section in setup.sections()} == {"check-manifest", "importlinter"}
    assert pyproject()["project"]["name"] == "django-bloonio-chat"
