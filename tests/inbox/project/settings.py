"""The project's settings; whoever starts it says the rest in the environment (:func:`processes.environment`)."""

import json
import os

from tests.secrets import SECRET, TENANT_ID

DATABASES = {"default": json.loads(os.environ["PROJECT_DATABASE"])}
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    # As tests/databases.py.
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()

SECRET_KEY = "only-for-tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.inbox.project.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["bloonio_chat", "bloonio_chat.inbox", "tests.inbox.project"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"bloonio_chat": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}

CELERY_BROKER_URL = os.environ.get("PROJECT_BROKER")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("PROJECT_QUEUE", "inbox-project")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that is gone for long is waited for, however long.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
if (CELERY_BROKER_URL or "").startswith("redis"):
    # What a killed worker had taken comes back after so many seconds. Each run has keys of its own.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 5, "global_keyprefix": f"{CELERY_TASK_DEFAULT_QUEUE}."}
CELERY_BEAT_SCHEDULE = {
    "bloonio-chat-sweep": {"task": "bloonio_chat.inbox.sweep", "schedule": 2.0, "options": {"expires": 60}}
}

BLOONIO_CHAT_BASE_URL = "http://127.0.0.1:9"
BLOONIO_CHAT_TENANT_ID = TENANT_ID
BLOONIO_CHAT_TENANT_SECRET = SECRET
BLOONIO_CHAT_INBOX_LEASE_SECONDS = int(os.environ.get("PROJECT_LEASE_SECONDS", "5"))
# BLOONIO_CHAT_INBOX_RUNNER comes from the environment.
