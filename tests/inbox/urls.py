"""The tests' routes, with the admin and the health view as a project mounts them."""

from django.contrib import admin
from django.urls import include, path

from bloonio_chat.inbox.health import health

urlpatterns = [
    path("api/v1/chat-callbacks/", include("bloonio_chat.urls")),
    path("admin/", admin.site.urls),
    path("health/", health),
    path("health/strict/", health, {"overdue_seconds": 10, "oldest_seconds": 60, "sweep_seconds": 30, "dead": 0}),
    path("health/blind/", health, {"overdue_seconds": None, "oldest_seconds": None, "sweep_seconds": None}),
]
