"""``SandboxRelay``: a relay over real HTTP on the loopback interface.

call → :mod:`~bloonio_chat.sandbox.signatures` → route → callbacks to the tenant.
"""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
import uuid
from collections.abc import Iterable
from datetime import datetime, timezone
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

try:
    from werkzeug.serving import WSGIRequestHandler, make_server
    from werkzeug.wrappers import Request, Response
except ImportError as error:
    raise ImportError(
        'The sandbox needs the extra "sandbox": pip install "django-bloonio-chat[sandbox]"', name=error.name
    ) from None

from bloonio_chat.sandbox import signatures
from bloonio_chat.sdk.operations import API_PATH

CALLBACKS_PATH = "/api/v1/chat-callbacks"


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # werkzeug's own name
        pass


class SandboxRelay:
    """A relay with one tenant; use it in a ``with`` block, or call :meth:`start` and :meth:`stop`.

    ``callback_base_url`` is where the tenant's project listens, without a path; ``None``: no callbacks are sent.
    """

    def __init__(self, *, callback_base_url: str | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.callback_base_url = callback_base_url
        self.tenant_id = str(uuid.UUID(int=(0x0190 << 112) | (7 << 76) | (2 << 62) | secrets.randbits(62)))
        self.tenant_secret = f"sk_sandbox_{secrets.token_hex(16)}"
        self.conversations: dict[str, dict[str, Any]] = {}
        self.callbacks: list[tuple[str, int]] = []
        self._sending: list[threading.Thread] = []
        self._server = make_server(host, port, self._answer, threaded=True, request_handler=_QuietHandler)

    def __enter__(self) -> SandboxRelay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where the relay answers: the tenant's ``BLOONIO_CHAT_BASE_URL``."""
        return f"http://{self._server.host}:{self._server.port}"

    def start(self) -> None:
        """Answer calls, in a thread of its own."""
        threading.Thread(target=self._server.serve_forever, name="sandbox-relay", daemon=True).start()

    def stop(self) -> None:
        """Stop answering, once all callbacks have been sent."""
        self.wait()
        self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Return once all callbacks have been sent."""
        while self._sending:
            self._sending.pop().join()

    # ---- calls -------------------------------------------------------------------------------------------------

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        return self._route(request)(environ, start_response)

    def _route(self, request: Request) -> Response:
        body = request.get_data()
        signed = request.headers.get("X-Bloonio-Tenant-Id") == self.tenant_id and signatures.holds(
            self.tenant_secret,
            request.headers.get("X-Bloonio-Timestamp", ""),
            request.headers.get("X-Bloonio-Signature", ""),
            body,
            now_ms=int(time.time() * 1000),
        )
        if not signed:
            return _envelope(401, "Invalid signature")
        if (request.method, request.path) != ("POST", f"{API_PATH}/create/conversation"):
            return _envelope(404, "Not found")
        return self._create_conversation(body)

    def _create_conversation(self, body: bytes) -> Response:
        try:
            fields = json.loads(body)
        except ValueError:
            return _envelope(400, "The body is not JSON")
        if not isinstance(fields, dict) or not fields.get("visitor_user_id"):
            return _envelope(422, "visitor_user_id is required")
        now = datetime.now(timezone.utc).isoformat()
        conversation = {
            "id": secrets.token_hex(12),
            "tenant_id": self.tenant_id,
            "visitor_user_id": fields["visitor_user_id"],
            "visitor_display_name": fields.get("visitor_display_name"),
            "locale": fields.get("locale", "fr"),
            "channel": fields.get("channel", "text"),
            "status": "active",
            "metadata": fields.get("metadata", {}),
            "created_at": now,
            "updated_at": now,
        }
        self.conversations[conversation["id"]] = conversation
        self._emit(
            "conversation_started",
            conversation_id=conversation["id"],
            visitor_user_id=conversation["visitor_user_id"],
            occurred_at=now,
        )
        return _envelope(201, "Conversation created", conversation)

    # ---- callbacks ---------------------------------------------------------------------------------------------

    def _emit(self, event_type: str, **fields: Any) -> None:
        if self.callback_base_url is None:
            return
        body = json.dumps({"event_type": event_type, "tenant_id": self.tenant_id, **fields}).encode()
        thread = threading.Thread(target=self._post, args=(event_type, body), name="sandbox-callback", daemon=True)
        self._sending.append(thread)
        thread.start()

    def _post(self, event_type: str, body: bytes) -> None:
        parts = urlsplit(self.callback_base_url or "")
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
        timestamp_ms = int(time.time() * 1000)
        headers = {
            "Content-Type": "application/json",
            "X-Bloonio-Tenant-Id": self.tenant_id,
            "X-Bloonio-Timestamp": str(timestamp_ms),
            "X-Bloonio-Signature": signatures.make(self.tenant_secret, timestamp_ms, body),
        }
        try:
            connection.request("POST", f"{CALLBACKS_PATH}/{event_type.replace('_', '-')}", body, headers)
            status = connection.getresponse().status
        except OSError:
            status = 0
        finally:
            connection.close()
        self.callbacks.append((event_type, status))


def _envelope(status: int, message: str, data: Any = None) -> Response:
    body = {"status_code": status, "message": message, "data": data}
    return Response(json.dumps(body), status=status, content_type="application/json")
