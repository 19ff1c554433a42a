"""The mirror ends as the relay is, whatever goes wrong and however events come; a sync survives ``kill -9``."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections

from bloonio_chat import mirror
from bloonio_chat.callbacks.ports import ports
from bloonio_chat.inbox import handover
from bloonio_chat.inbox import tasks as inbox_tasks
from bloonio_chat.inbox.models import InboxEvent
from bloonio_chat.inbox.processing import process
from bloonio_chat.mirror import hydration, pacing, rates
from bloonio_chat.mirror import tasks as mirror_tasks
from bloonio_chat.mirror.hydration import hydrate
from bloonio_chat.mirror.marks import count_marked
from bloonio_chat.mirror.models import Conversation, Message, SyncCheckpoint, Ticket
from bloonio_chat.mirror.sync import sync
from bloonio_chat.mirror.times import aware_now
from bloonio_chat.mirror.verifying import verify
from bloonio_chat.sandbox import SandboxRelay
from bloonio_chat.sandbox.routes import ROUTES
from tests.databases import NAMES
from tests.databases import database as database
from tests.mirror.at_relay import Lines, Time
from tests.mirror.equality import differing
from tests.whole.celery_worker import Worker, celery_worker
from tests.whole.faults import every_fault_struck, let_everything_go_wrong, probability_for
from tests.whole.mirrored import chat

SEED = int(os.environ.get("SEED", "20261122"))
# A thousand in the long run: CONVERSATIONS=1000.
CONVERSATIONS = int(os.environ.get("CONVERSATIONS", "40"))
OPTIONS = {"tenant": None, "since": None, "marked": False, "restart": False, "dry_run": False}
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.timeout(900)]


@pytest.fixture
def relay(database: str, site: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxRelay]:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "the whole mirror",
            "OPTIONS": {"MAX_ENTRIES": 1_000_000},
        }
    }
    monkeypatch.setattr(rates, "CALLS_PER_MINUTE", 60_000)
    apps.get_app_config("bloonio_chat_mirror").ready()
    with SandboxRelay(
        callback_base_url=site, rate_limit_per_min=None, callback_pauses=[0.05] * 300, seed=SEED
    ) as relay:
        configure(settings, relay)
        let_everything_go_wrong(relay, probability_for(CONVERSATIONS))
        yield relay


def configure(settings: Any, relay: SandboxRelay) -> None:
    settings.BLOONIO_CHAT_BASE_URL = relay.base_url
    settings.BLOONIO_CHAT_TENANT_ID = relay.tenant_id
    settings.BLOONIO_CHAT_TENANT_SECRET = relay.tenant_secret


# ---- every way of delivery ----------------------------------------------------------------------------------------


def by_sync(settings: Any, until_the_end: ExitStack) -> Callable[[], None]:
    """No inbox: events are projected in the request, and nothing is fetched."""

    def settle() -> None:
        assert count_marked("default") > 0
        its_time = Time()
        # What was marked just now is fetched by itself; what was marked some time ago is in the lists.
        its_time.now += 50
        for _ in range(20):
            sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
            if not count_marked("default"):
                return
            # A row at which the relay failed in spite of all patience waits for the next sync.
            its_time.now += 3600
        raise AssertionError(f"{count_marked('default')} rows are marked still")

    return settle


def inline(settings: Any, until_the_end: ExitStack) -> Callable[[], None]:
    """The inbox, and threads of the web process that deliver and fetch."""
    settings.BLOONIO_CHAT_INBOX_RUNNER = "inline"
    apps.get_app_config("bloonio_chat_inbox").ready()

    def settle() -> None:
        assert handover.join(120)
        deliver_and_fetch()

    return settle


def by_process(settings: Any, until_the_end: ExitStack) -> Callable[[], None]:
    """The inbox, and two workers beside the web process."""
    settings.BLOONIO_CHAT_INBOX_RUNNER = "command"
    apps.get_app_config("bloonio_chat_inbox").ready()
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            process()
            over.wait(0.05)
        connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()

    def settle() -> None:
        over.set()
        for worker in workers:
            worker.join()
        deliver_and_fetch()

    return settle


def by_celery(settings: Any, until_the_end: ExitStack) -> Callable[[], None]:
    """The inbox, and a Celery worker to whose broker the web process publishes; it also fetches, and syncs."""
    worker = until_the_end.enter_context(celery_worker())
    settings.BLOONIO_CHAT_INBOX_RUNNER = "celery"
    apps.get_app_config("bloonio_chat_inbox").ready()
    patch = until_the_end.enter_context(pytest.MonkeyPatch.context())

    def settle() -> None:
        assert handover.join(120)
        # From now on the mirror's own task fetches: all of it once more, as after a time in which nobody did.
        ports.hydrate = None
        # A delivery that is fetching already would go on with what is marked now.
        worker.wait_until_idle()
        with mirror.writable():
            Conversation.objects.update(marked_at=aware_now(), waiting_since=aware_now())
        its_time = Time()
        let_time_pass_quickly(patch, its_time)
        settle_by_tasks(worker, its_time)
        assert sum(worker.returned("bloonio_chat.mirror.hydrate")) >= CONVERSATIONS
        sync_by_tasks(worker)
        # Nobody else has delivered anything, and not all of it was left to the sweep.
        worker.wait_until_idle()
        published, swept = (sum(worker.returned(f"bloonio_chat.inbox.{name}")) for name in ("deliver", "drain"))
        assert published > 0
        assert published + swept >= InboxEvent.objects.count() > CONVERSATIONS

    return settle


def let_time_pass_quickly(patch: pytest.MonkeyPatch, its_time: Time) -> None:
    """Have tasks wait for a relay that failed in a time of their own."""
    patient = functools.partial(hydration.hydrate_patiently, clock=its_time, sleep=its_time.sleep)
    patch.setattr(hydration, "hydrate_patiently", patient)
    paced = functools.partial(pacing.Pacing, clock=its_time, sleep=its_time.sleep)
    patch.setattr(mirror_tasks, "Pacing", paced)


def settle_by_tasks(worker: Worker, its_time: Time) -> None:
    """What beat does, until there is nothing left to do."""
    for _ in range(500):
        worker.run(inbox_tasks.sweep, mirror_tasks.hydrate, mirror_tasks.hydrate)
        if not InboxEvent.objects.exclude(due_ms=None).exists() and not count_marked("default"):
            return
        its_time.now += 20
    raise AssertionError(f"{count_marked('default')} rows are marked still")


def sync_by_tasks(worker: Worker) -> None:
    """Lose every ticket, and have them read from the relay's lists."""
    with mirror.writable():
        lost, _ = Ticket.objects.all().delete()
    assert lost
    worker.run(mirror_tasks.sync)
    worker.wait_until(lambda: bool(worker.returned("bloonio_chat.mirror.sync_slice")), "a slice was read")
    worker.wait_until(lambda: not SyncCheckpoint.objects.filter(finished_at=None).exists(), "the sync has ended")
    assert worker.returned("bloonio_chat.mirror.sync") == [1]
    assert Ticket.objects.count() == lost


