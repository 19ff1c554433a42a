"""English and French: every text of the mirror has its French, and the compiled catalogues are those of the sources."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from django.utils.translation import override
from django.utils.translation.template import templatize

import bloonio_chat.mirror
from tests.mirror.rows import CONVERSATIONS, NOON, OVERVIEW, TICKETS, conversation, message, shown, ticket, user

ROOM: Final = Path(bloonio_chat.mirror.__file__).parent
# Context (empty for none), and text.
Words = tuple[str, str]

_ENTRY: Final = re.compile(r'^(?:msgctxt "(.*)"\n)?msgid "(.+)"\nmsgstr "(.*)"$', re.MULTILINE)
_PLACES: Final = re.compile(r"%\((\w+)\)s|%%")


def marked_words() -> set[Words]:
    """What is marked for translation in the room's code and templates."""
    found: set[Words] = set()
    for path in ROOM.rglob("*.py"):
        found.update(_marked_in_code(path.read_text(encoding="utf-8")))
    for path in ROOM.rglob("*.html"):
        source = re.sub(r"\bu?p?gettext\(", "_(", templatize(path.read_text(encoding="utf-8")))
        # pgettext has its context first.
        for texts in re.findall(r"_\(((?:u?'(?:[^'\\]|\\.)*'|u?\"(?:[^\"\\]|\\.)*\"|, )+)", source):
            words = ast.literal_eval(f"({texts},)")
            found.add(words if len(words) == 2 else ("", *words))
    return found


def _marked_in_code(source: str) -> Iterator[Words]:
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if node.func.id in ("_", "gettext", "gettext_lazy"):
            assert len(texts) == 1, f"a text that no catalogue can have, in line {node.lineno}"
            yield "", texts[0]
        elif node.func.id in ("pgettext", "pgettext_lazy"):
            context, text = texts
            yield context, text


def catalogue(language: str) -> dict[Words, str]:
    """The source of a language's words."""
    text = (ROOM / "locale" / language / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")
    entries = [tuple(part.replace('\\"', '"') for part in entry) for entry in _ENTRY.findall(text)]
    assert len(entries) == text.count("\nmsgid ") - 1, "an entry that is written in another way"
    return {(context, words): translated for context, words, translated in entries}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_catalogue_has_every_text_and_no_other(language: str) -> None:
    marked, known = marked_words(), set(catalogue(language))
    assert len(marked) > 100
    assert (sorted(marked - known), sorted(known - marked)) == ([], [])


def test_every_text_has_its_french() -> None:
    for (context, text), french in catalogue("fr").items():
        assert french.strip(), (context, text)
        assert sorted(_PLACES.findall(text)) == sorted(_PLACES.findall(french)), text
        assert text[0].isspace() == french[0].isspace(), text


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_compiled_catalogue_is_up_to_date(language: str) -> None:
    with (ROOM / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for (context, text), translated in catalogue(language).items():
        found = compiled.pgettext(context, text) if context else compiled.gettext(text)
        assert found == (translated or text)


@pytest.mark.django_db(databases="__all__")
@pytest.mark.urls("tests.mirror.project_urls")
def test_pages_are_in_french_for_who_reads_french(settings: object) -> None:
    its = conversation(agent_status="WAITING", escalated_at=NOON)
    message(its)
    of_it = ticket(conversation=its, sla_due_at=NOON)
    client = user()
    with override("fr"):
        for path, words in (
            (CONVERSATIONS, ("en attente", "Vue d\u2019ensemble", "il y a ", "Par file d\u2019attente")),
            (f"{CONVERSATIONS}{its.pk}/change/", ("Visiteur", "Actualiser depuis le relais", "Détails")),
            (TICKETS, ("en retard de ", "P3, normale")),
            (f"{TICKETS}{of_it.pk}/change/", ("À faire avant le", "Sa conversation")),
            (OVERVIEW, ("Conversations par jour", "90e centile", "Sous forme de tableau")),
        ):
            text = shown(client, path)
            for word in words:
                assert word in text, (path, word)
