"""gunicorn with two processes of four threads, as a project runs it."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

WORKERS: Final = 2
THREADS: Final = 4

_ROOT: Final = Path(__file__).parent.parent
_PATIENCE_SECONDS: Final = 30


@contextlib.contextmanager
def serving(
    application: str, environment: Mapping[str, str], *, log: Path, python: str = sys.executable
) -> Iterator[str]:
    """Serve ``module:name`` with that interpreter, and give the server's address, ``host:port``; it logs to a file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [
        *(python, "-m", "gunicorn", application, f"--bind={address}", "--worker-class=gthread"),
        *(f"--workers={WORKERS}", f"--threads={THREADS}", "--log-level=warning", f"--log-file={log}"),
    ]
    process = subprocess.Popen(command, cwd=_ROOT, env={**os.environ, **environment})
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    # An answer, and not a connection: the socket is there long before the application is.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE_SECONDS)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/")
            connection.getresponse().read()
            return
        time.sleep(0.05)
    raise RuntimeError(f"gunicorn does not serve; see {log}.")
