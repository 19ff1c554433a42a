"""The mirror as the project has it, on each database."""

from __future__ import annotations

import pytest
from django.apps import apps

from tests.databases import database as database
from tests.mirror.at_relay import its_time as its_time
from tests.mirror.at_relay import limited as limited
from tests.mirror.at_relay import many_calls as many_calls
from tests.mirror.at_relay import relay as relay


@pytest.fixture(autouse=True)
def mirror() -> None:
    """Plug the room in."""
    apps.get_app_config("bloonio_chat_mirror").ready()
