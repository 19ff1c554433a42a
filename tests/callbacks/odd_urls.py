"""The callbacks below a prefix, in a namespace, and something else where the relay would post by default."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path


def something_else(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("shop/", include(([path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))], "shop"))),
    path("hooks/", include("bloonio_chat.urls")),
    re_path(r"^api/v1/", something_else),
]
