"""A table of the project's that refers to rows of the mirror, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.db import connections, models

# So that it lies where the mirror's rows do.
_APP = "bloonio_chat_mirror"


@contextmanager
def referring(model: type[models.Model], rule: Any, alias: str) -> Iterator[Any]:
    """Give a model with a key ``row`` to this one, and ``rule`` for its ``on_delete``."""

    class Invoice(models.Model):
        row = models.ForeignKey(model, rule, related_name="+")

        class Meta:
            app_label = _APP

        def __str__(self) -> str:
            return "an invoice"

    try:
        with connections[alias].schema_editor() as editor:
            editor.create_model(Invoice)
        yield Invoice
    finally:
        with connections[alias].schema_editor() as editor:
            editor.delete_model(Invoice)
        del apps.all_models[_APP]["invoice"]
        apps.clear_cache()
