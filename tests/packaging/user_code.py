"""What a user writes, as a user's type checker sees it: .ci/run checks this without any plugin of ours."""

from __future__ import annotations

from typing import Any

from bloonio_chat import (
    AsyncChatRelayClient,
    ChatRelayClient,
    ChatRelaySettings,
    Conversation,
    Message,
    Ticket,
    WebhookEvent,
    get_chat_client,
    signals,
)

from_the_environment = ChatRelaySettings
written_out = {
    "one": lambda: ChatRelaySettings(
        base_url="https://chat-relay.example.com",
        tenant_id="0190",
        tenant_secret="sk",
        tenant_secret_fallbacks=["sk_old"],
    ),
    "none": lambda: ChatRelaySettings(),
}


def call(client: ChatRelayClient) -> list[Message]:
    conversation: Conversation = client.create_conversation(visitor_user_id="user-123", metadata={"order": 7})
    message: Message = client.send_message(conversation.id, content="Where is my order?")
    tickets: list[Ticket] = list(client.iter_tickets(status="open"))
    return [message, *client.list_messages(tickets[0].conversation_id or "", limit=5)]


async def call_later(client: AsyncChatRelayClient) -> Conversation:
    async for ticket in client.iter_tickets():
        await client.fetch_ticket(ticket.id)
    return await client.fetch_conversation("c1")


def receive(sender: type[WebhookEvent], event: WebhookEvent, tenant: str, **kwargs: Any) -> None:
    client = get_chat_client(tenant)
    event.bind(lambda: client)
    event.fetch_message()


signals.message_received.connect(receive)
