"""``docs/sandbox.md`` says what is so: its test runs, its tables are those of the code."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from bloonio_chat.sandbox import cli
from bloonio_chat.sandbox.faults import CALL_FAULTS, CALLBACK_FAULTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_its_test_passes(live_server: Any, settings: Any) -> None:
    block = next(each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "live_server" in each)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102  # our own page
    names["test_a_customer_is_helped"](live_server, settings)


def test_its_faults_are_all_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|", PAGE, re.MULTILINE)
    assert {name for name, calls, _ in rows if calls.strip()} == set(CALL_FAULTS)
    assert {name for name, _, callbacks in rows if callbacks.strip()} == set(CALLBACK_FAULTS)


def test_its_options_are_all_there_are() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    cli.add_arguments(parser)
    options = {action.option_strings[0] for action in parser._actions}
    assert set(re.findall(r"`(--[a-z-]+) [A-Z]", PAGE)) | set(re.findall(r"`(--[a-z-]+) \w+` or", PAGE)) == options
