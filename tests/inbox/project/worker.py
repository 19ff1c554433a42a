"""The project's Celery application; web processes publish with it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.inbox.project.settings")
app = Celery("inbox-project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
