"""The one migration is what the models say, whatever the project's settings: no project has to write one."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"USE_TZ": False},
        {"LANGUAGE_CODE": "fr"},
        {"DEFAULT_AUTO_FIELD": "django.db.models.AutoField"},
    ],
    ids=str,
)
def test_no_migration_is_missing(settings: Any, others: dict[str, Any]) -> None:
    for name, value in others.items():
        setattr(settings, name, value)
    loader = MigrationLoader(None)
    changes = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(graph=loader.graph)
    assert "bloonio_chat_mirror" not in changes


def test_there_is_one() -> None:
    assert [name for label, name in MigrationLoader(None).disk_migrations if label == "bloonio_chat_mirror"] == [
        "0001_initial"
    ]
