"""The WSGI application that gunicorn serves: this project with the inbox, on the database that is to be measured."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from benchmarks import project
from benchmarks.startproject import DATABASE_VARIABLE, PREPARING_VARIABLE, URLCONF_VARIABLE, postgresql

project.configure(
    database=postgresql(os.environ[DATABASE_VARIABLE], prepares=PREPARING_VARIABLE in os.environ),
    rooms=["bloonio_chat.inbox"],
    urlconf=os.environ[URLCONF_VARIABLE],
    BLOONIO_CHAT_INBOX_RUNNER="command",
)
application = get_wsgi_application()
