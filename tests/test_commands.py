"""The commands: what they pass to the ports, what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand, OutputWrapper
from django.db import OperationalError, connections

from bloonio_chat.callbacks.ports import Report, ports
from bloonio_chat.inbox.models import InboxSweep
from bloonio_chat.management.progress import SECONDS_BETWEEN_LINES, Progress
from bloonio_chat.sdk.errors import ChatRelayServerError
from tests.databases import RoomsRouter

NEED_A_ROOM = {
    "bloonio_process_inbox": "bloonio_chat.inbox",
    "bloonio_inbox_stats": "bloonio_chat.inbox",
    "bloonio_prune": "bloonio_chat.inbox",
    "bloonio_sync": "bloonio_chat.mirror",
    "bloonio_verify": "bloonio_chat.mirror",
}


def told(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(("command", "room"), NEED_A_ROOM.items())
def test_a_command_whose_room_is_missing_names_it(command: str, room: str) -> None:
    with pytest.raises(CommandError, match=room):
        call_command(command)


@pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])
def test_a_command_whose_tables_are_missing_says_what_to_do(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoomsRouter, "alias", "sqlite")
    apps.get_app_config("bloonio_chat_inbox").ready()
    with connections["sqlite"].schema_editor() as editor:
        editor.delete_model(InboxSweep)
    try:
        with pytest.raises(CommandError, match=r'no table bloonio_chat_inbox_inboxsweep: run "manage.py migrate"'):
            call_command("bloonio_inbox_stats")
    finally:
        with connections["sqlite"].schema_editor() as editor:
            editor.create_model(InboxSweep)
    # What fails for another reason is not explained away.
    monkeypatch.setattr(ports, "inbox_stats", broken)
    with pytest.raises(OperationalError):
        call_command("bloonio_inbox_stats")


def broken() -> Mapping[str, Any]:
    raise OperationalError("disk I/O error")


@pytest.mark.parametrize("number", ["0", "-1", "x", "\u0663"])
def test_a_number_that_is_none_is_refused_in_words(number: str) -> None:
    with pytest.raises(CommandError, match="a whole number, 1 at least, is expected"):
        call_command("bloonio_process_inbox", f"--limit={number}")


def test_forget_without_any_room_says_so() -> None:
    with pytest.raises(CommandError, match="installed"):
        call_command("bloonio_forget", "--visitor", "user-123")


# ---- bloonio_process_inbox ----------------------------------------------------------------------------------------


def test_process_inbox_passes_what_was_asked_and_says_what_came_of_it() -> None:
    seen: dict[str, Any] = {}

    def process_inbox(options: Mapping[str, Any], report: Report) -> Mapping[str, int]:
        seen.update(options)
        report.total(3)
        report.advance(3)
        report.line("a line")
        return {"delivered": 2, "failed": 1, "dead": 0}

    ports.process_inbox = process_inbox
    assert told("bloonio_process_inbox", "--retry-failed", "--limit", "7") == (
        "a line\nEvents: 2 delivered, 1 failed, 0 dead.\n"
    )
    wanted = {"forever": False, "retry_failed": True, "retry_dead": False, "limit": 7, "event": None}
    assert {name: seen[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "arguments", [("--forever", "--limit", "1"), ("--forever", "--event", "1"), ("--limit", "0"), ("--event", "x")]
)
def test_process_inbox_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    ports.process_inbox = lambda options, report: pytest.fail("it must not run")
    with pytest.raises(CommandError):
        call_command("bloonio_process_inbox", *arguments)


def test_process_inbox_says_why_an_event_can_not_be_processed() -> None:
    def process_inbox(options: Mapping[str, Any], report: Report) -> Mapping[str, int]:
        raise ValueError(f"There is no event {options['event']} in the inbox.")

    ports.process_inbox = process_inbox
    with pytest.raises(CommandError, match="no event 5 in"):
        call_command("bloonio_process_inbox", "--event", "5")


# ---- bloonio_inbox_stats ------------------------------------------------------------------------------------------


def test_stats_are_for_people_or_for_programs() -> None:
    figures = {"states": {"received": 2, "dead": 0}, "oldest_seconds": None}
    ports.inbox_stats = lambda: figures
    assert json.loads(told("bloonio_inbox_stats", "--json")) == figures
    lines = [line.split() for line in told("bloonio_inbox_stats").splitlines()]
    assert lines == [["states:", "received", "2"], ["states:", "dead", "0"], ["oldest_seconds", "-"]]


# ---- bloonio_prune, bloonio_forget --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ((), "one: 4 erased bodies.\ntwo: nothing.\n"),
        (("--dry-run",), "one: would be 4 erased bodies.\ntwo: would be nothing.\n"),
    ],
)
def test_prune_asks_every_room(arguments: tuple[str, ...], printed: str) -> None:
    asked = []

    def pruning(name: str, counts: dict[str, int]) -> Callable[[bool, Report], Mapping[str, int]]:
        def prune(dry_run: bool, report: Report) -> Mapping[str, int]:
            asked.append((name, dry_run))
            return counts

        return prune

    ports.prune["two"] = pruning("two", {})
    ports.prune["one"] = pruning("one", {"erased_bodies": 4})
    assert told("bloonio_prune", *arguments) == printed
    assert asked == [("one", bool(arguments)), ("two", bool(arguments))]


class Room:
    """Knows one conversation of its own, and is told of those that the others know."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.erased: dict[str, Any] = {}

    def conversations(self, *, tenant: str | None, visitor: str) -> set[tuple[str, str]]:
        return {(tenant or "default", self.conversation)}

    def erase(self, **what: Any) -> Mapping[str, int]:
        self.erased = what
        return {"rows": 1}


