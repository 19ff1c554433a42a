"""What importing costs and needs: nothing for the package, no Django for the SDK, and an extra for its async half."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bloonio_chat
from tests.sdk.samples import TICKET
from tests.sdk.scripted_server import ScriptedServer, answers_json
from tests.secrets import SECRET, TENANT_ID

ROOT = Path(__file__).parents[2]

# Put first in a program: then nothing of that name can be imported, nor is anything of it there already.
WITHOUT = """
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {names!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Missing())
"""


def run(program: str, *, without: tuple[str, ...] = (), base_url: str | None = None) -> str:
    before = textwrap.dedent(WITHOUT.format(names=without)) if without else ""
    environment = {"PYTHONPATH": str(ROOT), "BLOONIO_CHAT_TENANT_ID": TENANT_ID, "BLOONIO_CHAT_TENANT_SECRET": SECRET}
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + textwrap.dedent(program)],
        env=environment if base_url is None else {**environment, "BLOONIO_CHAT_BASE_URL": base_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout.strip()


def test_importing_the_package_loads_nothing() -> None:
    loaded = run("import sys, bloonio_chat; print(*sorted({name.partition('.')[0] for name in sys.modules}))").split()
    assert "bloonio_chat" in loaded
    assert not {"django", "requests", "urllib3", "pydantic", "pydantic_core", "httpx2", "anyio", "asyncio"} & {*loaded}


def test_every_public_name_can_be_imported() -> None:
    shown = run(
        """
        import os
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import bloonio_chat
        for name in bloonio_chat.__all__:
            scope = {}
            exec(f"from bloonio_chat import {name}", scope)
            assert scope[name] is getattr(bloonio_chat, name)
            assert name in dir(bloonio_chat)
        exec("from bloonio_chat import *")
        print(len(bloonio_chat.__all__))
        """
    )
    assert shown == str(len(bloonio_chat.__all__))
    assert len(bloonio_chat.__all__) == len(set(bloonio_chat.__all__))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        bloonio_chat.nonsense  # noqa: B018  # asked for, not used


@pytest.mark.parametrize("without", [("django", "asgiref"), ("django", "asgiref", "httpx2", "anyio")])
def test_the_client_works_without_django_from_the_environment_alone(
    server: ScriptedServer, without: tuple[str, ...]
) -> None:
    server.otherwise = answers_json(TICKET)
    shown = run(
        """
        from bloonio_chat import ChatRelayClient
        with ChatRelayClient() as client:
            print(client.fetch_ticket("t1").ticket_number)
        assert not [name for name in sys.modules if name.startswith("django")]
        """,
        without=without,
        base_url=server.url,
    )
    assert shown == "LOK-000123"
    assert server.requests[0].header("X-Bloonio-Tenant-Id") == TENANT_ID


def test_the_async_client_works_without_django_and_without_requests(server: ScriptedServer) -> None:
    server.otherwise = answers_json(TICKET)
    shown = run(
        """
        import asyncio
        from bloonio_chat import AsyncChatRelayClient
        async def main():
            async with AsyncChatRelayClient() as client:
                print((await client.fetch_ticket("t1")).ticket_number)
        asyncio.run(main())
        """,
        without=("django", "requests"),
        base_url=server.url,
    )
    assert shown == "LOK-000123"


@pytest.mark.parametrize("missing", ["httpx2", "anyio"])
def test_without_its_extra_the_async_client_says_the_line_to_type(missing: str) -> None:
    shown = run(
        """
        import bloonio_chat
        try:
            bloonio_chat.AsyncChatRelayClient
        except ImportError as error:
            print(error, error.name, error.__cause__, error.__suppress_context__)
        """,
        without=(missing,),
    )
    line = 'AsyncChatRelayClient needs the extra "async": pip install "django-bloonio-chat[async]"'
    assert shown == f"{line} {missing} None True"


def test_a_missing_setting_is_named_when_a_client_is_made() -> None:
    shown = run(
        """
        from bloonio_chat import ChatRelayClient, ChatRelayError
        try:
            ChatRelayClient()
        except ChatRelayError as error:
            print(type(error).__name__, error)
        """
    )
    assert shown == "ChatRelayConfigurationError BLOONIO_CHAT_BASE_URL is missing."
