"""The callbacks below a language's prefix."""

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

urlpatterns = i18n_patterns(path("api/v1/chat-callbacks/", include("bloonio_chat.urls")))
