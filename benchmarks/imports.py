"""What it costs to have the package imported, and to use it for the first time: whole processes of the interpreter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.project import SECRET, TENANT_ID
from benchmarks.rounds import Contender, Race, seconds_each

_FIRST_USE = f"""
from bloonio_chat import ChatRelayClient, ChatRelaySettings
ChatRelayClient(ChatRelaySettings(base_url="http://x", tenant_id="{TENANT_ID}", tenant_secret="{SECRET.decode()}"))
"""


def races() -> Iterator[Race]:
    """Yield what is to be compared."""
    yield Race(
        "A process of the interpreter that imports",
        [
            Contender("nothing: python -c pass", _slice_of("pass")),
            Contender("bloonio_chat", _slice_of("import bloonio_chat")),
            Contender("requests and pydantic-settings", _slice_of("import requests, pydantic_settings")),
            Contender("bloonio_chat, and makes a ChatRelayClient", _slice_of(_FIRST_USE)),
        ],
        turns=3,
    )


def _slice_of(program: str) -> Callable[[], float]:
    def run(_: object) -> None:
        # From the project's root, where the interpreter finds the package without its being installed.
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)

    return lambda: seconds_each(run, [None])
