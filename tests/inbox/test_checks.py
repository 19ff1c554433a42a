"""The inbox's system checks: when each speaks, when it is silent, and that Django runs them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from celery import Celery, _state
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connections

from bloonio_chat import signals
from bloonio_chat.inbox import checks, sweeping
from bloonio_chat.inbox.models import InboxSweep
from tests.databases import RoomsRouter
from tests.inbox.rows import add
from tests.secrets import MARK

needs_databases = pytest.mark.django_db(databases="__all__")

IDS = ["E006", "E007", "W005", "W006", "W007", "W008", "W009", "W010"]


@pytest.fixture(autouse=True)
def no_celery_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which nobody has made one."""
    monkeypatch.setattr(_state, "_apps", set())
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr("celery._state._tls.current_app", None)
    for variable in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.delenv(variable, raising=False)


def found(identity: str, **options: Any) -> list[CheckMessage]:
    # Of no database unless asked: Django's own checks of models would have a look at each.
    messages = run_checks(**{"databases": [], **options})
    ours = [message for message in messages if str(message.id).startswith("bloonio_chat.")]
    for message in ours:
        assert message.hint
        assert MARK not in f"{message.msg}{message.hint}"
    return [message for message in ours if message.id == f"bloonio_chat.{identity}"]


def said(identity: str, **options: Any) -> str:
    (message,) = found(identity, **options)
    return f"{message.msg} {message.hint}"


@pytest.fixture
def app() -> Iterator[Celery]:
    """The project's Celery, with what it needs."""
    app = Celery("shop", broker="redis://127.0.0.1:6379/0", set_as_current=False)
    app.set_default()
    yield app
    app.close()


def test_the_table_has_every_id() -> None:
    assert re.findall(r"^([EW]\d{3})  ", checks.__doc__ or "", flags=re.MULTILINE) == IDS


@pytest.mark.parametrize("runner", ["command", "tests.inbox.own_runners.mine"])
def test_a_project_without_faults_hears_nothing_and_no_database_is_asked(settings: Any, runner: str) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = runner
    for identity in IDS:
        assert found(identity, include_deployment_checks=True) == []


@needs_databases
def test_they_are_silent_where_the_room_is_not_installed(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "nonsense"
    assert len(found("E006")) == 1
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "bloonio_chat.inbox"]
    for identity in IDS:
        assert found(identity, databases=["default"]) == []


def test_they_are_silent_where_the_settings_can_not_be_read(settings: Any) -> None:
    settings.BLOONIO_CHAT_TENANT_SECRET = ""
    settings.BLOONIO_CHAT_INBOX_RUNNER = "nonsense"
    assert found("E006") == []
    assert len(found("E001")) == 1


# Django's own checks ask MariaDB for its version, once in a process.
@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        ("nonsense", "ImportError"),
        ("", "ImportError"),
        ("no.such.module", "ModuleNotFoundError"),
        ("tests.inbox.own_runners.nothing", "ImportError"),
        ("tests.inbox.own_runners.NOT_CALLABLE", "can't be called"),
        ("tests.inbox.broken_runner.mine", "RuntimeError"),
    ],
)
def test_e006_knows_what_is_no_runner(settings: Any, runner: str, reason: str) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = runner
    assert reason in said("E006")
    assert f"{runner!r}, which is no runner" in said("E006")
    assert "'inline', 'celery', 'command'" in said("E006")
    with pytest.raises(SystemCheckError, match="E006"):
        call_command("check", stderr=StringIO())


