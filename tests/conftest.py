"""What every test gets: a clean cache and configuration, and a look at all that it logged."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from tests import databases, services
from tests.secrets import MARK

# A signature is 64 hexadecimal digits, a token of the relay is a JWT.
_SIGNATURE_OR_TOKEN = re.compile(r"\b[0-9a-f]{64}\b|\beyJ[\w-]{8,}")


# A busy machine is no failure of what is tested.
hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Add the databases that answer: importing the settings alone asks no server."""
    from django.conf import settings
    from django.db import connections

    settings.DATABASES.update(databases.available())
    # They were read before, and this gives the new ones their defaults.
    connections.configure_settings(settings.DATABASES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test that runs once on each database that one and those in memory: what it may use has to be emptied."""
    for item in items:
        callspec, marker = getattr(item, "callspec", None), item.get_closest_marker("django_db")
        name = None if callspec is None else callspec.params.get("database")
        if name is not None and marker is not None and marker.kwargs.get("databases") == "__all__":
            own = {**marker.kwargs, "databases": ["default", "other", name]}
            item.add_marker(pytest.mark.django_db(*marker.args, **own), append=False)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{logging.Formatter().format(record)} {vars(record)}")


@pytest.fixture(autouse=True)
def no_secret_in_any_log() -> Iterator[None]:
    """Fail the test whose log, from any logger at any level, shows a secret, a signature or a token."""
    collector = _Collector()
    root = logging.getLogger()
    level = root.level
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(collector)
    root.setLevel(level)
    shown = [line for line in collector.lines if MARK in line or _SIGNATURE_OR_TOKEN.search(line)]
    assert not shown, f"secrets in the log: {shown}"


@pytest.fixture(scope="session", autouse=True)
def known_to_have_json(django_db_blocker: Any) -> None:
    """Have SQLite asked whether it knows JSON, which Django's checks do once, and which is no test's access."""
    from django.db import connections

    with django_db_blocker.unblock():
        assert connections["default"].features.supports_json_field
        connections["default"].close()
    for connection in connections.all():
        if connection.vendor == "sqlite":
            # Not asked: processes that make one file at the same time, in WAL mode, lock each other out.
            vars(connection.features)["supports_json_field"] = True


@pytest.fixture(autouse=True)
def fresh_state(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty the cache, and let no tenant, client, receiver or language of one test reach the next."""
    monkeypatch.delenv(services.VARIABLE, raising=False)
    from django.core.cache import cache
    from django.dispatch import Signal
    from django.utils import translation

    from bloonio_chat import conf, signals
    from bloonio_chat.callbacks.ports import ports

    cache.clear()
    conf.reset()
    # The rooms are installed; a test of one calls its ready() again.
    vars(ports).update(vars(type(ports)()))
    every_signal = [value for value in vars(signals).values() if isinstance(value, Signal)]
    before = [list(signal.receivers) for signal in every_signal]
    yield
    for signal, receivers in zip(every_signal, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()
    # LocaleMiddleware leaves the visitor's behind.
    translation.deactivate()
