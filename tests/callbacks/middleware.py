"""What projects put before the callbacks' view, wisely or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]


def reads_the_body(get_response: GetResponse) -> GetResponse:
    """As request loggers do: harmless, Django keeps what it read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.META["tests.length"] = len(request.body)
        return get_response(request)

    return middleware


def reads_the_stream(get_response: GetResponse) -> GetResponse:
    """What nobody should do: Django keeps nothing, so nothing is left to verify."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.read(10)
        return get_response(request)

    return middleware


def reads_the_form(get_response: GetResponse) -> GetResponse:
    """As a CSRF or method-override middleware does: for multipart bodies it reads the stream."""

    def middleware(request: HttpRequest) -> HttpResponse:
        request.POST.get("x")
        return get_response(request)

    return middleware


def looks_afterwards(get_response: GetResponse) -> GetResponse:
    """Puts what ``request.body`` and ``request.POST`` give after the view into the answer's headers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Tests-Body"] = str(len(request.body))
        response["Tests-Form"] = str(len(request.POST))
        return response

    return middleware


def breaks_the_stream(get_response: GetResponse) -> GetResponse:
    """Stands for a server whose input fails while it is read."""

    def middleware(request: HttpRequest) -> HttpResponse:
        class Broken:
            def read(self, *_: Any) -> bytes:
                raise ConnectionResetError("no_header_value_shows_this")

        request._stream = Broken()  # type: ignore[assignment]  # less than a file, on purpose
        return get_response(request)

    return middleware
