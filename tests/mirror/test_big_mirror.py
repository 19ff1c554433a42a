"""The benchmark of the admin runs, and wants the same queries at both sizes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests import services
from tests.packaging.documents import ROOT


@pytest.mark.timeout(300)
def test_the_benchmark_builds_and_measures() -> None:
    services.need("PostgreSQL", port=5432)
    arguments = ["--small", "220", "--conversations", "440", "--messages", "2", "--rounds", "1", "--turns", "1"]
    arguments += ["--only", "tickets,", "--name", f"mirror_test_{os.getpid()}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.big_mirror", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "440 conversations" in done.stdout
    assert "queries; " in done.stdout
    # Times of so little say nothing, but queries do.
    assert not re.search(r"\d+ and \d+ queries|: counts", done.stdout), done.stdout
