"""The rules of the architecture that no linter checks; ``lint-imports`` checks the others (setup.cfg)."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import bloonio_chat
from tests.packaging.documents import ROOT, pyproject

PACKAGE: Final = ROOT / "bloonio_chat"
MODULES: Final = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)

LONGEST_MODULE: Final = 350
# Why a module may be longer. An entry that is no longer needed has to go.
LONG_FOR_A_REASON: Final = {
    "sdk/operations.py": "the protocol's table of routes, one function each, best read in one place",
}

# Imported, and not declared, since what is declared can't be without it.
COMES_WITH: Final = {
    "anyio": "httpx2",
    "asgiref": "django",
    "certifi": "requests",
    "kombu": "celery",
    "markupsafe": "werkzeug",
    "pydantic_core": "pydantic",
    "tomli": "pytest",
    "typing_extensions": "pydantic",
}

SAY_NOTHING: Final = {"utils", "util", "helpers", "common", "base", "misc"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_conf_reads_the_settings() -> None:
    readers = {
        name_of(path)
        for path in MODULES
        if any(name == "django.conf" or name.startswith("django.conf.") for name in imports_of(path))
    }
    assert readers == {"conf.py"}


def test_every_module_has_a_name_that_says_something() -> None:
    assert [name_of(path) for path in MODULES if SAY_NOTHING & {*path.parent.parts, path.stem}] == []


def test_no_module_is_long_without_a_reason() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {name: count for name, count in lines.items() if count > LONGEST_MODULE}
    assert set(long) == set(LONG_FOR_A_REASON), f"over {LONGEST_MODULE} lines: {long}"


def test_every_module_says_what_it_is() -> None:
    assert [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


@pytest.mark.parametrize("name", bloonio_chat.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(bloonio_chat, name) is not None
    assert name in dir(bloonio_chat)


def test_the_public_names_are_what_type_checkers_see() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    [typing_only] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname for node in ast.walk(typing_only) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(bloonio_chat.__all__)


def test_importing_the_package_loads_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import bloonio_chat; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["bloonio_chat"]


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("bloonio_chat", ("async", "celery", "sandbox")),
        ("example_project", ("async", "celery", "sandbox", "demo")),
        ("tests", ("async", "celery", "sandbox", "demo", "test")),
    ],
)
def test_every_imported_distribution_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    project = pyproject()["project"]
    requirements = [
        *project["dependencies"],
        *(requirement for extra in extras for requirement in project["optional-dependencies"][extra]),
    ]
    declared = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements}
    distributions = importlib.metadata.packages_distributions()
    ours = {"bloonio_chat", "example_project", "tests", "benchmarks", "None"}
    undeclared = set()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for root in {name.partition(".")[0] for name in imports_of(path)} - sys.stdlib_module_names - ours:
            homes = {home.lower() for home in distributions.get(root, [])}
            # What is not installed here, or does not say what it holds, has the name of its import.
            homes |= {root.replace("_", "-"), COMES_WITH.get(root, root)}
            if not homes & declared:
                undeclared.add((path.relative_to(ROOT).as_posix(), root))
    assert undeclared == set()
