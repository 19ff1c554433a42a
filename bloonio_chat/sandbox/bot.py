"""The relay's assistant: it finds the paragraph that shares most keywords with the question, or gives up."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from bloonio_chat.sandbox import choices
from bloonio_chat.sandbox.objects import Document

_SMALL_WORDS: Final = (
    "hello hey good morning evening thanks thank bonjour bonsoir salut merci "
    "the and for you your with what when where how can does did has have are was this that would could please about "
    "les des une est mon mes vos votre pour avec que qui quel quelle quand comment puis peut dans sur par pas"
)
_IGNORED: Final = frozenset(_SMALL_WORDS.split())
_FOR_A_HUMAN: Final = frozenset(choices.WORDS_FOR_A_HUMAN.split())
_RESTRICTED: Final = frozenset(choices.RESTRICTED_WORDS.split())
_TEXTS: Final = {
    "fr": {
        "greeting": "Bonjour ! Comment puis-je vous aider ?",
        "handover": "Je vous mets en relation avec un conseiller.",
    },
    "en": {"greeting": "Hello! How can I help you?", "handover": "I am passing you on to one of our team."},
}


@dataclass(frozen=True)
class Reply:
    """What the bot says; with ``escalate``, the reason for which it hands over to the humans."""

    content: str
    confidence: float
    citations: list[dict[str, Any]]
    escalate: str | None = None


def reply(question: str, documents: Iterable[Document], *, locale: str) -> Reply:
    """Return the bot's answer to a visitor's message, from what the tenant has ingested.

    ``confidence`` is the share of the question's keywords that the cited document has, from 0 to 1.
    """
    texts = _TEXTS["en" if locale.lower().startswith("en") else "fr"]
    keywords = _keywords(question)
    if keywords & _RESTRICTED:
        return Reply(texts["handover"], 0.0, [], "restricted_topic")
    if keywords & _FOR_A_HUMAN:
        return Reply(texts["handover"], 0.0, [], choices.REASON_WHEN_ASKED)
    if not keywords:
        return Reply(texts["greeting"], 1.0, [])
    best, confidence = None, 0.0
    for document in documents:
        known = _keywords(f"{document.title} {' '.join(document.tags)} {document.body}")
        share = len(keywords & known) / len(keywords)
        if share > confidence:
            best, confidence = document, share
    confidence = round(confidence, 2)
    if best is None or confidence < choices.BOT_CONFIDENCE_NEEDED:
        return Reply(texts["handover"], confidence, [], "low_confidence")
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", best.body) if part.strip()] or [best.body]
    place = max(range(len(paragraphs)), key=lambda each: len(keywords & _keywords(paragraphs[each])))
    citation = {
        "chunk_id": f"{best.id}-{place}",
        "document_id": best.id,
        "document_version": best.version,
        "score": confidence,
    }
    return Reply(paragraphs[place][:8000], confidence, [citation])


def _keywords(text: str) -> frozenset[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return frozenset(word for word in re.findall(r"\w+", plain) if len(word) > 2 and word not in _IGNORED)
