"""Log lines: harmless text, and colors as data beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.builds.logs import MAX_LINE, plain_line, styled


@pytest.mark.parametrize(
    ("line", "text", "spans"),
    [
        ("plain", "plain", ()),
        ("\x1b[32mok\x1b[0m done", "ok done", ((0, 2, "green"),)),
        ("a \x1b[1;91merror:\x1b[22m b\x1b[39m c", "a error: b c", ((2, 8, "bold red"), (8, 10, "red"))),
        ("\x1b[38;5;208mno\x1b[31mred", "nored", ((2, 5, "red"),)),
        ("\x1b[31mfirst\rlast\x1b[0m!", "last!", ((0, 4, "red"),)),
        ("\x1b]0;title\x07\x1b[2Jx\x1b[4mu", "xu", ((1, 2, "underline"),)),
        ("\x1b[33m", "", ()),
    ],
)
def test_colors_become_parts_of_the_line(line: str, text: str, spans: tuple[object, ...]) -> None:
    found, parts = styled(line)
    assert found == text
    assert parts == spans


PIECES = ["\x1b[31m", "\x1b[0m", "\x1b[1m", "\x1b[39m", "\r", "ab", "\u202e", "\x1b[", "m"]


@given(
    st.lists(
        st.sampled_from(["\x1b[31m", "\x1b[0m", "\x1b[1m", "\x1b[39m", "\r", "ab", "\u202e", "\x1b[", "m"])
    )
)
def test_parts_of_the_cleaned_line_do_not_overlap(pieces: list[str]) -> None:
    line = "".join(pieces)
    text, spans = styled(line)
    assert text == plain_line(line)
    assert "\x1b" not in text
    places = [place for start, end, _ in spans for place in (start, end)]
    assert places == sorted(places)
    assert all(0 <= start < end <= len(text) for start, end, _ in spans)


def test_long_line_is_cut_with_its_colors() -> None:
    text, spans = styled("\x1b[31m" + "x" * (2 * MAX_LINE))
    assert text.endswith("…")
    assert spans == ((0, MAX_LINE, "red"),)
