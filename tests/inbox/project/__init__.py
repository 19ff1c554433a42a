"""A small Django project with the inbox, run by real servers, workers and brokers, each a process of its own.

``settings``, ``urls``, ``wsgi``, ``asgi`` and ``worker`` (Celery) are the project; ``apps`` connects its receivers,
which write what they did to a file (``deeds``) and, once for each event, to a table (``models``). ``processes``,
``databases``, ``database_servers`` and ``brokers`` start and stop what it needs; ``posting`` is the relay.
"""