def deliver_and_fetch() -> None:
    """What a sweep does, until there is nothing left to do; time passes quickly."""
    its_time = Time()
    ports.hydrate = functools.partial(hydrate, clock=its_time)
    for _ in range(500):
        process()
        if not InboxEvent.objects.exclude(due_ms=None).exists() and not count_marked("default"):
            return
        # Some wait for a relay that failed.
        its_time.now += 20
    raise AssertionError(f"{count_marked('default')} rows are marked still")


WAYS = {"without the inbox": by_sync, "inline": inline, "process": by_process, "celery": by_celery}
# Each way once, each database at least once; all twelve where EVERYWHERE=1 says so.
PAIRS = [
    ("postgresql", "inline"),
    ("mariadb", "process"),
    ("sqlite", "without the inbox"),
    ("postgresql", "celery"),
]
if os.environ.get("EVERYWHERE") == "1":
    PAIRS = [(name, way) for name in NAMES for way in WAYS]


@pytest.mark.parametrize(("database", "way"), PAIRS, indirect=["database"])
def test_mirror_and_relay_are_equal_field_by_field(relay: SandboxRelay, way: str, settings: Any) -> None:
    with ExitStack() as until_the_end:
        settle = WAYS[way](settings, until_the_end)
        try:
            chat(relay, CONVERSATIONS, seed=SEED)
            relay.wait(timeout_seconds=600)
        finally:
            settle()

    assert {callback.outcome for callback in relay.callbacks} == {"delivered"}
    assert len(relay.conversations) == CONVERSATIONS
    assert max(each.claim_count for each in relay.escalations.values()) > 1
    assert differing(relay) == []
    its_time = Time()
    its_time.now += 600
    report = Lines()
    counts = verify({"tenant": None, "sample": None}, report, clock=its_time, sleep=its_time.sleep)
    assert report.lines == [line for line in report.lines if "Waiting" in line]
    assert counts == {
        "equal": len(relay.conversations) + len(relay.messages) + len(relay.tickets),
        "missing": 0,
        "stale": 0,
        "extra": 0,
        "unknown": 0,
    }
    every_fault_struck(relay)


