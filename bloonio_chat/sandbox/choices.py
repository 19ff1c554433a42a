"""Everything that the protocol leaves open, and what the sandbox does about it: what a relay on FastAPI would do.

One place, so that a correction is one line. Each entry names the section of the protocol that is silent.
"""

from __future__ import annotations

from typing import Final

# ---- calls (§3) ------------------------------------------------------------------------------------------------

# In which order a call is checked: route (404), method (405), size (413), signature (401), suspension (403), rate
# (429), input (422), state (404, 409). FastAPI's router comes before its dependencies, those before the body. The code
# is `calls.Calls.answer`. A path with a trailing slash is another path (404): a redirect would lose the signed body.
#
# What the framework refuses (route, method, input) has FastAPI's `detail`; what the relay refuses has the envelope.
INPUT_REFUSED: Final = 422
# The three headers of a body larger than this are not even looked at.
LARGEST_BODY_BYTES: Final = 1024 * 1024
# §3 names the defaults of `limit`, not its largest value.
LARGEST_LIMIT: Final = 100
LONGEST_NAME: Final = 255
# A typo in a name must not be lost, but FastAPI ignores the fields that it does not know, in body and query alike.
UNKNOWN_FIELDS: Final = "ignore"
# §3.1 "a list is either an array or {"items": […]}": conversations and tickets come with a total, messages do not.
# §3 "list_messages" has no paging: it shows the oldest, so what lies past the limit can't be fetched.
# §3.1 "sometimes with success: true": on what was created (201).
#
# `provision_operator` "a repeat refreshes routing_keys": one that does not send them leaves them as they are, and no
# repeat changes the name or the picture.
#
# The window over which `rate_limit_per_min` counts; only calls that were let through are counted.
RATE_WINDOW_SECONDS: Final = 60.0
OPERATOR_TOKEN_SECONDS: Final = 8 * 3600
TENANT_INFO: Final = {
    "plan_tier": "sandbox",
    "allowed_origins": [],
    "voice_enabled": True,
    "video_enabled": True,
    "file_upload_enabled": True,
    "multi_channel_enabled": True,
    "monthly_msg_quota": 100_000,
    "storage_gb_quota": 10,
    "agent_seats": 25,
}

# ---- bot, escalations and tickets (§1, §3.2) -------------------------------------------------------------------

# The bot answers when at least this share of the question's keywords stands in one document.
BOT_CONFIDENCE_NEEDED: Final = 0.5
# The documentation says `user_request`; `user_requested` was seen as well (§3.2) and can be had with `emit`.
REASON_WHEN_ASKED: Final = "user_request"
WORDS_FOR_A_HUMAN: Final = (
    "human person someone operator agent advisor humain quelqu conseiller conseillere operateur operatrice"
)
RESTRICTED_WORDS: Final = "lawyer lawsuit avocat proces tribunal"
PRIORITIES: Final = {"restricted_topic": "p1", "user_request": "p2", "contact_form": "p3"}
OTHER_PRIORITY: Final = "p3"
SLA_HOURS: Final = {"p1": 1, "p2": 4, "p3": 24, "p4": 72}
TICKET_NUMBER: Final = "LOK-{:06d}"
# The ticket after an operator's answer, and after the visitor's next message.
TICKET_AFTER_ANSWER: Final = "waiting_on_user"
TICKET_AFTER_VISITOR: Final = "in_progress"
TICKET_AFTER_RELEASE: Final = "open"
# What `create_contact_ticket` says as `status`: where the conversation stands in the operators' queue.
CONTACT_TICKET_STATUS: Final = "WAITING"
# The queue of a conversation: `create_contact_ticket` has a field for it, `create_conversation` has not.
ROUTING_KEY_IN_METADATA: Final = "routing_key"
# An operator with routing keys sees the conversations that bear one of them, and none without a key. An operator may
# take a conversation that never escalated: that is an escalation of this kind.
REASON_WHEN_TAKEN: Final = "direct"

# ---- callbacks (§4) --------------------------------------------------------------------------------------------

# Seconds before each further attempt; after the last of them the relay gives the callback up.
CALLBACK_PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
CALLBACK_TIMEOUT_SECONDS: Final = 10.0
# The callbacks of one conversation are begun in order and one by one; one that waits for its retry steps aside.
# Messages that the bot, operators or the tenant's backend write as somebody else cause no callback: §4 has none.
