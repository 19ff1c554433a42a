"""The peer: dj-stripe's webhook endpoint, which does the same work as ours: it verifies, parses and stores an event.

Its published package is installed here and nowhere else, into an environment in the scratch folder, beside the very
versions of Django, psycopg and gunicorn that this process has. Its events are of a type that has no handler, so nothing
asks Stripe for anything. No import but the standard library's: that environment has nothing else of ours.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import subprocess
import sys
import time
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.startproject import DATABASE_VARIABLE, HOST
from benchmarks.wrk import write_request

APPLICATION: Final = "benchmarks.stripe_site:application"
TABLES: Final = ("djstripe_event", "djstripe_webhookeventtrigger")
ENDPOINT_ID: Final = "0193a1f0-5b1c-4d7e-9a52-0f6b8c3f1c11"
ENDPOINT_PATH: Final = f"/stripe/webhook/{ENDPOINT_ID}/"
ENDPOINT_SECRET: Final = "whsec_benchmark"

# Those of docs/benchmarks.md.
_PACKAGES: Final = ("dj-stripe==2.11.0", "stripe==15.6.2")
_SAME_AS_OURS: Final = ("django", "psycopg", "psycopg-binary", "gunicorn")
_ROOT: Final = Path(__file__).parent.parent

_numbers = itertools.count()


def install(folder: Path) -> str:
    """Return the interpreter of an environment that has the peer; made now, if it is not there from another run.

    Raises ``subprocess.CalledProcessError`` where the packages can't be had.
    """
    packages = [*_PACKAGES, *(f"{name}=={version(name)}" for name in _SAME_AS_OURS)]
    made_of = "\n".join([sys.version, *packages])
    home = folder / f"dj-stripe-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    python, complete = home / "bin" / "python", home / "complete"
    if not complete.exists():
        venv.create(home, clear=True, with_pip=True)
        quietly = ("--quiet", "--disable-pip-version-check")
        subprocess.run([python, "-m", "pip", "install", *quietly, *packages], check=True)
        complete.touch()
    return str(python)


def prepare(python: str, database: str) -> None:
    """Make the peer's tables, and what its endpoint needs."""
    environment = {**os.environ, DATABASE_VARIABLE: database}
    subprocess.run([python, "-m", "benchmarks.stripe_site"], check=True, cwd=_ROOT, env=environment)


def make_requests(count: int) -> list[bytes]:
    """Return that many requests of 500 bytes, no two alike, signed now as Stripe signs."""
    bodies = [_BODY.replace(_NUMBER, b"%012d" % next(_numbers)) for _ in range(count)]
    return [
        write_request(ENDPOINT_PATH, host=HOST, headers={"Stripe-Signature": _sign(body)}, body=body) for body in bodies
    ]


def _sign(body: bytes) -> str:
    timestamp = int(time.time())
    signature = hmac.new(ENDPOINT_SECRET.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={signature}"


_NUMBER: Final = b"<-a number->"


def _template(length: int) -> bytes:
    about: dict[str, object] = {"object": "balance", "description": ""}
    event: dict[str, object] = {
        "id": f"evt_{_NUMBER.decode()}",
        "object": "event",
        "api_version": "2026-05-27.dahlia",
        "created": 1_790_000_000,
        "data": {"object": about},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "balance.available",
    }
    about["description"] = "x" * (length - len(json.dumps(event, separators=(",", ":"))))
    return json.dumps(event, separators=(",", ":")).encode()


_BODY: Final = _template(500)
