"""What became of every event: which were lost, which were delivered twice, and whether a mishap explains it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from benchmarks.crashes.havoc import DATABASE, Mishap
from benchmarks.crashes.load import SLOW_RECEIVER_SECONDS, Tally
from benchmarks.crashes.site import Site
from bloonio_chat.inbox.outcomes import LONGEST_UNWRITTEN_SECONDS, MOST_UNWRITTEN
from tests.inbox.project import deeds

# A worker that is killed has not written down what receivers did in the last quarter of a second; to it come the
# receiver that ran when that was over, and the writing itself, for which a busy machine is given a second.
WINDOW_SECONDS: Final = LONGEST_UNWRITTEN_SECONDS + SLOW_RECEIVER_SECONDS + 1.0


@dataclass
class Account:
    """The figures. ``bound`` is how many events the mishaps of this run could have had delivered twice at the most."""

    events: int
    tally: Tally
    mishaps: Sequence[Mishap]
    states: Counter[str]
    lost: list[str]
    lost_rows: list[str]
    twice: int
    unexplained: list[str]
    bound: int
    atomic_lost: list[str]
    atomic_twice: list[str]
    overlapping: int
    settled_after: float

    def problems(self) -> list[str]:
        """Return what must not be: empty, if the run shows what it is to show."""
        found = {
            "acknowledged events have no row": self.lost_rows,
            "acknowledged events were not delivered": self.lost,
            "acknowledged events did not reach the atomic receiver": self.atomic_lost,
            "events reached the atomic receiver twice": self.atomic_twice,
            "events were delivered twice, and no mishap explains it": self.unexplained,
        }
        lines = [f"{len(ids)} {what}: {', '.join(ids[:10])}" for what, ids in found.items() if ids]
        unanswered = self.events - len(self.tally.acknowledged)
        if unanswered:
            lines.append(f"{unanswered} of {self.events} events were never acknowledged")
        if self.twice > self.bound:
            lines.append(f"{self.twice} events were delivered twice, and the bound is {self.bound}")
        if set(self.states) != {"delivered"}:
            lines.append(f"not all events are delivered: {dict(self.states)}")
        return lines

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the table."""
        yield "events", f"{self.events}"
        yield "posted", f"{self.tally.answers.total()} times"
        for answer, count in sorted(self.tally.answers.items()):
            yield f"  answered {answer}", f"{count}"
        yield "acknowledged", f"{len(self.tally.acknowledged)}"
        times = sorted(self.tally.seconds)
        yield "  median, 99 %", f"{median(times) * 1000:.0f} ms, {quantiles(times, n=100)[98] * 1000:.0f} ms"
        for kind, count in sorted(Counter(mishap.kind for mishap in self.mishaps).items()):
            yield kind, f"{count} times"
        yield "worker processes killed", f"{sum(len(mishap.killed) for mishap in self.mishaps)}"
        yield "rows", ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        yield "all delivered after", f"{self.settled_after:.0f} s from the last mishap"
        yield "acknowledged and lost", f"{len({*self.lost, *self.lost_rows, *self.atomic_lost})}"
        yield "delivered twice", f"{self.twice}, and at most {self.bound} could be"
        yield "  unexplained", f"{len(self.unexplained)}"
        yield "atomic receiver called twice", f"{len(self.atomic_twice)}"
        yield "two of one conversation at once", f"{self.overlapping}"


def account(site: Site, *, events: int, tally: Tally, mishaps: Sequence[Mishap], settled_after: float) -> Account:
    """Count. Everything has to be at rest."""
    lines = deeds.read(site.deeds_path)
    done: dict[str, list[deeds.Deed]] = defaultdict(list)
    for deed in lines:
        if deed.what == deeds.DONE:
            done[deed.message_id].append(deed)
    rows = site.query("SELECT visitor_user_id, state FROM bloonio_chat_inbox_inboxevent")
    atomic = Counter(message_id for (message_id,) in site.query("SELECT message_id FROM project_deed"))
    known = {message_id for message_id, _ in rows}
    # All but the last delivery of each, which need not have been.
    too_many = [deed for its in done.values() for deed in its[:-1]]
    return Account(
        events=events,
        tally=tally,
        mishaps=mishaps,
        states=Counter(state for _, state in rows),
        lost=sorted(tally.acknowledged - set(done)),
        lost_rows=sorted(tally.acknowledged - known),
        twice=len(too_many),
        unexplained=[deed.message_id for deed in too_many if not any(_explains(one, deed) for one in mishaps)],
        bound=sum(_bound(mishap, lines) for mishap in mishaps),
        atomic_lost=sorted(tally.acknowledged - set(atomic)),
        atomic_twice=sorted(message_id for message_id, count in atomic.items() if count > 1),
        overlapping=_overlapping(lines, mishaps),
        settled_after=settled_after,
    )


def _explains(mishap: Mishap, deed: deeds.Deed) -> bool:
    """Return whether the mishap can have kept this deed from being written down."""
    if mishap.kind != DATABASE and deed.pid not in mishap.killed:
        return False
    return mishap.began - WINDOW_SECONDS <= deed.at <= mishap.ended + SLOW_RECEIVER_SECONDS


def _bound(mishap: Mishap, lines: Sequence[deeds.Deed]) -> int:
    """Return how many deeds the mishap can have kept from being written down, at the most.

    For each process: as many as it had done in that window, but never more than it may leave unwritten, and the one in
    work.
    """
    done = Counter(deed.pid for deed in lines if deed.what == deeds.DONE and _explains(mishap, deed))
    return sum(min(count, MOST_UNWRITTEN) + 1 for count in done.values())


def _overlapping(lines: Sequence[deeds.Deed], mishaps: Sequence[Mishap]) -> int:
    """Return how often a receiver was called for a conversation in which another process's was still in work."""
    killed_at = {pid: mishap.ended for mishap in mishaps for pid in mishap.killed}
    in_work: dict[str, deeds.Deed] = {}
    found = 0
    for deed in lines:
        if not deed.conversation_id:
            continue
        other = in_work.get(deed.conversation_id)
        if deed.what == deeds.BEGUN:
            if other is not None and other.pid != deed.pid and killed_at.get(other.pid, deed.at + 1) > deed.at:
                found += 1
            in_work[deed.conversation_id] = deed
        elif other is not None and other.pid == deed.pid:
            del in_work[deed.conversation_id]
    return found
