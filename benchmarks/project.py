"""The Django project that the benchmarks run in: what ``startproject`` writes, with this app.

It is also its own URLconf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import django
from django.conf import settings
from django.urls import include, path

from benchmarks import startproject
from benchmarks.startproject import HOST as HOST
from benchmarks.startproject import SECRET_KEY as SECRET_KEY

TENANT_ID: Final = "01900000-0000-7000-8000-000000000001"
SECRET: Final = b"sk_benchmark"

CALLBACK_PATH: Final = "/api/v1/chat-callbacks/message-received"

# Never opened; there because Django looks through all databases on every request.
_NO_DATABASE: Final = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}


def configure(
    *,
    database: Mapping[str, Any] = _NO_DATABASE,
    others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    rooms: Sequence[str] = (),
    urlconf: str = __name__,
    **more: Any,
) -> None:
    """Set Django up, with that database and others by alias, the optional rooms by their dotted names, and more
    settings.

    Once more for the same does no harm; raises ``RuntimeError`` for another database: Django is set up once.
    """
    if settings.configured:
        if settings.DATABASES["default"]["NAME"] != database["NAME"]:
            raise RuntimeError("This process has another database already: measure one group at a time, with --only.")
        return
    settings.configure(
        SECRET_KEY=SECRET_KEY,
        ALLOWED_HOSTS=[HOST],
        ROOT_URLCONF=urlconf,
        INSTALLED_APPS=[*startproject.APPS, "bloonio_chat", *rooms],
        MIDDLEWARE=list(startproject.MIDDLEWARE),
        DATABASES={"default": dict(database), **{alias: dict(other) for alias, other in others.items()}},
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        USE_TZ=True,
        BLOONIO_CHAT_BASE_URL="http://127.0.0.1:9",
        BLOONIO_CHAT_TENANT_ID=TENANT_ID,
        BLOONIO_CHAT_TENANT_SECRET=SECRET.decode(),
        **more,
    )
    django.setup()


urlpatterns = [path("api/v1/chat-callbacks/", include("bloonio_chat.urls"))]
