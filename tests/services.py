"""Real services: used where they run, demanded where ``BLOONIO_CHAT_REQUIRE_SERVICES=1`` says so."""

from __future__ import annotations

import os
import socket
from typing import Final

import pytest

VARIABLE: Final = "BLOONIO_CHAT_REQUIRE_SERVICES"

# Read once, at import: the variable is hidden from the tests themselves, to which it would be an unknown setting.
REQUIRED: Final = os.environ.get(VARIABLE) == "1"


def need(name: str, *, port: int, host: str = "127.0.0.1") -> None:
    """Skip the test, loudly, if nothing listens there; fail it where services are demanded."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        missing(f"{name} does not answer at {host}:{port} ({error})")


def missing(reason: str) -> None:
    """Skip the test for that reason, or fail it where services are demanded."""
    if REQUIRED:
        pytest.fail(f"{reason}, and {VARIABLE}=1 demands it")
    pytest.skip(f"NOT TESTED: {reason}")
