"""``SandboxRelay``: server → calls → routes → visitors and desk → state → outbox, and the page beside them."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from urllib.parse import urlsplit

try:
    from bloonio_chat.sandbox.calls import Call, Calls
    from bloonio_chat.sandbox.page import Page
    from bloonio_chat.sandbox.server import Server
except ImportError as error:
    if not (error.name or "").startswith("werkzeug"):
        raise
    raise ImportError(
        'The sandbox needs the extra "sandbox": pip install "django-bloonio-chat[sandbox]"', name=error.name
    ) from None

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.callbacks import Outbox
from bloonio_chat.sandbox.clock import Clock
from bloonio_chat.sandbox.faults import Faults
from bloonio_chat.sandbox.objects import AgentBody, Mode, Tenant
from bloonio_chat.sandbox.routes import Relay
from bloonio_chat.sandbox.stage import Stage
from bloonio_chat.sandbox.state import State
from bloonio_chat.sdk.settings import canonical_tenant_id

SECRET_PREFIX = "sk_sandbox_"  # noqa: S105  # what secrets begin with, none itself


class SandboxRelay(Stage):
    """A relay on the loopback interface; use it in a ``with`` block, or call :meth:`start` and :meth:`stop`.

    - ``callback_base_url``: where the tenant's project listens, without a path; ``None``: no callbacks are sent.
    - ``port``: 0 takes a free one.
    - ``tenant_id``, ``tenant_secret``: made up when not given; the secret must begin with ``sk_sandbox_``.
    - ``mode``: ``bot`` answers first, ``human`` sends the first message straight to the operators' queue.
    - ``agent_body``: the form of the ``agent_*`` callbacks, ``takeover`` or ``envelope`` (protocol §4.1).
    - ``rate_limit_per_min``: of the first tenant and of those added; ``None``: no limit.
    - ``callback_pauses``: seconds before each further attempt; ``callback_timeout_seconds``: for each attempt.
    - ``missing_operations``: names of operations that this relay answers with 404.
    - ``seed``: makes ids and the chance of faults the same again; ``clock``: another source of time.

    Raises ``ValueError`` for a tenant's id that is no UUID, another kind of secret or of URL and a rate below 1, and
    ``OSError`` for a port that is taken.
    """

    def __init__(
        self,
        *,
        callback_base_url: str | None = None,
        port: int = 0,
        tenant_id: str | None = None,
        tenant_secret: str | None = None,
        mode: Mode = "bot",
        agent_body: AgentBody = "takeover",
        rate_limit_per_min: int | None = 60,
        callback_pauses: Sequence[float] = choices.CALLBACK_PAUSES,
        callback_timeout_seconds: float = choices.CALLBACK_TIMEOUT_SECONDS,
        missing_operations: Collection[str] = (),
        seed: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError("The port must be from 0 to 65535.")
        self.seed = secrets.randbits(32) if seed is None else seed
        self.clock = clock or Clock()
        self.faults = Faults(self.seed)
        self._stopped = threading.Event()
        if rate_limit_per_min is not None and rate_limit_per_min < 1:
            raise ValueError("The rate limit is at least 1 call per minute, or None for no limit.")
        self._rate_limit = rate_limit_per_min
        # Ids are to be repeated, not to be unguessable; secrets and the tokens' key come from elsewhere.
        state = State(self.clock, random.Random(self.seed))  # noqa: S311  # as said
        outbox = Outbox(
            self.clock,
            self.faults.callbacks,
            state.tenants.__getitem__,
            pauses=callback_pauses,
            timeout_seconds=callback_timeout_seconds,
        )
        super().__init__(state, outbox)
        self.tenant = self.add_tenant(
            tenant_id, tenant_secret, callback_base_url=callback_base_url, mode=mode, agent_body=agent_body
        )
        parts = Relay(self._state, self._visitors, self._desk, token_key=secrets.token_bytes(32))
        self._calls = Calls(
            parts, self.clock, self.faults.calls, missing=missing_operations, stopped=self._stopped.is_set
        )
        self._server = Server(self._calls.answer, Page(self, self).answer, port)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url} for tenant {self.tenant_id}>"

    def __enter__(self) -> SandboxRelay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # ---- running -----------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where the relay answers, the tenant's ``BLOONIO_CHAT_BASE_URL``; its page is at ``/``."""
        return f"http://{self._server.host}:{self._server.port}"

    def start(self) -> None:
        """Answer calls, in threads of its own. Raises ``RuntimeError`` for a relay that was stopped."""
        if self._stopped.is_set():
            raise RuntimeError("This relay was stopped: make another one.")
        self._server.start()

    def stop(self) -> None:
        """Stop at once: callbacks that are still pending are cancelled. Leaves no thread and no socket."""
        self._stopped.set()
        self._outbox.stop()
        self.clock.wake()
        self._server.stop()

    def wait(self, timeout_seconds: float = 30.0) -> None:
        """Return once every callback was acknowledged or given up; ``TimeoutError`` when it takes longer."""
        self._outbox.wait_until(self._outbox.settled, timeout_seconds)

    def wait_until(self, happened: Callable[[], bool], timeout_seconds: float = 30.0) -> None:
        """Return once ``happened()``, which is asked after each attempt of a callback: before time is moved, say.

        ``relay.wait_until(lambda: len(relay.callbacks[0].attempts) == 1)``. Raises ``TimeoutError``.
        """
        self._outbox.wait_until(happened, timeout_seconds)

    # ---- tenants -----------------------------------------------------------------------------------------------

    @property
    def tenant_id(self) -> str:
        """The first tenant's id."""
        return self.tenant.tenant_id

    @property
    def tenant_secret(self) -> str:
        """The first tenant's secret, as it is now."""
        return self.tenant.secret

    @property
    def callback_base_url(self) -> str | None:
        """Where the first tenant's project listens; may be set while the relay runs."""
        return self.tenant.callback_base_url

    @callback_base_url.setter
    def callback_base_url(self, url: str | None) -> None:
        self.tenant.callback_base_url = _checked_url(url)

    def add_tenant(
        self,
        tenant_id: str | None = None,
        tenant_secret: str | None = None,
        *,
        callback_base_url: str | None = None,
        name: str = "Sandbox",
        mode: Mode = "bot",
        agent_body: AgentBody = "takeover",
    ) -> Tenant:
        """Add a tenant; arguments as for the class. The others see nothing of its objects."""
        its_id = self._state.new_uuid() if tenant_id is None else canonical_tenant_id(tenant_id)
        if its_id is None:
            raise ValueError("The tenant's id is not a UUID.")
        url, secret = _checked_url(callback_base_url), _checked_secret(tenant_secret)
        tenant = Tenant(its_id, secret, url, name, mode, agent_body, self._rate_limit)
        with self._state.lock:
            self._state.tenants[its_id] = tenant
        return tenant

    def rotate_secret(self, new_secret: str | None = None, *, tenant: Tenant | None = None) -> str:
        """Give a tenant another secret and return it; the old one stops working at once (protocol §2)."""
        tenant = tenant or self.tenant
        tenant.secret = _checked_secret(new_secret)
        return tenant.secret

    @property
    def calls(self) -> list[Call]:
        """All calls to the operations, in the order in which they were answered."""
        return self._calls.log()


def _checked_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    # Reading the port raises ValueError for one that is no number.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("The callbacks' base URL is not an http(s) URL such as http://127.0.0.1:8000.")
    return url.rstrip("/")


def _checked_secret(secret: str | None) -> str:
    if secret is None:
        return f"{SECRET_PREFIX}{secrets.token_hex(16)}"
    if not secret.startswith(SECRET_PREFIX) or secret == SECRET_PREFIX:
        raise ValueError(f"A sandbox's secret begins with {SECRET_PREFIX}, so that no real one gets here.")
    return secret
