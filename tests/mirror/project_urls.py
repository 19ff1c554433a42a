"""The tests' routes, with the admin as a project mounts it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/v1/chat-callbacks/", include("bloonio_chat.urls")),
    path("admin/", admin.site.urls),
]
