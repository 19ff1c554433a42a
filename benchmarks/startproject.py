"""What ``startproject`` writes, as far as a request meets it. No import but the standard library's: the peers, which
have an environment of their own, are measured in it too.
"""

from __future__ import annotations

import os
from typing import Any, Final

SECRET_KEY: Final = "only-for-benchmarks"
HOST: Final = "shop.example"

# How a server in a process of its own is told what to serve.
DATABASE_VARIABLE: Final = "BENCHMARK_DATABASE"
URLCONF_VARIABLE: Final = "BENCHMARK_URLCONF"
PREPARING_VARIABLE: Final = "BENCHMARK_PREPARING"

APPS: Final = (
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
)
MIDDLEWARE: Final = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
# For the admin.
TEMPLATES: Final = (
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
)


def postgresql(name: str, *, prepares: bool = False) -> dict[str, Any]:
    """Return the settings of a database on the server that libpq's variables name, over connections that stay open.

    ``prepares`` has the driver prepare statements, which Django leaves off for the sake of connection poolers.
    """
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "CONN_MAX_AGE": None,
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 5} if prepares else {},
    }


def mariadb(name: str) -> dict[str, Any]:
    """Return the settings of a database on the server that ``MARIADB_HOST`` and the like name."""
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": name,
        "HOST": os.environ.get("MARIADB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MARIADB_PORT", "3306"),
        "USER": os.environ.get("MARIADB_USER", "root"),
        "PASSWORD": os.environ.get("MARIADB_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
        "CONN_MAX_AGE": None,
    }
