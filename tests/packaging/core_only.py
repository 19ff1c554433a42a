"""A pytest plugin for an environment without any extra: ``-p tests.packaging.core_only``.

It leaves out each module of tests, and each folder with a conftest.py, that imports, itself or through another module
of tests, what such an environment does not have. It fails a run that has an extra after all, or hardly a test left.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

EXTRAS: Final = frozenset({"celery", "httpx2", "werkzeug"})
# What is behind an extra without being named like it.
NEED_AN_EXTRA: Final = (
    "bloonio_chat.inbox.tasks",
    "bloonio_chat.mirror.tasks",
    "bloonio_chat.sandbox",
    "bloonio_chat.sdk.async_client",
    "example_project.demo",
)
# Tests that need an extra without importing one, by a part of their id, and why.
LEFT_OUT: Final = {
    "AsyncChatRelayClient]": "asks for the asynchronous client",
    "get_async_chat_client]": "asks for the asynchronous client",
    "tests/example/": "starts the demo, which runs the sandbox",
    "tests/test_imports.py::": "imports every module of the SDK in a process of its own",
    "test_e003_names_the_extra_of_an_installed_app": "installs the sandbox",
}
# What has to be tested even so.
NEEDED: Final = ("tests/callbacks/", "tests/inbox/", "tests/packaging/")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an environment that proves nothing."""
    there = sorted(name for name in EXTRAS if importlib.util.find_spec(name) is not None)
    if there:
        raise pytest.UsageError(f"This environment is not without extras: it has {', '.join(there)}.")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what can't be imported here."""
    module = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    return True if module.suffix == ".py" and module.is_file() and not can_be_imported(module) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is listed."""
    left_out = [item for item in items if any(part in item.nodeid for part in LEFT_OUT)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail a run that has left a whole room out."""
    if len(session.config.args) == 1 and session.config.args[0].endswith("tests"):
        missing = [room for room in NEEDED if not any(item.nodeid.startswith(room) for item in session.items)]
        if missing:
            raise pytest.UsageError(f"Without extras no test is left of {', '.join(missing)}.")


@functools.cache
def can_be_imported(module: Path) -> bool:
    """Return whether all that a module imports, anywhere in it, is there without extras."""
    for name in _imports(module):
        if name.startswith(NEED_AN_EXTRA):
            return False
        home = ROOT.joinpath(*name.split("."))
        if name.startswith("tests."):
            for file in (home.with_suffix(".py"), home / "__init__.py", home.parent.with_suffix(".py")):
                if file.is_file() and file != module and not can_be_imported(file):
                    return False
        elif not name.startswith("bloonio_chat") and not _is_there(name.partition(".")[0]):
            return False
    return True


def _imports(module: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@functools.cache
def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
