"""Pictures: well-formed, to scale, escaped, and told in words to those who do not see them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from django.utils.safestring import SafeString
from django.utils.translation import override

from bloonio_chat.mirror.charts import HEIGHT, WIDTH, Bar, Line, Picture, columns, lines, rows, scale_top

PICTURE = Picture("p", "Conversations a day", "3 in all")
HOSTILE = "</title><script>alert(1)</script>\"'"


def parsed(picture: SafeString) -> ET.Element:
    assert isinstance(picture, SafeString)
    return ET.fromstring(picture)  # noqa: S314  # of our own making


def texts(picture: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in picture.iter("text")]


def test_columns_are_to_scale() -> None:
    picture = parsed(columns(PICTURE, [Bar("Mon", 10), Bar("Tue", 5), Bar("Wed", 0)]))
    bars = list(picture.iter("rect"))
    heights = [float(bar.get("height", "")) for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1])
    assert heights[2] == 0
    feet = {round(float(bar.get("y", "")) + float(bar.get("height", "")), 2) for bar in bars}
    assert len(feet) == 1
    places = [float(bar.get("x", "")) for bar in bars]
    assert places == sorted(places)
    assert all(0 <= place < WIDTH for place in places)
    assert ["".join(title.itertext()) for bar in bars for title in bar] == ["Mon: 10", "Tue: 5", "Wed: 0"]
    assert texts(picture) == ["0", "5", "10", "Mon", "Tue", "Wed"]


def test_of_many_columns_three_are_labelled() -> None:
    picture = parsed(columns(PICTURE, [Bar(f"d{day}", day) for day in range(30)]))
    assert [text for text in texts(picture) if text.startswith("d")] == ["d0", "d14", "d29"]


def test_rows_carry_their_names_and_numbers() -> None:
    picture = parsed(rows(PICTURE, [Bar("P1", 1, "mirror-is-p1"), Bar("P2", 1200)]))
    first, second = picture.iter("rect")
    assert first.get("class") == "mirror-bar mirror-is-p1"
    assert float(second.get("width", "")) == pytest.approx(1200 * float(first.get("width", "")), rel=0.05)
    assert texts(picture) == ["P1", "P2", "1", "1200"]
    ends = [float(bar.get("x", "")) + float(bar.get("width", "")) for bar in (first, second)]
    assert max(ends) < WIDTH - 40


def test_lines_leave_out_what_is_not_known() -> None:
    drawn = [Line("median", [1.5, None, 3], "a"), Line("slow", [None, None, None], "b")]
    picture = parsed(lines(PICTURE, ["w1", "w2", "w3"], drawn))
    first, second = picture.iter("polyline")
    assert len(first.get("points", "").split()) == 2
    assert second.get("points") == ""
    titles = ["".join(title.itertext()) for title in picture.iter("title")]
    assert titles[1:] == ["median, w1: 1.5", "median, w3: 3"]
    points = [float(point.split(",")[1]) for point in first.get("points", "").split()]
    assert all(0 <= point <= HEIGHT for point in points)


@pytest.mark.parametrize("make", [columns, rows])
def test_nothing_makes_an_empty_picture(make: object) -> None:
    assert parsed(make(PICTURE, [])).tag == "svg"  # type: ignore[operator]  # one of two functions
    assert parsed(make(PICTURE, [Bar("x", 0)])).tag == "svg"  # type: ignore[operator]  # as above
    assert parsed(lines(PICTURE, [], [])).tag == "svg"


def test_what_it_shows_is_said() -> None:
    picture = parsed(columns(PICTURE, [Bar("Mon", 3)]))
    assert picture.get("role") == "img"
    ids = {element.get("id"): "".join(element.itertext()) for element in picture}
    said = [ids[name] for name in picture.get("aria-labelledby", "").split()]
    assert said == ["Conversations a day", "3 in all"]


def test_labels_are_escaped_and_nothing_is_styled_in_place() -> None:
    hostile = Picture("p", HOSTILE, HOSTILE)
    for picture in (
        columns(hostile, [Bar(HOSTILE, 1, HOSTILE)]),
        rows(hostile, [Bar(HOSTILE, 1, HOSTILE)]),
        lines(hostile, [HOSTILE], [Line(HOSTILE, [1], HOSTILE)]),
    ):
        assert {element.tag for element in parsed(picture).iter()} <= {
            *("svg", "title", "desc", "rect", "text", "line", "circle", "polyline", "g"),
        }
        # A strict Content-Security-Policy refuses those.
        assert not re.search(r"<script|\sstyle=|\son\w+=", picture)


def test_coordinates_are_the_same_in_every_language(settings: object) -> None:
    bars = [Bar("Mon", 12345.5), Bar("Tue", 1)]
    with override("fr"):
        french = parsed(columns(PICTURE, bars))
    english = parsed(columns(PICTURE, bars))
    assert [bar.attrib for bar in french.iter("rect")] == [bar.attrib for bar in english.iter("rect")]


@pytest.mark.parametrize(
    ("values", "top"),
    [([], 1), ([0], 1), ([0.2], 1), ([1], 1), ([2], 2), ([7], 8), ([31], 40), ([99], 100), ([100], 100), ([101], 200)],
)
def test_scales_end_at_round_numbers(values: list[float], top: float) -> None:
    assert scale_top(values) == top
