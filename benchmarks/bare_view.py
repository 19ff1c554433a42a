"""The URLconf of the same project with a bare view in this app's place, under the same URL."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from benchmarks.project import CALLBACK_PATH


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    """Do what any webhook's view must do at the least: read the body, and answer."""
    _ = request.body
    return JsonResponse({"received": True})


urlpatterns = [path(CALLBACK_PATH.removeprefix("/"), bare)]
