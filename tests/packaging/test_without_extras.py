"""The app without any extra: all that is not asynchronous and not the sandbox works, and those two say what to install.

Tried in processes to which the extras are not there, whatever this environment has.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.packaging.documents import ROOT
from tests.packaging.environments import clean_environ

HIDE_EXTRAS: Final = """
import sys
for name in ("httpx2", "anyio", "werkzeug"):
    sys.modules[name] = None
"""

CONFIGURE: Final = """
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="x",
    ROOT_URLCONF="tests.urls",
    INSTALLED_APPS=["bloonio_chat"],
    BLOONIO_CHAT_BASE_URL="http://127.0.0.1:9",
    BLOONIO_CHAT_TENANT_ID="01900000-0000-7000-8000-000000000001",
    BLOONIO_CHAT_TENANT_SECRET="sk_only_here",
)
django.setup()
"""


def run(script: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", HIDE_EXTRAS + script], cwd=ROOT, env=clean_environ(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_client_is_there() -> None:
    script = """
from bloonio_chat import ChatRelayClient, ChatRelayError, ChatRelaySettings
settings = ChatRelaySettings(
    base_url="http://127.0.0.1:9", tenant_id="01900000-0000-7000-8000-000000000001", tenant_secret="sk_only_here"
)
try:
    ChatRelayClient(settings, sleep=lambda seconds: None).fetch_tenant_info()
except ChatRelayError as error:
    print(type(error).__name__)
"""
    assert run(script) == "ChatRelayConnectionError\n"


def test_the_checks_pass_and_a_callback_becomes_a_signal() -> None:
    script = """
from django.core.management import call_command
call_command("check", fail_level="ERROR")
import json, time
from django.test import Client
from bloonio_chat import signals
from bloonio_chat.sdk.signing import sign_headers
tenant = settings.BLOONIO_CHAT_TENANT_ID
body = json.dumps(
    {"event_type": "conversation_started", "tenant_id": tenant, "occurred_at": "2026-01-01T00:00:00Z"}
).encode()
signals.conversation_started.connect(lambda event, **_: print("heard", event.event_type), weak=False, dispatch_uid="x")
answer = Client().post(
    "/api/v1/chat-callbacks/conversation-started",
    body,
    content_type="application/json",
    headers=sign_headers(tenant, settings.BLOONIO_CHAT_TENANT_SECRET.encode(), int(time.time() * 1000), body),
)
print(answer.status_code)
"""
    assert run(CONFIGURE + script).splitlines()[-2:] == ["heard conversation_started", "200"]


@pytest.mark.parametrize(
    ("use", "extra"),
    [
        ("from bloonio_chat import AsyncChatRelayClient", "async"),
        ("from bloonio_chat import get_async_chat_client; get_async_chat_client()", "async"),
        ("from bloonio_chat.sandbox import SandboxRelay; SandboxRelay()", "sandbox"),
    ],
)
def test_what_needs_an_extra_gives_the_line_to_type(use: str, extra: str) -> None:
    script = f"""
try:
    {use}
except ImportError as error:
    print(error)
"""
    assert f'pip install "django-bloonio-chat[{extra}]"' in run(CONFIGURE + script)
