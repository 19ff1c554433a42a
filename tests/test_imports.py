"""What importing the package costs: nothing that was not asked for, and never the network or a database."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import bloonio_chat
from bloonio_chat import sdk

ROOT = Path(__file__).parents[1]
SDK_MODULES = sorted(f"bloonio_chat.sdk.{module.name}" for module in pkgutil.iter_modules(sdk.__path__))
# They have tests of their own, with the extras that they need.
OPTIONAL_ROOMS = ("inbox", "mirror", "api", "adapters", "sandbox", "testing")
HEAVY = ("django", "pydantic", "requests", "httpx2", "celery", "rest_framework", "asyncio")


def run(code: str) -> str:
    """Run Python in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_itself_loads_nothing() -> None:
    loaded = run("import sys, bloonio_chat; print(*sorted({name.partition('.')[0] for name in sys.modules}))").split()
    assert "bloonio_chat" in loaded
    assert set(HEAVY).isdisjoint(loaded)


def test_the_sdk_needs_no_django() -> None:
    assert len(SDK_MODULES) >= 14
    run(
        "import sys, importlib\n"
        "for name in ('django', 'celery', 'rest_framework'): sys.modules[name] = None\n"
        f"for name in {SDK_MODULES!r}: importlib.import_module(name)\n"
    )


@pytest.mark.parametrize(("library", "user"), [("requests", "client"), ("httpx2", "async_client")])
def test_within_the_sdk_each_http_library_has_one_user(library: str, user: str) -> None:
    others = [name for name in SDK_MODULES if name != f"bloonio_chat.sdk.{user}"]
    run(
        f"import sys, importlib\nsys.modules[{library!r}] = None\n"
        f"for name in {others!r}: importlib.import_module(name)\n"
    )
    assert "ImportError" in run(
        f"import sys\nsys.modules[{library!r}] = None\n"
        f"try: import bloonio_chat.sdk.{user}\nexcept ImportError as error: print('ImportError', error)"
    )


def test_without_the_extra_the_asynchronous_client_names_the_line_to_install_it() -> None:
    said = run(
        "import sys\nsys.modules['httpx2'] = None\nimport bloonio_chat\n"
        "try: bloonio_chat.AsyncChatRelayClient\nexcept ImportError as error: print(error)"
    )
    assert 'pip install "django-bloonio-chat[async]"' in said


def test_receiving_needs_neither_django_nor_an_http_library() -> None:
    run(
        "import sys\nfor name in ('django', 'requests', 'httpx2', 'asgiref'): sys.modules[name] = None\n"
        "from bloonio_chat.sdk import receive, signing, events\n"
        "from bloonio_chat import WebhookEvent, WebhookEventType, ChatRelayError, ChatRelaySettings\n"
    )


def test_no_import_touches_the_network_or_a_database() -> None:
    touched = run(
        "import importlib, os, pkgutil, sys\n"
        "touched = []\n"
        "def audit(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'sqlite3.connect'):\n"
        "        touched.append(event)\n"
        "sys.addaudithook(audit)\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "import django, bloonio_chat\n"
        "django.setup()\n"
        "names = [m.name for m in pkgutil.walk_packages(bloonio_chat.__path__, 'bloonio_chat.')]\n"
        "for name in names:\n"
        f"    if name.split('.')[1] not in {OPTIONAL_ROOMS!r}: importlib.import_module(name)\n"
        "assert {'bloonio_chat.callbacks.views', 'bloonio_chat.sdk.client'} <= set(sys.modules)\n"
        "print(touched)\n"
    )
    assert touched == "[]"


def test_an_app_that_is_installed_without_settings_still_starts() -> None:
    run(
        "import django\nfrom django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['bloonio_chat'])\ndjango.setup()\n"
        "import bloonio_chat.urls, bloonio_chat.checks, bloonio_chat.clients, bloonio_chat.callbacks.views\n"
    )


@pytest.mark.parametrize("name", bloonio_chat.__all__)
def test_every_public_name_resolves_and_is_told(name: str) -> None:
    assert getattr(bloonio_chat, name) is not None
    assert name in dir(bloonio_chat)


def test_a_star_import_brings_the_public_names_and_no_others() -> None:
    namespace: dict[str, object] = {}
    exec("from bloonio_chat import *", namespace)  # noqa: S102  # a star import is for modules, and this is none
    assert set(namespace) - {"__builtins__"} == set(bloonio_chat.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'bloonio_chat' has no attribute 'nonsense'"):
        bloonio_chat.nonsense  # noqa: B018  # asked for, not used
