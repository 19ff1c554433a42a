"""What the sandbox's page shows. Everything from outside goes through ``Markup.format``, which escapes it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final, Protocol
from urllib.parse import quote

from markupsafe import Markup

from bloonio_chat.sandbox.callbacks import Callback
from bloonio_chat.sandbox.faults import Faults
from bloonio_chat.sandbox.objects import Conversation
from bloonio_chat.sandbox.pieces import attempt_line, joined, listed, newest, pill, table, time_of
from bloonio_chat.sandbox.stage import Stage

_TEMPLATE: Final = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))


class Shown(Protocol):
    """What the page needs of the relay, beside the stage."""

    seed: int
    faults: Faults

    @property
    def base_url(self) -> str:
        """Where the relay answers."""
        ...


@dataclass(frozen=True)
class View:
    """One rendering: ``token`` protects the forms, ``chosen`` is a conversation's id, ``notice`` what went wrong."""

    stage: Stage
    shown: Shown
    token: str
    chosen: str | None = None
    notice: str | None = None

    def render(self) -> str:
        """Return the whole page."""
        conversations = self.stage.conversations
        chosen = conversations.get(self.chosen or "") or next(reversed(conversations.values()), None)
        return _TEMPLATE.substitute(
            here=Markup("/?conversation={}").format(quote(chosen.id)) if chosen else "/",
            about=self._about(),
            notice=Markup('<p class="notice bad" role="alert">{}</p>').format(self.notice) if self.notice else "",
            conversations=self._conversations(conversations.values(), chosen),
            queue=self._queue(),
            conversation=self._conversation(chosen),
            tickets=self._tickets(),
            callbacks=self._callbacks(),
            faults=self._faults(),
        )

    # ---- sections ----------------------------------------------------------------------------------------------

    def _about(self) -> Markup:
        callbacks = ", ".join(t.callback_base_url or "nowhere" for t in self.stage.tenants.values())
        facts = {"Base URL": self.shown.base_url, "Tenant": ", ".join(self.stage.tenants), "Callbacks go to": callbacks}
        pairs = Markup("<div><dt>{}</dt><dd>{}</dd></div>")
        return Markup("<dl>{}</dl>").format(
            joined(pairs.format(*fact) for fact in (*facts.items(), ("Seed", self.shown.seed)))
        )

    def _conversations(self, conversations: Iterable[Conversation], chosen: Conversation | None) -> Markup:
        item = Markup(
            '<li><a href="/?conversation={}"{}><span class="row"><span class="name">{}</span>{}</span>'
            '<span class="soft">{} · {} · {}</span></a></li>'
        )
        items = [
            item.format(
                quote(each.id),
                Markup(' aria-current="true"') if each is chosen else "",
                each.visitor_display_name or each.visitor_user_id,
                pill(each.status),
                each.visitor_user_id,
                each.channel,
                time_of(each.updated_at),
            )
            for each in newest(conversations)
        ]
        form = self._form(
            "open",
            Markup(
                '<input class="text" name="visitor_user_id" placeholder="Visitor&rsquo;s id"'
                ' aria-label="Visitor&rsquo;s id" required>'
                '<input class="text" name="content" placeholder="First message" aria-label="First message">'
            ),
            "Open",
        )
        return listed(items, "No conversation yet.") + form

    def _queue(self) -> Markup:
        conversations, operators = self.stage.conversations, self.stage.operators
        item = Markup(
            '<li><a href="/?conversation={}"><span class="row"><span class="name">{}</span>{}</span>'
            '<span class="soft">{} · claims: {}{}</span></a></li>'
        )
        items = []
        for each in newest(self.stage.escalations.values()):
            if each.status != "RESOLVED":
                holder = operators.get(each.operator_id or "")
                who = conversations[each.conversation_id]
                by = f" · {holder.display_name}" if holder else ""
                name = who.visitor_display_name or who.visitor_user_id
                items.append(item.format(quote(who.id), name, pill(each.status), each.reason, each.claim_count, by))
        return listed(items, "Nobody waits for a human.")

    def _conversation(self, chosen: Conversation | None) -> Markup:
        if chosen is None:
            return Markup('<h2>No conversation</h2><p class="empty">Open one here, or with create_conversation.</p>')
        message = Markup('<div class="message {}"><small>{} · {}{}</small>{}</div>')
        messages = joined(
            message.format(
                each.role if each.role in ("visitor", "agent", "bot") else "system",
                each.role,
                time_of(each.created_at),
                "" if each.confidence is None else f" · confidence {each.confidence:.2f}",
                each.content,
            )
            for each in self.stage.messages_of(chosen.id)
        )
        escalation = self.stage.escalations.get(chosen.id)
        head = Markup('<div class="row"><h2>{}</h2><span>{} {}</span></div><div class="soft mono">{}</div>').format(
            chosen.visitor_display_name or chosen.visitor_user_id,
            pill(chosen.status),
            pill(escalation.status) if escalation else "",
            chosen.id,
        )
        return (
            head
            + Markup('<div class="messages">{}</div>').format(messages)
            + self._actions(chosen, escalation.status if escalation else None)
        )

    def _actions(self, chosen: Conversation, status: str | None) -> Markup:
        if chosen.status == "closed":
            return Markup('<p class="empty">Closed: a message would be answered with 409.</p>')
        its = Markup('<input type="hidden" name="conversation" value="{}">').format(chosen.id)
        text = Markup('<input class="text" name="content" placeholder="{0}" aria-label="{0}" required>')
        forms = self._form("say", its + text.format("Write as the visitor"), "Send", main=True)
        if status == "ASSIGNED":
            forms += self._form("answer", its + text.format("Answer as the operator"), "Answer", main=True)
            return forms + Markup('<div class="actions">{}{}</div>').format(
                self._form("release", its, "Release", kind="inline"),
                self._form("resolve", its, "Resolve", kind="inline"),
            )
        operators = Markup(
            '<select name="operator" aria-label="Operator"><option value="">Any operator</option>{}</select>'
        ).format(
            joined(
                Markup('<option value="{}">{}</option>').format(each.operator_id, each.display_name)
                for each in self.stage.operators.values()
                if each.sees(chosen)
            )
        )
        forms += self._form("answer", its + text.format("Claim and answer") + operators, "Answer", main=True)
        return forms + self._form("claim", its + operators, "Claim")

    def _tickets(self) -> Markup:
        operators = self.stage.operators
        row = Markup(
            '<tr><td class="mono">{}</td><td>{}</td><td>{}</td><td class="full">{}</td><td class="soft">{}</td>'
            '<td class="soft">due {}</td></tr>'
        )
        rows = []
        for each in newest(self.stage.tickets.values()):
            holder = operators.get(each.assignee_user_id or "")
            rows.append(
                row.format(
                    each.ticket_number,
                    pill(each.status),
                    each.priority,
                    each.subject,
                    holder.display_name if holder else "nobody",
                    f"{each.sla_due_at:%d %b %H:%M} UTC" if each.sla_due_at else "never",
                )
            )
        return table(("Number", "Status", "Priority", "Subject", "Assignee", "Due"), rows, "No ticket yet.")

    def _callbacks(self) -> Markup:
        rows = [self._callback(each) for each in newest(self.stage.callbacks)]
        return table(("#", "Event", "Visitor", "Outcome", "Attempts"), rows, "No callback yet.")

    def _callback(self, callback: Callback) -> Markup:
        body = callback.body.decode("utf-8", "replace")
        # What is no JSON is shown as it is.
        with contextlib.suppress(ValueError, RecursionError):
            body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        attempts = joined(
            Markup("<div>{}</div>").format(attempt_line(each, number))
            for number, each in enumerate(callback.attempts, start=1)
        )
        return Markup(
            '<tr><td class="mono">{}</td><td><details><summary>{}</summary><pre>{}</pre></details></td>'
            '<td class="soft">{}</td><td>{}</td><td class="soft full">{}</td></tr>'
        ).format(callback.number, callback.event_type, body, self._whose(callback), pill(callback.outcome), attempts)

    def _whose(self, callback: Callback) -> str:
        conversation = self.stage.conversations.get(callback.conversation_id or "")
        whose = "no conversation" if conversation is None else conversation.visitor_user_id
        return f"{whose}, twin of #{callback.duplicate_of}" if callback.duplicate_of else whose

    def _faults(self) -> Markup:
        faults = self.shown.faults
        sides = {"calls": faults.calls, "callbacks": faults.callbacks}
        option = Markup('<option value="{0}">{0} — {1}</option>')
        groups = joined(
            Markup('<optgroup label="{}">{}</optgroup>').format(
                side, joined(option.format(f"{side}.{name}", known[0]) for name, known in its.known.items())
            )
            for side, its in sides.items()
        )
        chooser = Markup(
            '<select name="fault" class="text" aria-label="Fault" style="max-width:100%;flex:1 1 260px">{}</select>'
            '<input class="short" name="amount" value="1x" aria-label="Probability, or a count such as 3x" required>'
            '<input class="short" name="value" placeholder="value" aria-label="Value: seconds or status">'
        ).format(groups)
        active = [
            Markup('<li><span class="mono">{}.{}</span> <span class="soft">{}{} · value {:g}</span></li>').format(
                side,
                each.name,
                f"{each.count} more times" if each.count else f"probability {each.probability:g}",
                f" · only {each.only}" if each.only else "",
                each.value,
            )
            for side, its in sides.items()
            for each in its.active()
        ]
        hint = Markup('<p class="soft">A probability such as 0.2, or a count such as 3x: the next three times.</p>')
        clear = self._form("clear-faults", Markup(""), "Clear all") if active else Markup("")
        return listed(active, "Nothing goes wrong.") + self._form("fault", chooser, "Set") + hint + clear

    def _form(self, action: str, fields: Markup, label: str, *, kind: str = "", main: bool = False) -> Markup:
        return Markup(
            '<form method="post" action="/page/{}" class="{}"><input type="hidden" name="token" value="{}">{}'
            '<button class="{}">{}</button></form>'
        ).format(action, kind, self.token, fields, "main" if main else "", label)


# ---- pieces ----------------------------------------------------------------------------------------------------