def test_forget_erases_in_every_room_what_any_of_them_knows() -> None:
    inbox, mirror = Room("c1"), Room("c2")
    ports.forget.update(inbox=inbox, mirror=mirror)
    assert told("bloonio_forget", "--visitor", "user-123") == "inbox: 1 rows.\nmirror: 1 rows.\n"
    everything = {
        "tenant": None,
        "visitor": "user-123",
        "conversations": {("default", "c1"), ("default", "c2")},
        "dry_run": False,
    }
    assert inbox.erased == mirror.erased == everything


@pytest.mark.parametrize("arguments", [("--visitor", " "), ("--visitor", "user-123", "--tenant", "nobody"), ()])
def test_forget_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    room = Room("c1")
    ports.forget["inbox"] = room
    with pytest.raises(CommandError):
        call_command("bloonio_forget", *arguments)
    assert not room.erased


# ---- bloonio_sync, bloonio_verify ---------------------------------------------------------------------------------


def test_sync_passes_what_was_asked() -> None:
    seen: dict[str, Any] = {}

    def sync(options: Mapping[str, Any], report: Report) -> Mapping[str, int]:
        seen.update(options)
        return {"conversations": 2}

    ports.sync = sync
    assert (
        told("bloonio_sync", "--tenant", "shop-b", "--since", "2026-01-02", "--dry-run") == "Mirror: 2 conversations.\n"
    )
    wanted = {"tenant": "shop-b", "since": "2026-01-02", "marked": False, "restart": False, "dry_run": True}
    assert {name: seen[name] for name in wanted} == wanted


@pytest.mark.parametrize("command", ["bloonio_sync", "bloonio_verify"])
def test_a_relay_that_fails_is_an_error_without_a_traceback(command: str) -> None:
    def fail(options: Mapping[str, Any], report: Report) -> Mapping[str, int]:
        raise ChatRelayServerError("The relay failed.", operation="list_tickets", status_code=503)

    ports.sync = ports.verify = fail
    with pytest.raises(CommandError, match="The relay failed"):
        call_command(command)


@pytest.mark.parametrize(
    ("what", "mended_by"),
    [
        ("missing", "bloonio_sync --restart"),
        ("stale", "bloonio_sync --restart"),
        ("extra", r"row\.delete\(\)"),
        ("tenants_not_compared", "the log of bloonio_chat.mirror names them"),
    ],
)
def test_verify_ends_with_an_error_where_they_differ(what: str, mended_by: str) -> None:
    ports.verify = lambda options, report: {"equal": 5, what: 1}
    with pytest.raises(CommandError, match=mended_by):
        call_command("bloonio_verify", stdout=StringIO())


def test_verify_is_content_where_they_do_not() -> None:
    ports.verify = lambda options, report: {"equal": 5, "missing": 0, "stale": 0, "extra": 0, "unknown": 2}
    assert told("bloonio_verify") == "Mirror: 5 equal, 0 missing, 0 stale, 0 extra, 2 unknown.\n"


# ---- progress -----------------------------------------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def command(out: StringIO) -> BaseCommand:
    found = BaseCommand()
    found.stdout = OutputWrapper(out)
    return found


def test_on_a_terminal_there_is_a_bar() -> None:
    out = Terminal()
    with Progress(command(out), unit="events") as progress:
        progress.total(2)
        progress.advance()
        progress.line("something happened")
        progress.advance()
    assert "2/2" in out.getvalue()
    assert "something happened\n" in out.getvalue()


def test_elsewhere_there_is_a_line_now_and_then() -> None:
    out, time = StringIO(), [0.0]
    with Progress(command(out), unit="events", monotonic=lambda: time[0]) as progress:
        progress.total(30)
        progress.advance(10)
        time[0] += SECONDS_BETWEEN_LINES
        progress.advance(10)
        progress.advance(10)
    assert out.getvalue() == "20 of 30 events\n"


def test_at_verbosity_0_there_is_nothing() -> None:
    out = Terminal()
    with Progress(command(out), unit="events", verbosity=0) as progress:
        progress.total(1)
        progress.advance()
        progress.line("nobody asked")
    assert out.getvalue() == ""
