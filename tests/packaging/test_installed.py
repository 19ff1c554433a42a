"""The wheel in clean environments: the README's integration as it stands there, and the core without any extra."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, Final

import pytest

from tests.packaging.documents import README, ROOT, Block, blocks
from tests.packaging.environments import Environment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

INTEGRATION: Final = "Five minutes to the first signal"
TESTING: Final = "Testing your project"
# Those that run until they are stopped.
SERVERS: Final = ("bloonio_sandbox", "runserver")
PATIENCE_SECONDS: Final = 30


class Reader:
    """Does what the README says, in a directory of its own. Only ports differ: another program may have those."""

    def __init__(self, environment: Environment, wheel: Path) -> None:
        self.environment = environment
        self.wheel = wheel
        self.ports = {"8000": str(_free_port()), "8765": str(_free_port())}
        self.servers: list[tuple[subprocess.Popen[str], IO[str]]] = []

    def text_of(self, text: str) -> str:
        return re.sub("|".join(self.ports), lambda port: self.ports[port[0]], text)

    def write(self, block: Block) -> None:
        assert block.file is not None
        path, append = block.file
        target = self.environment.home / path
        before = target.read_text(encoding="utf-8") if append else ""
        target.write_text(f"{before}\n{self.text_of(block.text)}", encoding="utf-8")

    def type(self, command: str, prints: list[str]) -> None:
        command = self.text_of(command)
        if any(name in command for name in SERVERS):
            self.wait_for(self.start(command), [self.text_of(line) for line in prints])
            return
        # What is to be installed is what was built here.
        command = re.sub(r'"django-bloonio-chat(\[\w+\])?"', lambda match: f'"{self.wheel}{match[1] or ""}"', command)
        words = self.environment.run("sh", "-c", command)
        for line in prints:
            assert line in words

    def start(self, command: str) -> Path:
        """Start what runs on; the sandbox has to be told its port, which its reader leaves as it is."""
        if "bloonio_sandbox" in command:
            command += f" --port {self.ports['8765']}"
        if "runserver" in command:
            command += f" {self.ports['8000']}"
        path = self.environment.home / f"output-{len(self.servers)}"
        output = path.open("w")
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            cwd=self.environment.home,
            env=self.environment.environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            # runserver has a child that reloads it: both are stopped.
            start_new_session=True,
        )
        self.servers.append((process, output))
        return path

    def wait_for(self, path: Path, lines: list[str]) -> str:
        """Return a server's output once it has these lines, in which … stands for anything."""
        patterns = [re.escape(line).replace("…", r"\S+") for line in lines]
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            output = path.read_text(encoding="utf-8")
            missing = [pattern for pattern in patterns if not re.search(pattern, output)]
            if not missing:
                return output
            process = self.servers[-1][0]
            assert time.monotonic() < ends, f"not printed: {missing}\n{output}"
            assert process.poll() is None, output
            time.sleep(0.05)

    def stop(self) -> None:
        for process, output in self.servers:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=PATIENCE_SECONDS)
            output.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_readme_leads_to_a_signal(empty_environment: Environment, wheel: Path) -> None:
    python = [block for block in blocks(README, "python") if block.heading == INTEGRATION]
    console = [block for block in blocks(README, "console") if block.heading == INTEGRATION]
    install, sandbox, project = console
    reader = Reader(empty_environment, wheel)
    try:
        for command, prints in install.commands:
            reader.type(command, prints)
        for block in python:
            if block.file is not None:
                reader.write(block)
        [(command, prints)] = sandbox.commands
        reader.type(command, prints)
        pasted = re.findall(r"^BLOONIO_CHAT_.*$", (empty_environment.home / "output-0").read_text(), re.MULTILINE)
        with (empty_environment.home / "shop/settings.py").open("a") as settings:
            settings.write("\n".join(["", *pasted, ""]))
        [(command, prints)] = project.commands
        output = reader.start(reader.text_of(command))
        reader.wait_for(output, ["Quit the server with"])
        [typed] = [block for block in python if block.file is None]
        empty_environment.run("python", "manage.py", "shell", "--command", typed.text)
        reader.wait_for(output, prints)

        [test] = [block for block in blocks(README, "python") if block.heading == TESTING]
        reader.write(test)
        [its_command] = [block for block in blocks(README, "console") if block.heading == TESTING]
        for command, prints in its_command.commands:
            reader.type(command, prints)
        checked = empty_environment.run("python", "manage.py", "check")
        assert set(re.findall(r"bloonio_chat\.\w\d{3}", checked)) == {"bloonio_chat.W002"}, checked
    finally:
        reader.stop()


def test_the_core_needs_no_extra(core_environment: Environment) -> None:
    installed = core_environment.run("pip", "list", "--format=freeze").lower()
    assert "django-bloonio-chat==" in installed
    assert not re.search("^(httpx2?|werkzeug|celery|djangorestframework)==", installed, re.MULTILINE)
    core_environment.run("pip", "check")
    core_environment.run("python", "-c", "import bloonio_chat; bloonio_chat.ChatRelayClient")


def test_the_package_comes_from_the_wheel(core_environment: Environment) -> None:
    where = core_environment.run("python", "-c", "import bloonio_chat; print(bloonio_chat.__file__)")
    assert str(core_environment.venv) in where
    assert str(ROOT) not in where


def test_a_project_without_extras_passes_its_checks(core_environment: Environment) -> None:
    core_environment.run("django-admin", "startproject", "plain", ".")
    for block in blocks(README, "python"):
        if block.heading == INTEGRATION and block.file in {("shop/settings.py", True), ("shop/urls.py", True)}:
            path = core_environment.home / block.text.splitlines()[0].split()[1].rstrip(":").replace("shop/", "plain/")
            with path.open("a") as file:
                file.write(block.text.replace(', "support"', ""))
    environ = {
        "BLOONIO_CHAT_BASE_URL": "https://chat-relay.example.com",
        "BLOONIO_CHAT_TENANT_ID": "01900000-0000-7000-8000-000000000001",
        "BLOONIO_CHAT_TENANT_SECRET": "sk_only_for_this_test",
        "BLOONIO_CHAT_CALLBACK_BASE_URL": "https://shop.example.com",
    }
    core_environment.run("python", "manage.py", "check", "--fail-level", "ERROR", environ=environ)
    core_environment.run("python", "manage.py", "makemigrations", "--check", "--dry-run", environ=environ)
    without = core_environment.run("python", "manage.py", "check", fails=True)
    assert "bloonio_chat.E001" in without


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("python", "-c", "from bloonio_chat import AsyncChatRelayClient"), "async"),
        (("python", "-c", "from bloonio_chat.sandbox import SandboxRelay"), "sandbox"),
        (("python", "-m", "bloonio_chat.sandbox"), "sandbox"),
    ],
)
def test_what_needs_an_extra_gives_the_line_to_type(
    core_environment: Environment, command: tuple[str, ...], extra: str
) -> None:
    assert f'pip install "django-bloonio-chat[{extra}]"' in core_environment.run(*command, fails=True)