def test_e007_says_how_to_install_celery(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_has_celery", lambda: False)
    assert found("E007") == []
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    assert said("E007").endswith('which is not installed. pip install "django-bloonio-chat[celery]"')
    assert found("W006") == found("W008") == []
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "celery", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert len(found("E007")) == 1


def test_w005_warns_of_the_inline_runner_outside_debug(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    assert "bloonio_process_inbox --forever" in said("W005")
    settings.DEBUG = True
    assert found("W005") == []


def test_w006_wants_an_app(settings: Any) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    assert "from .celery import app as celery_app" in said("W006")
    assert vars(_state)["default_app"] is None, "the check made one up"


def test_w006_wants_a_broker(settings: Any, app: Celery) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    assert found("W006") == []
    for nowhere in (None, "", "memory://"):
        app.conf.update(broker_url=nowhere)
        assert "CELERY_BROKER_URL" in said("W006")


def test_w006_takes_a_broker_from_the_environment(settings: Any, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    app.conf.update(broker_url=None)
    monkeypatch.setenv("CELERY_BROKER_URL", f"amqp://shop:{MARK}@127.0.0.1//")
    assert found("W006") == []


def test_w006_warns_of_tasks_that_run_where_they_are_published(settings: Any, app: Celery) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    app.conf.task_always_eager = True
    assert "task_always_eager" in said("W006")
    settings.DEBUG = True
    assert found("W006") == []


def test_w006_survives_a_configuration_that_can_not_be_read(settings: Any, app: Celery) -> None:
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    app.config_from_object("tests.inbox.broken_runner", force=False)
    assert "can't be read (RuntimeError)" in said("W006")
    assert found("W008") == []


@pytest.mark.parametrize(
    ("limits", "lease", "warns"),
    [
        ({}, 60, False),
        ({"task_time_limit": 60}, 60, False),
        ({"task_time_limit": 61}, 60, True),
        ({"task_soft_time_limit": 300}, 60, True),
        ({"task_soft_time_limit": 50, "task_time_limit": 300}, 60, True),
        ({"task_soft_time_limit": 300, "task_time_limit": 50}, 60, False),
        ({"task_annotations": {"bloonio_chat.inbox.drain": {"time_limit": 300}}}, 60, True),
        ({"task_time_limit": 300, "task_annotations": {"*": {"time_limit": 60}}}, 60, False),
    ],
)
def test_w008_wants_a_lease_as_long_as_a_task(
    settings: Any, app: Celery, limits: dict[str, Any], lease: int, warns: bool
) -> None:
    settings.BLOONIO_CHAT_INBOX_LEASE_SECONDS = lease
    app.conf.update(limits)
    assert found("W008") == []
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    assert bool(found("W008")) is warns
    if warns:
        assert "BLOONIO_CHAT_INBOX_LEASE_SECONDS is 60" in said("W008")


# ---- W009 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "warns"),
    [
        ({}, False),
        ({"task_time_limit": 30}, False),
        ({"task_time_limit": 29}, True),
        ({"task_soft_time_limit": 29, "task_time_limit": 300}, True),
        ({"task_annotations": {"bloonio_chat.inbox.deliver": {"soft_time_limit": 29}}}, True),
        (
            {
                "task_time_limit": 29,
                "task_annotations": {f"bloonio_chat.inbox.{task}": {"time_limit": 60} for task in ("deliver", "drain")},
            },
            False,
        ),
    ],
)
def test_w009_wants_time_for_a_task(settings: Any, app: Celery, limits: dict[str, Any], warns: bool) -> None:
    app.conf.update(limits)
    assert found("W009") == []
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    assert bool(found("W009")) is warns
    assert not vars(app)["finalized"], "what the project connects to that afterwards would never be called"
    if warns:
        assert "cuts a task off after 29 s" in said("W009")


# ---- W010 --------------------------------------------------------------------------------------------------------


@needs_databases
def test_w010_tells_of_atomic_receivers_whose_database_is_another(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receiver(**_: Any) -> None: ...

    signals.message_received.connect(receiver, dispatch_uid="plain")
    assert found("W010") == []
    signals.message_received.connect(receiver, dispatch_uid="shop.count_question", atomic=True)
    told = said("W010")
    assert "(shop.count_question)" in told
    assert repr(database) in told
    monkeypatch.setattr(RoomsRouter, "alias", "default")
    assert found("W010") == []


# ---- W007 --------------------------------------------------------------------------------------------------------


@needs_databases
def test_w007_misses_the_sweep_once_something_came(database: str) -> None:
    assert found("W007", databases=[database]) == []
    add()
    assert "bloonio_process_inbox" in said("W007", databases=[database])
    assert found("W007", databases=[]) == found("W007") == []
    assert found("W007", databases=["other"]) == []
    sweeping.note_sweep()
    assert found("W007", databases=[database]) == []
    InboxSweep.objects.update(at_ms=int(time.time() * 1000) - 3_700_000)
    assert len(found("W007", databases=[database])) == 1


@needs_databases
def test_w007_is_silent_without_the_tables(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add()
    monkeypatch.setattr(connections[database].introspection, "table_names", lambda: ["something_else"])
    assert found("W007", databases=[database]) == []


@needs_databases
def test_w007_is_silent_where_the_database_is_gone(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add()

    def refuse() -> list[str]:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connections[database].introspection, "table_names", refuse)
    assert found("W007", databases=[database]) == []
