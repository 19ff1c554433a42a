"""A project with a view of its own beside the callbacks: what happens to it shows that a protection is there."""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.urls import include, path


def plain(request: HttpRequest) -> JsonResponse:
    return JsonResponse({alias: connections[alias].in_atomic_block for alias in ("default", "other")})


urlpatterns = [path("api/v1/chat-callbacks/", include("bloonio_chat.urls")), path("plain", plain)]
