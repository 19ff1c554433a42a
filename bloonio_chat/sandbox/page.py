"""The sandbox's own page at ``/``: it shows everything, and its forms play visitor, operator and bad luck.

It is served on the loopback interface alone. A page of another site could still make a browser call it, so a ``Host``
that is not the loopback's is refused, and every form carries a token that is new with each start.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from bloonio_chat.sandbox.refusals import Refusal
from bloonio_chat.sandbox.server import PAGE_PATH
from bloonio_chat.sandbox.stage import Stage
from bloonio_chat.sandbox.view import Shown, View

_HOSTS = ("127.0.0.1", "localhost")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Fields = Mapping[str, str]


class Page:
    """Answers requests for the page. ``shown`` is the relay, for what the stage does not know."""

    def __init__(self, stage: Stage, shown: Shown) -> None:
        self._stage = stage
        self._shown = shown
        self._token = secrets.token_urlsafe(24)
        self._actions: dict[str, Callable[[Fields], str | None]] = {
            "open": self._open,
            "say": self._say,
            "answer": self._answer,
            "claim": self._claim,
            "release": self._release,
            "resolve": self._resolve,
            "fault": self._fault,
            "clear-faults": self._clear_faults,
        }

    def answer(self, request: Request) -> Response:
        """Return the page, or the redirect to it after a form."""
        response = self._respond(request)
        response.headers.extend(_HEADERS)
        return response

    def _respond(self, request: Request) -> Response:
        if request.host.rpartition(":")[0] not in _HOSTS and request.host not in _HOSTS:
            return Response("This page answers to localhost alone.", 400)
        if request.path == "/":
            if request.method not in ("GET", "HEAD"):
                return Response("The page is read with GET.", 405, {"Allow": "GET, HEAD"})
            return self._page(200, request.args.get("conversation"))
        action = self._actions.get(request.path.removeprefix(PAGE_PATH))
        if action is None:
            return Response("There is nothing here; the page is at /.", 404)
        if request.method != "POST":
            return Response("Forms are posted.", 405, {"Allow": "POST"})
        request.max_content_length = request.max_form_memory_size = 64 * 1024
        fields = request.form
        if not hmac.compare_digest(fields.get("token", "").encode(), self._token.encode()):
            return self._page(403, fields.get("conversation"), "The form is not from this start of the sandbox: again.")
        try:
            chosen = action(fields)
        except Refusal as refusal:
            return self._page(refusal.status, fields.get("conversation"), refusal.message)
        except (ValueError, KeyError) as error:
            return self._page(422, fields.get("conversation"), str(error))
        return Response("", 303, {"Location": f"/?conversation={quote(chosen)}" if chosen else "/"})

    def _page(self, status: int, chosen: str | None, notice: str | None = None) -> Response:
        view = View(self._stage, self._shown, self._token, chosen, notice)
        # Half a surrogate pair, which a test may have put into an object, becomes "?".
        return Response(view.render().encode(errors="replace"), status, content_type="text/html; charset=utf-8")

    # ---- what the forms do: each returns the conversation to show -------------------------------------------------

    def _open(self, fields: Fields) -> str:
        conversation = self._stage.open_conversation(_text(fields, "visitor_user_id"), locale="en")
        if fields.get("content"):
            self._stage.say(conversation.id, fields["content"])
        return conversation.id

    def _say(self, fields: Fields) -> str:
        return self._stage.say(fields["conversation"], _text(fields, "content")).conversation_id

    def _answer(self, fields: Fields) -> str:
        operator = fields.get("operator") or None
        return self._stage.answer(fields["conversation"], _text(fields, "content"), operator).conversation_id

    def _claim(self, fields: Fields) -> str:
        return self._stage.claim(fields["conversation"], fields.get("operator") or None).conversation_id

    def _release(self, fields: Fields) -> str:
        return self._stage.release(fields["conversation"]).conversation_id

    def _resolve(self, fields: Fields) -> str:
        return self._stage.resolve(fields["conversation"]).conversation_id

    def _fault(self, fields: Fields) -> None:
        value = f":{fields['value']}" if fields.get("value") else ""
        self._shown.faults.set_from_text(f"{fields['fault']}={fields['amount']}{value}")

    def _clear_faults(self, _: Fields) -> None:
        self._shown.faults.clear()


def _text(fields: Fields, name: str) -> str:
    value = fields[name].strip()
    if not 0 < len(value) <= 8000:
        raise ValueError(f"{name} has from 1 to 8000 characters.")
    return value
