"""The Python in the documents is run: against a sandbox relay, in a project that has the app.

The README's integration is followed in a project of its own by ``test_installed``, too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.http import HttpRequest
from django.test import Client

from bloonio_chat import conf, get_chat_client
from bloonio_chat.sandbox import SandboxRelay
from tests.packaging.documents import ROOT, Block, blocks

DOCUMENTS: Final = ("README.md", "docs/settings.md", "docs/client.md", "docs/callbacks.md", "docs/security.md")
BLOCKS: Final = [block for name in DOCUMENTS for block in blocks(ROOT / name, "python")]

# Modules of a whole project, which test_installed builds.
ONLY_IN_A_PROJECT: Final = {"support/apps.py", "support/tests.py", "shop/urls.py"}

Names = dict[str, Any]


@pytest.fixture
def relay(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxRelay]:
    """Run a sandbox that the project's settings and the environment lead to."""
    with SandboxRelay(callback_base_url=live_server.url) as relay:
        for name, value in (
            ("BASE_URL", relay.base_url),
            ("TENANT_ID", relay.tenant_id),
            ("TENANT_SECRET", relay.tenant_secret),
        ):
            setattr(settings, f"BLOONIO_CHAT_{name}", value)
            monkeypatch.setenv(f"BLOONIO_CHAT_{name}", value)
        yield relay


def in_a_loop(view: Callable[..., Any]) -> Any:
    """Run an asynchronous view, and close what a lasting loop would keep."""

    async def run() -> Any:
        from bloonio_chat import get_async_chat_client

        try:
            return await view(HttpRequest())
        finally:
            await get_async_chat_client().aclose()

    return asyncio.run(run())


# What to do with what a block defines, by its name, so that it runs.


def write_to_us(relay: SandboxRelay, names: Names) -> None:
    relay.say(relay.open_conversation("user-123").id, "Where is my order?")


def open_a_ticket(relay: SandboxRelay, names: Names) -> None:
    relay.escalate(relay.open_conversation("user-123").id)


def post_unsigned(relay: SandboxRelay, names: Names) -> None:
    Client().post("/api/v1/chat-callbacks/message-received", b"{}", content_type="application/json")


def list_open_tickets(relay: SandboxRelay, names: Names) -> None:
    open_a_ticket(relay, names)
    assert len(in_a_loop(names["open_tickets"])) == 1


def start_a_conversation(relay: SandboxRelay, names: Names) -> None:
    assert in_a_loop(names["start"]).status_code == 200
    assert len(relay.conversations) == 1


def lose_an_answer(relay: SandboxRelay, names: Names) -> None:
    conversation = get_chat_client().create_conversation(visitor_user_id="user-123")
    relay.faults.calls.set("drop_after", only="send_message")
    assert names["send_once"](conversation.id, "Where is my order?") is True
    relay.faults.calls.set("drop_before", only="send_message")
    assert names["send_once"](conversation.id, "Hello?") is False
    assert [message.content for message in relay.messages if message.role == "visitor"] == ["Where is my order?"]


USES: Final[dict[str, tuple[Callable[[SandboxRelay, Names], None], str]]] = {
    "read": (write_to_us, r"user-123 writes: Where is my order\?\n"),
    "acknowledge": (write_to_us, r"visitor Where is my order\?\n"),
    "tell_the_team": (open_a_ticket, r"Ticket \S+ is waiting\n"),
    "count": (post_unsigned, r"refused message-received from 127\.0\.0\.1: 401 header_missing\n"),
    "open_tickets": (list_open_tickets, ""),
    "start": (start_a_conversation, ""),
    "send_once": (lose_an_answer, ""),
}
# What blocks print by themselves, by what is in them.
PRINTED: Final = {"print(client)": r"<ChatRelayClient of tenant \S+ at \S+>\n"}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.file is None or b.file[0] not in ONLY_IN_A_PROJECT], ids=str)
def test_it_runs(block: Block, relay: SandboxRelay, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names: Names = {"__name__": "support.receivers", "INSTALLED_APPS": []}
    exec(compile(block.text, str(block), "exec"), names)  # noqa: S102  # it is this project's own
    printed = "".join(pattern for part, pattern in PRINTED.items() if part in block.text)
    for name, (use, prints) in USES.items():
        if name in names:
            use(relay, names)
            printed += prints
    relay.wait()
    assert re.fullmatch(printed, capsys.readouterr().out)
    assert {callback.outcome for callback in relay.callbacks} <= {"delivered"}

    said = {name: value for name, value in names.items() if name.startswith("BLOONIO_CHAT_")}
    assert set(said) <= conf.KNOWN_SETTINGS
    for name, value in said.items():
        setattr(settings, name, value)
    assert conf.get_config().tenants


def test_every_function_that_is_shown_is_used() -> None:
    defined = {name for block in BLOCKS if block.file is None for name in re.findall(r"\bdef (\w+)", block.text)}
    assert defined - {"main"} <= set(USES), "add what to do with it"
