"""The one view of all callbacks: it checks, hands over, and answers (protocol §4.3).

Never a 500: whatever a stranger sends has its answer in the protocol's table, and what is this project's own trouble is
503, so that the relay sends the event again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from io import BytesIO

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from bloonio_chat.callbacks import guard
from bloonio_chat.callbacks.ports import ports
from bloonio_chat.conf import Config, get_config
from bloonio_chat.sdk.errors import ChatRelayConfigurationError
from bloonio_chat.sdk.receive import (
    RECEIVED,
    RETRY_AFTER_SECONDS,
    BoundedBody,
    CallbackRejected,
    Received,
    check_method,
    receive,
)
from bloonio_chat.signals import callback_rejected

logger = logging.getLogger("bloonio_chat.callbacks")

# Written down once, and not for every callback.
_RECEIVED = json.dumps(RECEIVED).encode()


@csrf_exempt
@login_not_required
def callback(request: HttpRequest, event_path: str) -> HttpResponse:
    """Answer one callback of the relay. ``event_path`` is the last part of its URL."""
    try:
        check_method(request.method or "")
        received = _receive(request, event_path, get_config())
    except CallbackRejected as error:
        rejection = error
    except ChatRelayConfigurationError as error:
        logger.critical("No callback can be taken, since the configuration is wrong: %s", error)
        return _retry_later()
    else:
        return _hand_over(received)
    # Out here: what a receiver of callback_rejected raises must not lead back to frames that hold body and signature.
    return _reject(request, event_path, rejection)


class _EveryDatabase(frozenset[str]):
    """Stands for all aliases: ``ATOMIC_REQUESTS`` would roll back what the answer has promised."""

    def __contains__(self, alias: object) -> bool:
        return True


# What django.db.transaction.non_atomic_requests sets, which takes one alias at a time.
callback._non_atomic_requests = _EveryDatabase()  # type: ignore[attr-defined]  # an attribute that Django looks for


def _receive(request: HttpRequest, event_path: str, config: Config) -> Received:
    headers = request.META
    return receive(
        event_path,
        body=_read(request, config.callback_body_limit),
        tenant_id=headers.get("HTTP_X_BLOONIO_TENANT_ID"),
        timestamp=headers.get("HTTP_X_BLOONIO_TIMESTAMP"),
        signature=headers.get("HTTP_X_BLOONIO_SIGNATURE"),
        tenants=config.callback_tenants,
        now_ms=time.time_ns() // 1_000_000,
    )


def _read(request: HttpRequest, limit: int) -> bytes:
    declared_length, read = _open(request)
    body = BoundedBody(declared_length, limit=limit)
    while body.wanted > 0:
        try:
            piece = read(body.wanted)
        except Exception as error:  # noqa: BLE001  # each server has its own for a sender that hung up or sent nonsense
            kind = type(error).__name__
            raise CallbackRejected("body_unreadable", 400, f"The body could not be read ({kind}).") from None
        if not piece:
            break
        body.feed(piece)
    whole = body.whole()
    # What HttpRequest.body keeps, so that whoever looks at the request after us finds it.
    request._body = whole
    return whole


def _open(request: HttpRequest) -> tuple[str | None, Callable[[int], bytes]]:
    """Return the body's declared length, if any, and what reads it."""
    if hasattr(request, "_body"):
        whole = request.body
        return str(len(whole)), BytesIO(whole).read
    if getattr(request, "_read_started", False):
        raise CallbackRejected("body_already_read", 400, "The body was read before this app could verify it.")
    environ = getattr(request, "environ", None)
    if environ is None or "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return request.META.get("CONTENT_LENGTH") or None, request.read
    # Django's own stream ends where Content-Length says, and here there is none.
    if not environ.get("wsgi.input_terminated"):
        raise CallbackRejected(
            "length_required", 411, "This server does not take a body in chunks: send Content-Length."
        )
    return None, environ["wsgi.input"].read


def _hand_over(received: Received) -> HttpResponse:
    if received.secret_place:
        logger.warning("Tenant %s signs with fallback secret %d.", received.tenant.alias, received.secret_place)
    acceptance = (ports.accept or guard.accept)(received)
    return _Acknowledgement(acceptance.after_response) if acceptance.acknowledged else _retry_later()


def _reject(request: HttpRequest, event_path: str, rejection: CallbackRejected) -> JsonResponse:
    logger.warning("Callback %s refused: %s", event_path, rejection, extra={"reason": rejection.reason})
    # What its receivers raise, Django logs.
    callback_rejected.send_robust(
        sender=CallbackRejected,
        reason=rejection.reason,
        status=rejection.status,
        tenant_id=rejection.tenant_id,
        path=event_path,
        remote_addr=request.META.get("REMOTE_ADDR"),
    )
    return JsonResponse(rejection.payload, status=rejection.status, headers=rejection.headers)


class _Acknowledgement(HttpResponse):
    """200, and what is to be done once the server has sent it."""

    def __init__(self, after_response: Callable[[], None] | None) -> None:
        super().__init__(_RECEIVED, content_type="application/json")
        self._after_response = after_response

    def close(self) -> None:
        """End the response, then do it."""
        super().close()
        after_response, self._after_response = self._after_response, None
        if after_response is None:
            return
        try:
            after_response()
        except Exception:
            # Nobody is left to hear of it, and what was acknowledged is kept.
            logger.exception("An acknowledged event could not be handed on; the next sweep picks it up.")


def _retry_later() -> JsonResponse:
    return JsonResponse(
        {"code": "retry_later", "detail": "The event could not be taken now; send it again."},
        status=503,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
