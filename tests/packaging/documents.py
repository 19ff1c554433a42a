"""Reading the project's own documents: the blocks, tables, headings and links of Markdown as this project writes it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
README: Final = ROOT / "README.md"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|source)\b[^>]*?\b(?:src|srcset)=\"([^\"]+)\"")
_CODE_SPAN = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"# (?P<path>[\w./-]+\.py)(?P<append>: add at the end)?$")


@dataclass(frozen=True)
class Block:
    """One fenced block, the line on which it starts, and the heading that it stands under."""

    document: Path
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def file(self) -> tuple[str, bool] | None:
        """The path of the project file that this block shows, and whether it is added to that file's end.

        Told by the first line, ``# shop/urls.py`` or ``# shop/urls.py: add at the end``; else ``None``.
        """
        match = _FILE.match(self.text.partition("\n")[0])
        return None if match is None else (match["path"], match["append"] is not None)

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command of a console block, without its comment, and the lines that it is said to print."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.strip():
                found[-1][1].append(line)
        return found


def documents() -> list[Path]:
    """Return every document that is written for people."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(document: Path, language: str) -> list[Block]:
    """Return a document's blocks in one language, in their order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] != language:
            continue
        headings = _HEADING.findall(_without_blocks(text[: match.start()]))
        indent = match["indent"]
        lines = [line.removeprefix(indent) for line in match["text"].splitlines()]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(document, line, headings[-1] if headings else "", language, "\n".join(lines) + "\n"))
    return found


def table(document: Path, heading: str) -> list[dict[str, str]]:
    """Return the first table under a heading: one mapping for each row, from the columns' titles to the cells."""
    section = _section(document, heading)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert lines, f"{document.name} has no table under {heading!r}"
    titles, _, *rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]
    return [dict(zip(titles, row, strict=True)) for row in rows]


def code_spans(text: str) -> list[str]:
    """Return what stands in backticks."""
    return _CODE_SPAN.findall(text)


def links(document: Path) -> Iterator[tuple[int, str]]:
    """Yield each link and image of a document, with its line."""
    text = _without_blocks(document.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] or match[2]


def anchors(document: Path) -> set[str]:
    """Return what a document's headings can be linked by, as the usual hosts of repositories make it."""
    headings = _HEADING.findall(_without_blocks(document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


def pyproject() -> dict[str, Any]:
    """Return pyproject.toml."""
    # Python 3.10 has none of its own; pytest brings it there.
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    tree: dict[str, Any] = reader.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tree


def _section(document: Path, heading: str) -> str:
    text = _without_blocks(document.read_text(encoding="utf-8"))
    match = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^#{{1,6}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{document.name} has no heading {heading!r}"
    return match[2]


def _without_blocks(text: str) -> str:
    """Return the text with empty lines in place of its blocks: a comment in code is no heading."""
    return _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
