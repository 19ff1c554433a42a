"""The callbacks, and nothing else."""

from django.urls import include, path

urlpatterns = [path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))]