# ---- kill -9 ------------------------------------------------------------------------------------------------------

_SYNC = """
import json, os, sys
from django.conf import settings
given = json.loads(os.environ["GIVEN"])
settings.configure(
    SECRET_KEY="only-for-tests", USE_TZ=True, INSTALLED_APPS=["bloonio_chat", "bloonio_chat.mirror"], **given
)
if given["DATABASES"]["default"]["ENGINE"].endswith("mysql"):
    import tests.databases
import django
django.setup()
from django.core.management import call_command
from bloonio_chat.mirror import rates
from bloonio_chat.mirror.hydration import hydrate
rates.CALLS_PER_MINUTE = 60_000
call_command("bloonio_sync")
"""


def begin_sync(relay: SandboxRelay, alias: str) -> subprocess.Popen[bytes]:
    """``bloonio_sync`` in a process of its own, on this test's database."""
    kept = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = {name: connections[alias].settings_dict[name] for name in kept}
    database["NAME"] = str(database["NAME"])
    given = {
        "DATABASES": {"default": database},
        "BLOONIO_CHAT_BASE_URL": relay.base_url,
        "BLOONIO_CHAT_TENANT_ID": relay.tenant_id,
        "BLOONIO_CHAT_TENANT_SECRET": relay.tenant_secret,
    }
    environment = {**os.environ, "GIVEN": json.dumps(given), "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.Popen(
        [sys.executable, "-c", _SYNC], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def rows() -> dict[str, list[Any]]:
    """What the mirror's rows say, but for when they were read."""
    read = ("id", "conversation_id", "fetched_at", "synced_at", "synced_from")
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name not in read}
            for row in model._default_manager.order_by("relay_id").values()
        ]
        for model in (Conversation, Message, Ticket)
    }


class Gate:
    """Holds who asks for messages, once so many calls have been answered."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self._work = work
        self._left = 0
        self._opened = threading.Event()
        self.reached = threading.Event()
        self.open()

    def shut_after(self, calls: int) -> None:
        self._left = calls
        self.reached.clear()
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    def __call__(self, *args: Any) -> Any:
        if self._left == 0:
            self.reached.set()
            assert self._opened.wait(90)
        else:
            self._left -= 1
        return self._work(*args)


@pytest.mark.usefixtures("database")
def test_a_sync_that_is_killed_is_gone_on_with_and_ends_in_the_same_rows(
    database: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps.get_app_config("bloonio_chat_mirror").ready()
    with SandboxRelay(rate_limit_per_min=None, seed=SEED) as relay:
        configure(settings, relay)
        for number in range(115):
            conversation = relay.open_conversation(f"visitor-{number % 20}", metadata={"number": number})
            relay.say(conversation.id, "Let me talk to a human." if number % 4 == 0 else "Hello")

        gate = Gate(ROUTES["/fetch/messages"].work)
        monkeypatch.setitem(ROUTES, "/fetch/messages", replace(ROUTES["/fetch/messages"], work=gate))
        # In the middle of the first page, and in that of the second.
        for calls in (30, 75):
            gate.shut_after(calls)
            sync_process = begin_sync(relay, database)
            is_there = gate.reached.wait(60)
            os.kill(sync_process.pid, signal.SIGKILL)
            said = sync_process.communicate(timeout=60)[0].decode()
            gate.open()
            assert is_there, said
            assert SyncCheckpoint.objects.filter(finished_at=None).exists()
            assert 0 < Conversation.objects.count() < 115
        last = begin_sync(relay, database)
        said = last.communicate(timeout=120)[0].decode()
        assert last.returncode == 0, said
        assert "Mirror: " in said

        assert differing(relay, operators=False) == []
        # Of what a killed run has read, at most the call that it was killed in was made again.
        asked = sum(call.operation == "list_messages" for call in relay.calls)
        assert asked <= 115 + 2
        resumed = rows()

        for model in (Message, Ticket, Conversation, SyncCheckpoint):
            model._default_manager.all()._raw_delete(database)
        its_time = Time()
        sync(OPTIONS, Lines(), clock=its_time, sleep=its_time.sleep)
        assert rows() == resumed
