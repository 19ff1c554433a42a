"""The mirror is read-only, unless the project says otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import models

from bloonio_chat import mirror
from bloonio_chat.mirror import ReadOnlyError
from bloonio_chat.mirror.models import Conversation, Message, Ticket
from tests.test_imports import run

MODELS = (Conversation, Message, Ticket)
WRITES: dict[str, Callable[[Any], Any]] = {
    "save": lambda model: model(tenant="default", relay_id="x").save(),
    "delete": lambda model: model(pk=1, tenant="default", relay_id="x").delete(),
    "create": lambda model: model.objects.create(tenant="default", relay_id="x"),
    "get_or_create": lambda model: model.objects.get_or_create(tenant="default", relay_id="x"),
    "update_or_create": lambda model: model.objects.update_or_create(tenant="default", relay_id="x"),
    "bulk_create": lambda model: model.objects.bulk_create([model(tenant="default", relay_id="x")]),
    "bulk_update": lambda model: model.objects.bulk_update([model(pk=1)], ["relay_id"]),
    "queryset update": lambda model: model.objects.filter(pk=1).update(relay_id="y"),
    "queryset delete": lambda model: model.objects.all().delete(),
    "of another database": lambda model: model.objects.using("other").create(tenant="default", relay_id="x"),
    "of the plain manager": lambda model: model._default_manager.update(relay_id="y"),
    "acreate": lambda model: async_to_sync(model.objects.all().acreate)(tenant="default", relay_id="x"),
    "aupdate": lambda model: async_to_sync(model.objects.filter(pk=1).aupdate)(relay_id="y"),
    "adelete": lambda model: async_to_sync(model.objects.all().adelete)(),
    "asave": lambda model: async_to_sync(model(tenant="default", relay_id="x").asave)(),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("model", MODELS)
def test_no_write_gets_as_far_as_the_database(model: type[models.Model], name: str) -> None:
    """These tests may not use a database: that would be another error."""
    with pytest.raises(ReadOnlyError, match=r"mirror\.writable\(\)"):
        WRITES[name](model)


def test_neither_do_those_of_related_rows() -> None:
    parent = Conversation(pk=1, tenant="default", relay_id="c1")
    with pytest.raises(ReadOnlyError):
        parent.messages.create(tenant="default", relay_id="m1")
    with pytest.raises(ReadOnlyError):
        parent.messages.all().delete()
    with pytest.raises(ReadOnlyError):
        parent.tickets.update(status="closed")


@pytest.mark.django_db(databases="__all__")
@pytest.mark.usefixtures("database")
def test_within_the_block_all_of_it_works() -> None:
    with mirror.writable():
        row, is_new = Conversation.objects.get_or_create(tenant="default", relay_id="c1")
        assert is_new
        Conversation.objects.update_or_create(tenant="default", relay_id="c1", defaults={"status": "active"})
        Message.objects.bulk_create([Message(tenant="default", relay_id=f"m{n}", conversation=row) for n in range(3)])
        for message in row.messages.all():
            message.content = "Hello"
            message.save()
        texts = list(row.messages.all())
        texts[0].content = "Bye"
        Message.objects.bulk_update(texts, ["content"])
        row.tickets.create(tenant="default", relay_id="t1")
        row.tickets.update(status="open")
        async_to_sync(row.messages.filter(content="Bye").adelete)()
    assert Conversation.objects.get().status == "active"
    assert list(Message.objects.values_list("content", flat=True)) == ["Hello", "Hello"]
    with pytest.raises(ReadOnlyError):
        row.save()
    with mirror.writable():
        row.delete()
    assert not Message.objects.exists()
    assert Ticket.objects.get().conversation is None


def test_blocks_nest_and_end_by_an_error_too() -> None:
    with mirror.writable():
        with pytest.raises(ValueError, match="no"), mirror.writable():
            raise ValueError("no")
        mirror.writable()
        with pytest.raises(AttributeError):
            # Past the guard: it is the nothing that can't be saved.
            Conversation.objects.bulk_create([None])
    with pytest.raises(ReadOnlyError):
        Conversation.objects.update(status="closed")


def test_a_block_is_its_threads_own() -> None:
    refused = []

    def write() -> None:
        try:
            Conversation.objects.update(status="closed")
        except ReadOnlyError:
            refused.append(True)

    with mirror.writable():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert refused == [True]


def test_templates_and_managers_see_that_these_methods_write() -> None:
    """A template must never call them, and a manager has no ``delete``."""
    for name in ("create", "update", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "delete"):
        assert getattr(Conversation.objects.all(), name).alters_data is True, name
    assert not hasattr(Conversation.objects, "delete")
    assert Conversation.save.alters_data is True  # type: ignore[attr-defined]  # Django's mark
    assert Conversation.delete.alters_data is True  # type: ignore[attr-defined]  # Django's mark


def test_the_switch_loads_no_model() -> None:
    said = run(
        "import sys\nfrom bloonio_chat import mirror\n"
        "with mirror.writable(): pass\n"
        "print('django.db' in sys.modules, 'bloonio_chat.mirror.models' in sys.modules)"
    )
    assert said == "False False"
