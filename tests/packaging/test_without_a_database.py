"""What works where no database can be reached: an image that is built, a worker that starts during an outage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.inbox.project.processes import free_port

CHECK = """
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="none",
    DEBUG=True,
    DATABASES={{
        "default": {{
            "ENGINE": "django.db.backends.postgresql", "NAME": "shop", "HOST": "127.0.0.1", "PORT": "{port}"
        }}
    }},
    INSTALLED_APPS=["bloonio_chat", "bloonio_chat.inbox", "bloonio_chat.mirror"],
    ROOT_URLCONF="bloonio_chat.urls",
    BLOONIO_CHAT_BASE_URL="https://relay.test",
    BLOONIO_CHAT_TENANT_ID="01900000-0000-7000-8000-00000000000a",
    BLOONIO_CHAT_TENANT_SECRET="sk_of_this_test",
)
django.setup()
call_command("check", fail_level="ERROR")
call_command("makemigrations", check_changes=True, dry_run=True)
"""


def test_checks_need_none(tmp_path: Path) -> None:
    # On MySQL Django's own checks ask the server, whatever is installed.
    pytest.importorskip("psycopg")
    command = [sys.executable, "-W", "ignore", "-c", CHECK.format(port=free_port())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No changes detected" in done.stdout


@pytest.mark.parametrize("room", ["inbox", "mirror"])
def test_a_room_without_the_app_says_so(room: str, tmp_path: Path) -> None:
    script = (
        "import django\n"
        "from django.conf import settings\n"
        f"settings.configure(SECRET_KEY='none', INSTALLED_APPS=['bloonio_chat.{room}'])\n"
        "django.setup()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f'"bloonio_chat.{room}" is in INSTALLED_APPS without "bloonio_chat": add that as well.' in done.stderr
