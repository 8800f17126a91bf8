"""Names and texts from images are shown as what they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens import text
from stagelens.views import markup

raw = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(raw | st.text(max_size=40))
def test_a_shown_name_tells_which_file_is_meant(path: str) -> None:
    path = (
        path.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") if _encodes(path) else "x"
    )
    assert text.path_of(text.name(path)) == path


def _encodes(path: str) -> bool:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@given(raw)
def test_no_control_or_direction_character_is_shown(path: str) -> None:
    assert not [c for c in text.name(path) + text.prose(path) if unicodedata.category(c)[0] == "C"]


def test_names_are_shown_as_ls_does() -> None:
    assert text.name("a b/ü\n\\\u202egpj.exe\udcff") == "a b/ü\\u{a}\\\\\\u{202e}gpj.exe\\xff"


@pytest.mark.parametrize("shown", ["\\", "\\q", "a\\u{110000}", "\\x9"])
def test_what_was_never_shown_is_no_name(shown: str) -> None:
    with pytest.raises(ValueError, match=r"shown|number"):
        text.path_of(shown)


def test_texts_are_bounded_and_markup_is_text() -> None:
    assert markup.html_text("<script>\n\u202e") == "&lt;script&gt;\\u{a}\\u{202e}"
    assert markup.html_text("x" * 5000).endswith("…")
    assert text.prose("a\tb", keep="\t") == "a\tb"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_700, "1 MB"), (2_190_000, "2.19 MB")],
)
def test_sizes_have_three_digits(count: int, shown: str) -> None:
    assert markup.size(count) == shown
