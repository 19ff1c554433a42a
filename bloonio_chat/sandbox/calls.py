"""One call: route → method → size → signature → suspension → rate → faults → input → work (protocol §3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import http_date
from werkzeug.wrappers import Request, Response

from bloonio_chat.sandbox import choices, inputs, signatures
from bloonio_chat.sandbox.clock import Clock
from bloonio_chat.sandbox.faults import FaultSet
from bloonio_chat.sandbox.objects import Tenant, encode
from bloonio_chat.sandbox.rates import Rates
from bloonio_chat.sandbox.refusals import Refusal
from bloonio_chat.sandbox.routes import ROUTES, Relay, Route, run
from bloonio_chat.sdk.operations import API_PATH

_PIECES = 10


@dataclass(frozen=True)
class Call:
    """A call to one of the operations, as it was answered; ``status`` 0: the connection was cut instead."""

    number: int
    operation: str
    tenant_id: str | None
    status: int
    faults: tuple[str, ...]
    at: datetime


class Calls:
    """Answers calls. ``missing`` are operations that this relay does not have (§3: "a call … answers 404")."""

    def __init__(
        self, relay: Relay, clock: Clock, faults: FaultSet, *, missing: Collection[str], stopped: Callable[[], bool]
    ) -> None:
        self._relay = relay
        self._clock = clock
        self._faults = faults
        self._missing = frozenset(missing)
        self._stopped = stopped
        self._rates = Rates(clock)
        self._lock = threading.Lock()
        self._begun = 0
        self._log: list[Call] = []

    def log(self) -> list[Call]:
        """Return all calls to known operations, in the order in which they were answered."""
        with self._lock:
            return list(self._log)

    def answer(self, request: Request) -> Response:
        """Return the answer; raises ``ConnectionAbortedError`` where a fault cuts the connection."""
        try:
            route = self._route(request)
        except Refusal as refusal:
            return _refused(refusal)
        with self._lock:
            self._begun += 1
            number = self._begun
        struck: dict[str, float] = {}
        status, tenant_id = 0, None
        try:
            for name in self._faults.known:
                value = self._faults.strike(name, route.name, str(number))
                if value is not None:
                    struck[name] = value
            try:
                tenant, body = self._admit(request, struck)
                tenant_id = tenant.tenant_id
                response = self._work(request, route, tenant, body, struck)
            except Refusal as refusal:
                response = _refused(refusal)
            status = response.status_code
            response.headers["Date"] = http_date(self._clock.now() + struck.get("skew", 0.0))
            if "delay" in struck:
                self._clock.sleep(struck["delay"], interrupted=self._stopped)
            if "drop_after" in struck:
                status = 0
                raise ConnectionAbortedError("drop_after")
            return self._spoiled(response, struck)
        finally:
            call = Call(number, route.name, tenant_id, status, tuple(struck), self._clock.moment())
            with self._lock:
                self._log.append(call)

    # ---- before the work ---------------------------------------------------------------------------------------

    def _route(self, request: Request) -> Route:
        prefix, _, path = request.path.partition(API_PATH)
        route = None if prefix else ROUTES.get(path)
        if route is None or route.name in self._missing:
            raise Refusal(404, "Not Found", detail="Not Found")
        if request.method != route.method:
            headers = {"Allow": route.method}
            raise Refusal(405, "Method Not Allowed", detail="Method Not Allowed", headers=headers)
        return route

    def _admit(self, request: Request, struck: dict[str, float]) -> tuple[Tenant, bytes]:
        body = read_bounded(request)
        tenant = self._relay.state.tenants.get(request.headers.get("X-Bloonio-Tenant-Id", "").lower())
        if tenant is None or not signatures.holds(
            tenant.secret,
            request.headers.get("X-Bloonio-Timestamp", ""),
            request.headers.get("X-Bloonio-Signature", ""),
            body,
            now_ms=self._clock.now_ms() + int(struck.get("skew", 0.0) * 1000),
        ):
            raise Refusal(401, "Invalid signature or timestamp")
        if tenant.suspended:
            raise Refusal(403, "Tenant is suspended")
        self._rates.count(tenant)
        return tenant, body

    def _work(self, request: Request, route: Route, tenant: Tenant, body: bytes, struck: dict[str, float]) -> Response:
        if "rate_limit" in struck:
            raise Refusal(429, "Rate limit exceeded", headers={"Retry-After": self._retry_after(struck["rate_limit"])})
        if "server_error" in struck:
            return _server_error(int(struck["server_error"]))
        if "drop_before" in struck:
            raise ConnectionAbortedError("drop_before")
        query = inputs.read_query(route.query, request.args.to_dict())
        read = None if route.body is None else inputs.read_body(route.body, request.content_type, body)
        result = run(self._relay, route, tenant, query, read)
        extra = {"success": True} if result.status == HTTPStatus.CREATED else {}
        envelope = {"status_code": result.status, "message": result.message, "data": result.data, **extra}
        return _json(result.status, envelope)

    def _retry_after(self, seconds: float) -> str:
        return http_date(self._clock.now() - seconds) if seconds < 0 else f"{seconds:.0f}"

    # ---- after the work ----------------------------------------------------------------------------------------

    def _spoiled(self, response: Response, struck: dict[str, float]) -> Response:
        if "slow" not in struck and "truncate" not in struck:
            return response
        whole = response.get_data()
        sent = whole[: len(whole) // 2] if "truncate" in struck else whole
        pause = struck.get("slow", 0.0) / _PIECES
        size = max(1, -(-len(sent) // _PIECES)) if pause else len(sent)

        def pieces() -> Iterator[bytes]:
            for start in range(0, len(sent), size):
                yield sent[start : start + size]
                if pause:
                    self._clock.sleep(pause, interrupted=self._stopped)
            if len(sent) < len(whole):
                raise ConnectionAbortedError("truncate")

        spoiled = Response(pieces(), status=response.status, headers=response.headers)
        spoiled.headers["Content-Length"] = str(len(whole))
        return spoiled


def read_bounded(request: Request) -> bytes:
    """Return a request's body; refuse one that is too large, by its declared length or as it comes in."""
    largest = choices.LARGEST_BODY_BYTES
    if (request.content_length or 0) <= largest:
        body = bytearray()
        try:
            while len(body) <= largest and (piece := request.stream.read(largest + 1 - len(body))):
                body += piece
        except (OSError, ClientDisconnected):
            raise Refusal(400, "The body ends early, or its chunks are malformed") from None
        if len(body) <= largest:
            return bytes(body)
    raise Refusal(413, f"The body is larger than {largest} bytes")


def _refused(refusal: Refusal) -> Response:
    if refusal.detail is not None:
        body: dict[str, Any] = {"detail": refusal.detail}
    else:
        body = {"status_code": refusal.status, "message": refusal.message, "data": None}
    response = _json(refusal.status, body)
    response.headers.extend(refusal.headers)
    return response


def _server_error(status: int) -> Response:
    if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
        title = f"{status} {HTTPStatus(status).phrase}"
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return Response(page, status=status, content_type="text/html")
    return _json(status, {"status_code": status, "message": "Something went wrong", "data": None})


def _json(status: int, body: Any) -> Response:
    return Response(encode(body), status=status, content_type="application/json")
