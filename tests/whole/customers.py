"""Scripted customers, who reach the relay through a client that often can't tell whether it was heard.

They do what a careful project does: where ``maybe_processed`` is true they look before they say a thing again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bloonio_chat import ChatRelayClient, ChatRelayError, Conversation, Message, MessageRole
from bloonio_chat.sandbox import SandboxRelay

PATIENCE = 50

T = TypeVar("T")


@dataclass
class Tally:
    """What one customer did, as far as the client could tell."""

    visitor_user_id: str
    conversation_id: str
    said: list[str]
    wanted_human: bool


def play(number: int, client: ChatRelayClient, relay: SandboxRelay) -> Tally:
    """One conversation: a question for all, a human for every second, an operator who changes his mind for those."""
    visitor = f"visitor-{number}"
    conversation = _open(client, visitor)
    said = ["How long does a parcel take to be delivered?"]
    _say(client, conversation.id, said[0])
    wants_human = number % 2 == 0
    if wants_human:
        said.append("Let me talk to a human.")
        _say(client, conversation.id, said[1])
        relay.claim(conversation.id)
        relay.release(conversation.id)
        relay.claim(conversation.id)
        relay.answer(conversation.id, f"Parcel {number} is on its way.")
        if number % 4 == 0:
            relay.resolve(conversation.id)
    return Tally(visitor, conversation.id, said, wants_human)


def _open(client: ChatRelayClient, visitor: str) -> Conversation:
    for _ in range(PATIENCE):
        try:
            return client.create_conversation(visitor_user_id=visitor, locale="en")
        except ChatRelayError as error:
            if error.maybe_processed and (found := _found(client, visitor)):
                return found
    raise AssertionError(f"no conversation for {visitor}")


def _found(client: ChatRelayClient, visitor: str) -> Conversation | None:
    return next(iter(insist(lambda: client.list_conversations(visitor_user_id=visitor))), None)


def _say(client: ChatRelayClient, conversation_id: str, content: str) -> None:
    for _ in range(PATIENCE):
        try:
            client.send_message(conversation_id, content=content)
        except ChatRelayError as error:
            if error.maybe_processed and content in _contents(client, conversation_id):
                return
        else:
            return
    raise AssertionError(f"{content!r} could not be said")


def _contents(client: ChatRelayClient, conversation_id: str) -> list[str]:
    messages: list[Message] = insist(lambda: client.list_messages(conversation_id))
    return [message.content for message in messages if message.role == MessageRole.VISITOR]


def insist(read: Callable[[], T]) -> T:
    """Read until it is answered: reads do no harm."""
    for _ in range(PATIENCE):
        try:
            return read()
        except ChatRelayError as error:
            problem = error
    raise AssertionError(f"never answered: {problem}")
