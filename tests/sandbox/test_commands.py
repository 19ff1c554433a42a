"""``python -m bloonio_chat.sandbox`` and ``manage.py bloonio_sandbox``, as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.management import CommandError, call_command

from bloonio_chat.sandbox import cli
from tests.sandbox.wire import API, raw, sign

ROOT = Path(__file__).resolve().parents[2]
MODULE = [sys.executable, "-W", "error", "-m", "bloonio_chat.sandbox"]
COMMAND = [sys.executable, "-W", "error", "-m", "django", "bloonio_sandbox", "--settings=tests.settings", "--force"]


@contextmanager
def _started(command: list[str], **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command until its settings are printed; yield them by name."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _printed(process)
    finally:
        process.kill()
        process.communicate()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLOONIO_CHAT_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _printed(process: subprocess.Popen[str]) -> dict[str, str]:
    printed: dict[str, str] = {}
    assert process.stdout is not None
    lines: IO[str] = process.stdout
    while "BLOONIO_CHAT_TENANT_SECRET" not in printed:
        line = lines.readline()
        assert line, process.stderr.read() if process.stderr else ""
        if found := re.fullmatch(r'(BLOONIO_CHAT_\w+) = "(.+)"\n', line):
            printed[found[1]] = found[2]
    return printed


def _asks_for_info(settings: dict[str, str]) -> int:
    import time

    timestamp = str(int(time.time() * 1000))
    headers = {
        "X-Bloonio-Tenant-Id": settings["BLOONIO_CHAT_TENANT_ID"],
        "X-Bloonio-Timestamp": timestamp,
        "X-Bloonio-Signature": sign(settings["BLOONIO_CHAT_TENANT_SECRET"], timestamp, b""),
    }
    return raw(settings["BLOONIO_CHAT_BASE_URL"], "GET", f"{API}/fetch/tenant-info", b"", headers).status


@pytest.mark.parametrize("command", [MODULE, COMMAND], ids=["module", "manage"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_settings_that_work_and_stops_when_told(command: list[str], number: signal.Signals) -> None:
    with _started([*command, "--port", "0"]) as (process, settings):
        assert settings["BLOONIO_CHAT_TENANT_SECRET"].startswith("sk_sandbox_")
        assert _asks_for_info(settings) == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("Stopped.\n")
    with pytest.raises(ConnectionRefusedError):
        _asks_for_info(settings)


def test_the_options_are_taken() -> None:
    tenant_id = "01900000-0000-7000-8000-00000000000a"
    options = [
        "--port=0",
        f"--tenant-id={tenant_id}",
        "--tenant-secret=sk_sandbox_mine",
        "--fault",
        "calls.server_error=1x",
    ]
    with _started([*MODULE, *options, "--rate-limit=1"]) as (_, settings):
        assert settings["BLOONIO_CHAT_TENANT_ID"] == tenant_id
        assert settings["BLOONIO_CHAT_TENANT_SECRET"] == "sk_sandbox_mine"
        assert [_asks_for_info(settings) for _ in range(2)] == [503, 429]


def test_the_tenant_of_the_environment_is_taken_if_it_is_a_sandbox_s() -> None:
    tenant = {
        "BLOONIO_CHAT_TENANT_ID": "01900000-0000-7000-8000-00000000000b",
        "BLOONIO_CHAT_TENANT_SECRET": "sk_sandbox_kept",
    }
    with _started([*MODULE, "--port=0"], **tenant) as (_, settings):
        assert settings.items() >= tenant.items()


def test_a_real_tenant_of_the_environment_is_left_alone() -> None:
    tenant_id = "01900000-0000-7000-8000-00000000000c"
    real = {"BLOONIO_CHAT_TENANT_ID": tenant_id, "BLOONIO_CHAT_TENANT_SECRET": "sk_live_1"}
    with _started([*MODULE, "--port=0"], **real) as (_, settings):
        assert settings["BLOONIO_CHAT_TENANT_ID"] != tenant_id
        assert settings["BLOONIO_CHAT_TENANT_SECRET"].startswith("sk_sandbox_")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "nothing=1"], "There is no fault 'nothing'"),
        (["--tenant-secret", "sk_live_1"], "begins with sk_sandbox_"),
        (["--tenant-id", "shop"], "not a UUID"),
        (["--rate-limit", "-1"], "rate limit"),
    ],
)
def test_an_option_that_is_wrong_is_said_in_one_line(options: list[str], said: str) -> None:
    done = subprocess.run(
        [*MODULE, "--port=0", *options], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "sk_live_1" not in done.stderr


def test_a_port_that_is_taken_is_said_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [*MODULE, f"--port={port}"]
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"Port {port} is taken: choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_refuses_outside_debug() -> None:
    with pytest.raises(CommandError, match="DEBUG is off"):
        call_command("bloonio_sandbox", port=0)


def test_the_command_runs_with_debug(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(cli, "run", lambda options, write: ran.append(options["port"]))
    settings.DEBUG = True
    call_command("bloonio_sandbox", port=0)
    assert ran == [0]


@pytest.mark.parametrize("command", [MODULE, COMMAND], ids=["module", "manage"])
def test_a_missing_werkzeug_gives_the_line_to_type(command: list[str], tmp_path: Path) -> None:
    # What stands first on the path is found first: a werkzeug that can't be imported.
    (tmp_path / "werkzeug.py").write_text("raise ImportError('No module named werkzeug', name='werkzeug')\n")
    environment = {**_environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [*command, "--port=0"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'pip install "django-bloonio-chat[sandbox]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_no_secret_of_the_environment() -> None:
    environment = {**_environment(), "BLOONIO_CHAT_TENANT_SECRET": "sk_sandbox_kept"}
    done = subprocess.run([*MODULE, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "--tenant-secret" in done.stdout
    assert "sk_sandbox_kept" not in done.stdout
