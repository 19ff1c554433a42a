"""``python -m tests.mirror.screenshots``, from the project's root: makes the pictures of the admin in ``docs/``.

A project of its own on a temporary SQLite file, with sample data, served to headless Chromium (``--chromium``, else
what is found). Phones are shown in a frame of their width, since a window of Chromium can't be as narrow.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PHONE_WIDTH: Final = 390
# Name, path, width and height of the window, and whether it is dark. Keys are filled in.
PICTURES: Final = (
    ("inbox-admin-list", "/admin/bloonio_chat_inbox/inboxevent/", (1680, 700), False),
    ("inbox-admin-event", "/admin/bloonio_chat_inbox/inboxevent/{event}/change/", (1280, 1640), False),
    ("mirror-conversation", "/admin/bloonio_chat_mirror/conversation/{main}/change/", (1280, 1240), False),
    ("mirror-conversation-dark", "/admin/bloonio_chat_mirror/conversation/{main}/change/", (1280, 1240), True),
    ("mirror-conversation-phone", "/phone/bloonio_chat_mirror/conversation/{main}/change/", (PHONE_WIDTH, 1500), False),
    ("mirror-conversations", "/admin/bloonio_chat_mirror/conversation/", (1440, 900), False),
    ("mirror-tickets", "/admin/bloonio_chat_mirror/ticket/?queue=open&sla=", (1440, 900), False),
    ("mirror-ticket", "/admin/bloonio_chat_mirror/ticket/{ticket}/change/", (1280, 640), False),
    ("mirror-tickets-phone", "/phone/bloonio_chat_mirror/ticket/", (PHONE_WIDTH, 1100), False),
    ("mirror-overview", "/admin/bloonio_chat_mirror/conversation/overview/", (1280, 1080), False),
    ("mirror-overview-dark", "/admin/bloonio_chat_mirror/conversation/overview/", (1280, 1080), True),
    ("mirror-overview-phone", "/phone/bloonio_chat_mirror/conversation/overview/", (PHONE_WIDTH, 1700), False),
)


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def log_in(get_response: Any) -> Any:
    """Middleware: whoever comes is the administrator; there is nobody else."""

    def middleware(request: HttpRequest) -> Any:
        from django.contrib.auth import get_user_model

        request.user = get_user_model().objects.get(username="admin")
        return get_response(request)

    return middleware


def phone(request: HttpRequest, path: str) -> HttpResponse:
    """A page of the admin in a frame as wide as a phone."""
    frame = f'<iframe src="/admin/{path}" style="border:0;width:{PHONE_WIDTH}px;height:100vh"></iframe>'
    return HttpResponse(f'<!doctype html><body style="margin:0;background:#888">{frame}')


def configure(database: Path, language: str) -> None:
    settings.configure(
        SECRET_KEY="for-pictures-alone",
        DEBUG=True,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF="tests.mirror.screenshots_urls",
        LANGUAGE_CODE=language,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "bloonio_chat",
            "bloonio_chat.inbox",
            "bloonio_chat.mirror",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "tests.mirror.screenshots.log_in",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        STATIC_URL="/static/",
        USE_TZ=True,
        TIME_ZONE="Europe/Paris",
        BLOONIO_CHAT_BASE_URL="http://127.0.0.1:9",
        BLOONIO_CHAT_TENANT_ID="01900000-0000-7000-8000-000000000001",
        BLOONIO_CHAT_TENANT_SECRET="sk_for_pictures_alone",
        BLOONIO_CHAT_OPEN_IN_RELAY_URL="https://relay.example.com/c/{conversation_id}",
    )
    django.setup()


def serve() -> WSGIServer:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.handlers.wsgi import WSGIHandler

    server = make_server("127.0.0.1", 0, StaticFilesHandler(WSGIHandler()), handler_class=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def take(chromium: str, url: str, size: tuple[int, int], is_dark: bool, file: Path, profile: Path) -> None:
    subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            "--virtual-time-budget=5000",
            f"--blink-settings=preferredColorScheme={0 if is_dark else 1}",
            f"--screenshot={file}",
            url,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mirror.screenshots", description=__doc__)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--language", default="en")
    parser.add_argument("--folder", type=Path, default=DOCS)
    parser.add_argument("--only", help="the one picture to be made")
    options = parser.parse_args()
    if not options.chromium:
        parser.error("No Chromium was found: name one with --chromium.")
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder) / "pictures.sqlite3", options.language)
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        from bloonio_chat.mirror.times import aware_now
        from tests.inbox.samples import make_samples as make_events
        from tests.mirror.samples import make_samples

        call_command("migrate", verbosity=0)
        get_user_model().objects.create_superuser("admin", password="x")
        main_conversation = make_samples(aware_now())
        event = make_events(main_conversation.relay_id)
        keys = {"main": main_conversation.pk, "ticket": main_conversation.tickets.get().pk, "event": event.pk}
        server = serve()
        for name, path, size, is_dark in PICTURES:
            if options.only in (None, name):
                url = f"http://127.0.0.1:{server.server_port}{path.format(**keys)}"
                take(options.chromium, url, size, is_dark, options.folder / f"{name}.png", Path(folder) / "profile")
                sys.stderr.write(f"{name}\n")
        server.shutdown()


if __name__ == "__main__":
    main()
