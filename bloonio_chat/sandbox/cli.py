"""The sandbox on the command line: ``python -m bloonio_chat.sandbox``, and ``manage.py bloonio_sandbox``."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bloonio_chat.sandbox.relay import SandboxRelay

DEFAULT_PORT: Final = 8765
# Those that take one thing each, and what they are called as keywords of SandboxRelay.
_PASSED_ON: Final = ("port", "callback_base_url", "tenant_id", "tenant_secret", "seed", "mode", "agent_body")


def add_arguments(parser: argparse.ArgumentParser, known: Mapping[str, str] | None = None) -> None:
    """Add the sandbox's options.

    The tenant is that of ``known``, settings by their full names, or of the environment, if it is a sandbox's.
    """
    default = _from_environment(os.environ if known is None else known)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--callback-base-url",
        metavar="URL",
        default=default.get("callback_base_url"),
        help="where your project listens, such as http://127.0.0.1:8000; without it no callbacks are sent",
    )
    parser.add_argument("--tenant-id", metavar="UUID", default=default.get("tenant_id"), help="made up by default")
    # No default shown: help texts end up in logs.
    parser.add_argument("--tenant-secret", metavar="SECRET", default=default.get("tenant_secret"), help="sk_sandbox_…")
    parser.add_argument("--seed", type=int, help="repeats a run: its ids and which faults strike")
    parser.add_argument("--mode", choices=("bot", "human"), default="bot", help="who answers first")
    parser.add_argument(
        "--agent-body", choices=("takeover", "envelope"), default="takeover", help="body of the agent_* callbacks"
    )
    parser.add_argument(
        "--rate-limit", type=int, default=60, metavar="N", help="calls per minute, 0: no limit (default: %(default)s)"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=PROBABILITY",
        help="such as callbacks.duplicate=0.1, calls.slow=0.5:3 (of 3 s) or drop_after=2x (twice); may be repeated",
    )


def run(options: Mapping[str, Any], write: Callable[[str], Any]) -> None:
    """Run a sandbox until SIGINT or SIGTERM; ``write`` prints one line.

    Raises ``ImportError`` where the extra is missing, ``ValueError`` for an option that is wrong, ``OSError`` for a
    port that is taken.
    """
    from bloonio_chat.sandbox.relay import SandboxRelay

    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    # Set before anything is printed: who reads the settings may stop us at once.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        kept = {name: options[name] for name in _PASSED_ON}
        with SandboxRelay(**kept, rate_limit_per_min=options["rate_limit"] or None) as relay:
            for fault in options["fault"]:
                relay.faults.set_from_text(fault)
            for line in settings_of(relay):
                write(line)
            stopped.wait()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {options['port']} is taken: choose another with --port; 0 takes a free one."
            raise OSError(problem) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    write("Stopped.")


def settings_of(relay: SandboxRelay) -> list[str]:
    """Return the lines to show for a relay that runs: where it is, and the settings to paste."""
    lines = [
        f"Sandbox relay at {relay.base_url} — open it in a browser to see and play what happens.",
        f"Seed {relay.seed} repeats this run. Ctrl-C stops it.",
        "",
        "# Paste into settings.py:",
        f'BLOONIO_CHAT_BASE_URL = "{relay.base_url}"',
        f'BLOONIO_CHAT_TENANT_ID = "{relay.tenant_id}"',
        f'BLOONIO_CHAT_TENANT_SECRET = "{relay.tenant_secret}"',
    ]
    if relay.callback_base_url is None:
        return [*lines, "", "No callbacks are sent: start with --callback-base-url http://127.0.0.1:8000 to get them."]
    return [*lines, f'BLOONIO_CHAT_CALLBACK_BASE_URL = "{relay.callback_base_url}"']


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the tenant that the environment names, so that settings stay the same from run to run."""
    names = ("tenant_id", "tenant_secret", "callback_base_url")
    found = {name: environment.get(f"BLOONIO_CHAT_{name.upper()}", "") for name in names}
    if not found["tenant_secret"].startswith("sk_sandbox_"):
        # Another relay's tenant is none of ours.
        return {}
    return {name: value for name, value in found.items() if value}
