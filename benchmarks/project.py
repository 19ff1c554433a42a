"""The Django project that the benchmarks run in: what ``startproject`` writes, with this app.

It is also its own URLconf.
"""

from __future__ import annotations

from typing import Final

import django
from django.conf import settings
from django.urls import include, path

TENANT_ID: Final = "01900000-0000-7000-8000-000000000001"
SECRET: Final = b"sk_benchmark"
SECRET_KEY: Final = "only-for-benchmarks"
HOST: Final = "shop.example"

CALLBACK_PATH: Final = "/api/v1/chat-callbacks/message-received"


def configure() -> None:
    """Set Django up; more than once does no harm."""
    if settings.configured:
        return
    settings.configure(
        SECRET_KEY=SECRET_KEY,
        ALLOWED_HOSTS=[HOST],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "bloonio_chat",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        # Never opened; there because Django looks through all databases on every request.
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        USE_TZ=True,
        BLOONIO_CHAT_BASE_URL="http://127.0.0.1:9",
        BLOONIO_CHAT_TENANT_ID=TENANT_ID,
        BLOONIO_CHAT_TENANT_SECRET=SECRET.decode(),
    )
    django.setup()


urlpatterns = [path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))]
