"""Cursors: they come back as they went out, and nothing else is taken for one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.core.errors import Invalid
from control_plane.core.pagination import decode_cursor, encode_cursor


@given(st.text(), st.integers(-(2**63), 2**63))
def test_a_cursor_comes_back(text: str, number: int) -> None:
    assert decode_cursor(encode_cursor([text, number]), str, int) == [text, number]


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "bnVsbA", encode_cursor([1]), encode_cursor(["a", "b"]), "é"]
)
def test_what_is_no_cursor_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor(cursor, str, int)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(cursor: str) -> None:
    with contextlib.suppress(Invalid):
        decode_cursor(cursor, str, int)
