"""A sandbox relay and the example's site, one customer's story, and then both go on running.

``--once`` stops after the story, with exit status 0 only if every step of it happened.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

from bloonio_chat.sandbox import SandboxRelay

# Of a database that lives as long as the demo.
ADMIN = "demo"
_PATIENCE_SECONDS = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the story")
    arguments = parser.parse_args()
    # A service manager's way to stop it is to leave as little behind as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # The demo's own calls are no measure of what a minute may hold.
        with tempfile.TemporaryDirectory() as folder, SandboxRelay(rate_limit_per_min=None) as relay:
            application = _load_site(relay, Path(folder))
            with _serving(application) as address:
                relay.callback_base_url = address
                print(f"Sandbox relay: {relay.base_url}/\nSite:          {address}/", flush=True)
                happened = _tell(relay)
                if not arguments.once:
                    print(f"\nBoth go on running; Ctrl-C stops them.\n  site   {address}/\n  relay  {relay.base_url}/")
                    print(f"  admin  {address}/admin/  (user {ADMIN}, password {ADMIN})")
                    sys.stdout.flush()
                    threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    return 0 if happened else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _load_site(relay: SandboxRelay, folder: Path) -> Callable[..., Any]:
    os.environ.update(
        DJANGO_SETTINGS_MODULE="example_project.settings",
        EXAMPLE_DATABASE=str(folder / "example.sqlite3"),
        BLOONIO_CHAT_BASE_URL=relay.base_url,
        BLOONIO_CHAT_TENANT_ID=relay.tenant_id,
        BLOONIO_CHAT_TENANT_SECRET=relay.tenant_secret,
    )
    # Only now: loading the project reads its settings, and those come from the environment.
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command

    from example_project.wsgi import application

    call_command("migrate", verbosity=0)
    _make_admin()
    return StaticFilesHandler(application)


def _make_admin() -> None:
    from django.contrib.auth.models import User

    User.objects.create_superuser(ADMIN, password=ADMIN)


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def _serving(application: Callable[..., Any]) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, name="site")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        _finish_what_was_taken_in()


def _finish_what_was_taken_in() -> None:
    from bloonio_chat.inbox import handover

    # Before its database goes away, and the relay that the mirror asks.
    handover.join(_PATIENCE_SECONDS)


def _tell(relay: SandboxRelay) -> bool:
    from bloonio_chat import ChatRelayError, get_chat_client
    from example_project.story import Story, StoryError

    try:
        happened = Story(relay, get_chat_client()).tell()
    except (ChatRelayError, StoryError, TimeoutError) as error:
        print(f"   FAILED: {error}")
        happened = False
    print(
        f"\n{'Every step of the story happened.' if happened else 'The story did NOT happen as it should.'}", flush=True
    )
    return happened


if __name__ == "__main__":
    sys.exit(main())
