"""Pictures drawn on the server: SVG in the page, without scripts, coloured by the style sheet in light and dark.

A picture has a title and a description for those who do not see it; the page has its figures in a table, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# In the picture's own units. Narrow, so that letters can still be read where it fills the width of a phone.
WIDTH: Final = 400
HEIGHT: Final = 200
_LEFT: Final = 44
_RIGHT: Final = 8
_TOP: Final = 12
_BOTTOM: Final = 26
_ROW: Final = 30
_NAMES: Final = 124
_NUMBERS: Final = 56
_LEGEND: Final = 20
# Halved, each is still a number that is easily read.
_STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10)

_BAR: Final = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>'
_TEXT: Final = '<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>'
_POINT: Final = '<circle class="mirror-point {}" cx="{}" cy="{}" r="4"><title>{}, {}: {}</title></circle>'


class Picture(NamedTuple):
    """What is said of a picture: ``name`` is its own among those of the page, as ids of elements are made of."""

    name: str
    title: str
    description: str


class Bar(NamedTuple):
    """A bar: what stands below or beside it, its value, and the class that colours it."""

    label: str
    value: float
    look: str = ""


class Line(NamedTuple):
    """A line with one value for each label, ``None`` where there is none; ``look`` is the class that colours it."""

    name: str
    values: Sequence[float | None]
    look: str


def columns(picture: Picture, bars: Sequence[Bar]) -> SafeString:
    """Draw standing bars, for a row of days. The first, the middle and the last are labelled."""
    top = scale_top(bar.value for bar in bars)
    step = _step(bars)
    drawn = _each(
        _BAR,
        (
            (
                _look(bar),
                _n(_LEFT + step * (place + 0.1)),
                _n(_height(bar.value, top)),
                _n(step * 0.8),
                _n(_height(0, top) - _height(bar.value, top)),
                bar.label,
                number_format(bar.value),
            )
            for place, bar in enumerate(bars)
        ),
    )
    return _svg(picture, HEIGHT, _grid(top), drawn, _labels_below([bar.label for bar in bars]))


def rows(picture: Picture, bars: Sequence[Bar]) -> SafeString:
    """Draw lying bars, for a few names, each with its number behind it."""
    longest = max((bar.value for bar in bars), default=0) or 1
    space = (WIDTH - _NAMES - _NUMBERS) / longest
    middles = [_ROW * (place + 0.64) for place in range(len(bars))]
    placed = list(zip(bars, middles, strict=True))
    names = _each(_TEXT, (("mirror-label", _NAMES - 8, _n(y), "end", bar.label) for bar, y in placed))
    drawn = _each(
        _BAR,
        (
            (_look(bar), _NAMES, _n(y - 14), _n(space * bar.value), 20, bar.label, number_format(bar.value))
            for bar, y in placed
        ),
    )
    numbers = _each(
        _TEXT,
        (
            ("mirror-number", _n(_NAMES + space * bar.value + 6), _n(y), "start", number_format(bar.value))
            for bar, y in placed
        ),
    )
    return _svg(picture, _ROW * max(len(bars), 1), names, drawn, numbers)


def lines(picture: Picture, labels: Sequence[str], drawn: Sequence[Line]) -> SafeString:
    """Draw lines over the same labels, with a point at each value, and say which is which."""
    top = scale_top(value for line in drawn for value in line.values if value is not None)
    legend = format_html_join(
        "",
        '<circle class="mirror-point {}" cx="{}" cy="6" r="4"></circle>'
        '<text class="mirror-label" x="{}" y="10">{}</text>',
        ((line.look, _LEFT + place * 170 + 4, _LEFT + place * 170 + 12, line.name) for place, line in enumerate(drawn)),
    )
    below = [_grid(top), *(_line(line, labels, top) for line in drawn), _labels_below(labels)]
    moved = format_html('<g transform="translate(0 {})">{}</g>', _LEGEND, _together(below))
    return _svg(picture, HEIGHT + _LEGEND, legend, moved)


def scale_top(values: Iterable[float]) -> float:
    """Return the end of a scale that has all the values: a round number, and at least 1."""
    largest = max(values, default=0)
    if largest <= 1:
        return 1
    power = 10 ** math.floor(math.log10(largest))
    return float(next(factor * power for factor in _STEPS if factor * power >= largest))


def _line(line: Line, labels: Sequence[str], top: float) -> SafeString:
    step = _step(labels)
    points = [
        (_n(_LEFT + step * (place + 0.5)), _n(_height(value, top)), label, number_format(round(value, 1)))
        for place, (label, value) in enumerate(zip(labels, line.values, strict=True))
        if value is not None
    ]
    path = " ".join(f"{x},{y}" for x, y, _, _ in points)
    dots = _each(_POINT, ((line.look, x, y, line.name, label, number) for x, y, label, number in points))
    return format_html('<polyline class="mirror-line {}" points="{}"></polyline>{}', line.look, path, dots)


def _grid(top: float) -> SafeString:
    marks = [(mark, _height(mark, top)) for mark in (0, top / 2, top)]
    drawn = _each(
        '<line class="mirror-grid" x1="{}" y1="{}" x2="{}" y2="{}"></line>',
        ((_LEFT, _n(y), WIDTH - _RIGHT, _n(y)) for _, y in marks),
    )
    numbers = _each(
        _TEXT,
        (
            ("mirror-number", _LEFT - 6, _n(y + 4), "end", number_format(int(mark) if mark == int(mark) else mark))
            for mark, y in marks
        ),
    )
    return _together([drawn, numbers])


def _labels_below(labels: Sequence[str]) -> SafeString:
    last = len(labels) - 1
    if last < 0:
        return SafeString()
    step = _step(labels)
    texts = {0: (_n(_LEFT), "start"), last // 2: (_n(_LEFT + step * (last // 2 + 0.5)), "middle")}
    texts[last] = (_n(WIDTH - _RIGHT), "end")
    return _each(
        _TEXT, (("mirror-label", x, HEIGHT - 6, anchor, labels[place]) for place, (x, anchor) in texts.items())
    )


def _svg(picture: Picture, height: float, *pieces: SafeString) -> SafeString:
    return format_html(
        '<svg class="mirror-chart" role="img" viewBox="0 0 {} {}" aria-labelledby="{}-title {}-description">'
        '<title id="{}-title">{}</title><desc id="{}-description">{}</desc>{}</svg>',
        WIDTH,
        _n(height),
        picture.name,
        picture.name,
        picture.name,
        picture.title,
        picture.name,
        picture.description,
        _together(pieces),
    )


def _each(template: str, values: Iterable[tuple[Any, ...]]) -> SafeString:
    return format_html_join("", template, values)


def _together(pieces: Iterable[SafeString]) -> SafeString:
    return _each("{}", ((piece,) for piece in pieces))


def _look(bar: Bar) -> str:
    return f"mirror-bar {bar.look}".strip()


def _step(labels: Sequence[Any]) -> float:
    return (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)


def _height(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _n(value: float) -> str:
    """Return a coordinate as SVG reads it, whatever the language of the page."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
