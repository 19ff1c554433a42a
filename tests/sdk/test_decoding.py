"""JSON from strangers: what is refused, what is cleaned, what is left alone."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloonio_chat.sdk.decoding import clean, clean_escapes, decode

fuzz = settings(deadline=None, database=None, max_examples=200)
json_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def holds_what_no_database_takes(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(holds_what_no_database_takes(item) for pair in tree.items() for item in pair)
    if isinstance(tree, list):
        return any(holds_what_no_database_takes(item) for item in tree)
    if isinstance(tree, str):
        return any(letter == "\0" or 0xD800 <= ord(letter) < 0xE000 for letter in tree)
    return isinstance(tree, float) and not math.isfinite(tree)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb'"a\u0000b"', "a\ufffdb"),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\uDFFF\uD800"', "\ufffd\ufffd"),
        (rb'"\ud83d\ud83d\ude42"', "\ufffd🙂"),
        (rb'{"\u0000": 1}', {"\ufffd": 1}),
        (b"[NaN, Infinity, -Infinity, 1e999, -1e999]", [None] * 5),
        (b'{"a": {"b": [1, {"c": NaN}]}}', {"a": {"b": [1, {"c": None}]}}),
        (b"NaN", None),
    ],
)
def test_what_no_database_takes_is_cleaned_and_said(written: bytes, read: Any) -> None:
    assert decode(written) == (read, True)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb'"\ud83d\ude42"', "🙂"),
        (rb'"\\u0000"', "\\u0000"),
        (rb'"\\\\ud800"', "\\\\ud800"),
        (rb'"\u00e9\n\/"', "é\n/"),
        ("「🙂」".join('""').encode(), "「🙂」"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"1e308", 1e308),
        (b'"\xef\xbf\xbd"', "\ufffd"),
    ],
)
def test_what_is_fine_is_left_alone(written: bytes, read: Any) -> None:
    assert decode(written) == (read, False)


@pytest.mark.parametrize(
    "written",
    [
        b"", b" ", b"{", b'{"a": 1', b"{} {}", b"{'a': 1}", b'{"a": 1,}', b"\xef\xbb\xbf{}", b"{}\0", b'"a\0b"',
        b'"\n"', '{"a": "é"}'.encode("latin-1"), "{}".encode("utf-16"), "{}".encode("utf-16-be"),
        "{}".encode("utf-32"),
        b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf5\x80\x80\x80"', rb'"\ud8"', rb'"\x00"', rb'"\u00"', b"\\", b"\\u",
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 10_000, b"9" * 5000, b"-" + b"9" * 5000,
        b"01", b"+1",
    ],
    ids=lambda written: repr(written[:16]),
)  # fmt: skip
def test_what_is_not_json_in_utf_8_is_a_value_error(written: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # which text the parser gives it is its own affair
        decode(written)


@fuzz
@given(json_trees)
def test_whatever_python_writes_is_read_and_clean(tree: Any) -> None:
    read, was_cleaned = decode(json.dumps(tree).encode())
    assert not holds_what_no_database_takes(read)
    assert was_cleaned is holds_what_no_database_takes(tree)
    if not was_cleaned:
        assert read == tree


@fuzz
@given(st.binary(max_size=60) | st.text(alphabet='\\u{}[]":,0123456789abcdefDdNa ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_a_value_error(body: bytes) -> None:
    try:
        tree, _ = decode(body)
    except ValueError:
        return
    assert not holds_what_no_database_takes(tree)


def test_clean_data_is_not_copied() -> None:
    body, tree = rb'{"a": "\u00e9"}', {"a": [1, 1.5, "x", None]}
    assert clean_escapes(body) is body
    assert clean(tree) is tree
