"""The project for uvicorn."""

from django.core.asgi import get_asgi_application

from tests.inbox.project.worker import app

# Celery's shared tasks belong to whichever application is there.
__all__ = ["app", "application"]
application = get_asgi_application()
