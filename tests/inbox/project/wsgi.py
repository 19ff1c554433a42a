"""The project for gunicorn."""

from django.core.wsgi import get_wsgi_application

from tests.inbox.project.worker import app

# Celery's shared tasks belong to whichever application is there.
__all__ = ["app", "application"]
application = get_wsgi_application()
