"""What the documents say is so: tables equal the code, links lead somewhere, commands and names exist."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import get_commands
from django.dispatch import Signal

from bloonio_chat import WebhookEvent, conf, signals
from bloonio_chat.sdk import errors, operations
from bloonio_chat.sdk.client import ChatRelayClient
from bloonio_chat.sdk.settings import ENVIRONMENT_PREFIX, ChatRelaySettings
from tests.packaging.documents import (
    README,
    ROOT,
    Block,
    anchors,
    blocks,
    code_spans,
    documents,
    links,
    pyproject,
    table,
)

DOCUMENTS: Final = documents()
CONSOLE_BLOCKS: Final = [block for document in DOCUMENTS for block in blocks(document, "console")]
PYTHON_BLOCKS: Final = [block for document in DOCUMENTS for block in blocks(document, "python")]

# Modules of the project that the documents build, not of this one.
THE_READERS: Final = {"shop", "support"}


def in_first_column(heading: str, document: Path = README) -> list[str]:
    return [code_spans(next(iter(row.values())))[0] for row in table(document, heading)]


# ---- tables ----------------------------------------------------------------------------------------------------


def test_the_settings_table_has_every_setting_and_its_default() -> None:
    said = {code_spans(row["setting"])[0]: row["default"] for row in table(README, "Settings")}
    assert set(said) == conf.KNOWN_SETTINGS
    fields = {**ChatRelaySettings.model_fields, **conf.AppSettings.model_fields}
    for name, field in fields.items():
        default = said[ENVIRONMENT_PREFIX + name.upper()]
        if field.is_required():
            assert default == "required", name
            continue
        value = ast.literal_eval(code_spans(default)[0])
        real = field.get_default(call_default_factory=True, validated_data={})
        assert value == (list(real) if isinstance(real, tuple) else real), name


def test_the_settings_page_names_no_other_setting() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert set(re.findall(rf"\b{ENVIRONMENT_PREFIX}[A-Z]\w*", text)) <= conf.KNOWN_SETTINGS


def test_the_signals_table_has_every_signal() -> None:
    said = in_first_column("Signals")
    assert sorted(said) == sorted(name for name, value in vars(signals).items() if isinstance(value, Signal))


def test_the_signals_table_names_fields_of_events() -> None:
    for row in table(README, "Signals"):
        if row["signal"] not in ("`callback_rejected`", "`delivery_failed`"):
            assert {*code_spans(row["`event` has"])} <= {*WebhookEvent.model_fields}, row["signal"]


def test_the_checks_table_has_every_id() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "bloonio_chat").rglob("checks.py"))]
    raised = {
        str(keyword.value.value)
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "id" and isinstance(keyword.value, ast.Constant)
    }
    assert sorted(in_first_column("System checks")) == sorted(raised)
    described = [name for source in sources for name in re.findall(r"^([EW]\d{3})  ", source, re.MULTILINE)]
    assert sorted(f"bloonio_chat.{name}" for name in described) == sorted(raised), "the docstrings of checks.py"


def test_the_methods_table_has_every_method_and_argument() -> None:
    page = ROOT / "docs/client.md"
    said = {}
    for row in table(page, "Methods"):
        call = ast.parse(code_spans(row["method"])[0].replace("=,", "=...,").replace("=)", "=...)"), mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        names = [*(ast.unparse(argument) for argument in call.args), *(str(k.arg) for k in call.keywords)]
        said[call.func.id] = (names, [ast.unparse(k.value) for k in call.keywords], row["repeated"] == "yes")
    for name, (arguments, defaults, repeated) in said.items():
        method = inspect.unwrap(getattr(operations, name, None) or getattr(ChatRelayClient, name))
        parameters = [p for p in inspect.signature(method).parameters.values() if p.name != "self"]
        assert arguments == [p.name for p in parameters], name
        real = [p.default for p in parameters if p.kind is p.KEYWORD_ONLY]
        for text, default in zip(defaults, real, strict=True):
            assert (... if default is inspect.Parameter.empty else default) == ast.literal_eval(text), name
        if hasattr(operations, name):
            samples = {p.name: SAMPLES.get(p.name, "x") for p in parameters if p.default is p.empty}
            assert getattr(operations, name)(**samples).repeatable is repeated, name
    public = {name for name in vars(ChatRelayClient) if not name.startswith("_")} - {"call", "close"}
    assert set(said) == public


SAMPLES: Final = {"visitor_email_hash": f"sha256:{'0' * 64}"}


def test_the_errors_table_has_every_error_of_a_call() -> None:
    real = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ChatRelayError)
    }
    said = set(in_first_column("Errors", ROOT / "docs/client.md"))
    assert said == real - {"ChatRelayError", "SignatureError", "EventError"}


def test_the_reasons_table_has_every_reason() -> None:
    text = (ROOT / "docs/callbacks.md").read_text(encoding="utf-8")
    rows = text.partition("| `reason` |")[2].partition("\n\n")[0].splitlines()[2:]
    said = {name for row in rows for name in code_spans(row.split("|")[1])}
    real = set()
    for path in ("callbacks/views.py", "sdk/receive.py", "sdk/signing.py", "sdk/events.py"):
        for node in ast.walk(ast.parse((ROOT / "bloonio_chat" / path).read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"CallbackRejected", "SignatureError", "EventError"}
                and isinstance(node.args[0], ast.Constant)
            ):
                real.add(node.args[0].value)
    assert said == real


# ---- links, versions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    dead = []
    for line, link in links(document):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{document.name}:{line} {link}")
    assert dead == []


def test_the_changelog_has_the_version() -> None:
    version = pyproject()["project"]["version"]
    first, *_ = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    # What is not released yet stands under a heading without a number.
    assert first == ("Unreleased" if re.search(r"dev|a|b|rc", version) else version)


def test_the_readme_names_what_is_supported() -> None:
    classifiers = pyproject()["project"]["classifiers"]
    text = README.read_text(encoding="utf-8")
    pythons = [c.rpartition(" ")[2] for c in classifiers if re.search(r"Python :: 3\.\d+$", c)]
    djangos = [c.rpartition(" ")[2] for c in classifiers if re.search(r"Django :: \d", c)]
    assert f"Python {pythons[0]} to {pythons[-1]} and Django {', '.join(djangos[:-1])} or {djangos[-1]}" in text


def test_the_matrix_covers_what_is_supported() -> None:
    classifiers = pyproject()["project"]["classifiers"]
    matrix = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    for classifier in classifiers:
        number = re.search(r":: (\d\.\d+)$", classifier)
        if number is not None:
            assert f'"{number[1]}"' in matrix, classifier


# ---- commands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", CONSOLE_BLOCKS, ids=str)
def test_every_command_exists(block: Block) -> None:
    assert block.commands, "a console block shows a command, after a dollar sign"
    for command, _ in block.commands:
        for part in re.split(r" (?:&&|\|) ", command):
            check_command(shlex.split(part, comments=True))


def check_command(words: list[str]) -> None:
    if words[0].startswith(".venv/bin/"):
        words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    project = pyproject()["project"]
    extras = "|".join(project["optional-dependencies"])
    match words:
        case ["export", assignment]:
            assert assignment.partition("=")[0] in conf.KNOWN_SETTINGS
        case ["pip", "install", *what]:
            for requirement in what:
                assert re.fullmatch(rf"(-e|(\.|{project['name']})(\[({extras})(,({extras}))*\])?)", requirement)
        case ["./run", name, *_]:
            assert f"\n{name})\n" in (ROOT / "run").read_text(encoding="utf-8")
        case [".ci/run"]:
            pass  # not in the source distribution
        case ["nox", *options]:
            for name in (option for option in options if not option.startswith("-")):
                assert f"def {name}(" in (ROOT / "noxfile.py").read_text(encoding="utf-8")
        case ["python", "manage.py", name, *_]:
            assert name in get_commands()
        case ["python", "-m", name, *_]:
            assert importlib.util.find_spec(name) is not None or name == "pip"
        case [tool, *_]:
            scripts = {"curl", "django-admin", "git", "lint-imports", "mypy", "pytest", "ruff"}
            assert tool in scripts, f"what is {tool}?"


# ---- code ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=str)
def test_every_piece_of_code_compiles_and_its_imports_resolve(block: Block) -> None:
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                check_import(alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                check_import(str(node.module), alias.name)


def check_import(module: str, name: str | None) -> None:
    if module.partition(".")[0] in THE_READERS:
        return
    if "sandbox" in module:
        pytest.importorskip("werkzeug")
    if name is not None and name.startswith(("Async", "get_async")):
        pytest.importorskip("httpx2")
    found: Any = importlib.import_module(module)
    if name is not None and not hasattr(found, name):
        importlib.import_module(f"{module}.{name}")
