"""Load by wrk, whose own work is a small part of any server's: eight connections that stay open, one thread."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 8
SECONDS: Final = 0.9

_SCRIPT: Final = Path(__file__).with_suffix(".lua")


@dataclass(frozen=True)
class Load:
    """What came of it: how many requests were answered in how many seconds, each of them with a status below 400."""

    answered: int
    seconds: float


def post_each(address: str, requests: Sequence[bytes], *, file: Path) -> Load:
    """Post requests, each once, for 0.9 s or until there are none left; ``file`` is where wrk reads them.

    Raises ``RuntimeError`` where one was refused or not answered, and where wrk is missing.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk was not found: install it (apt-get install wrk, brew install wrk).")
    file.write_bytes(b"".join(b"%d\n%b" % (len(one), one) for one in requests))
    command = [wrk, "--threads=1", f"--connections={CONNECTIONS}", "--duration=2s", f"--script={_SCRIPT}"]
    run = subprocess.run(
        [*command, f"http://{address}", "--", str(file), str(SECONDS)], capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout.strip().rpartition("\n")[2])
    if found["refused"] or found["failed"]:
        raise RuntimeError(f"Of {found['answered']} answers {found['refused']} were refusals; {run.stdout}")
    if not found["answered"]:
        raise RuntimeError(f"No request was answered within {SECONDS} s: {run.stdout}")
    return Load(found["answered"], found["seconds"])


def write_request(path: str, *, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a whole request as it goes over the wire."""
    fields = {"Host": host, "User-Agent": "relay", "Accept": "*/*", "Content-Type": "application/json", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
