"""Names and texts from images are shown without effect on the terminal or the page."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens import text
from stagelens.humanize import format_age, format_size
from stagelens.views.templating import render

raw = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))


@given(raw | st.text(max_size=40))
def test_an_escaped_file_name_parses_back(path: str) -> None:
    path = (
        path.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") if _encodes(path) else "x"
    )
    assert text.parse_file_name(text.file_name(path)) == path


def _encodes(path: str) -> bool:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


@given(raw)
def test_no_control_or_bidi_character_remains(path: str) -> None:
    assert not [c for c in text.file_name(path) + text.inline(path) if unicodedata.category(c)[0] == "C"]
    assert not [c for c in text.block(path) if unicodedata.category(c)[0] == "C" and c not in "\n\t"]


def test_file_names_are_escaped_as_ls_does() -> None:
    assert text.file_name("a b/ü\n\\\u202egpj.exe\udcff") == "a b/ü\\u{a}\\\\\\u{202e}gpj.exe\\xff"


@pytest.mark.parametrize("shown", ["\\", "\\q", "a\\u{110000}", "\\x9"])
def test_an_invalid_escape_is_not_a_file_name(shown: str) -> None:
    with pytest.raises(ValueError, match=r"not an escaped file name|number"):
        text.parse_file_name(shown)


def test_templates_bound_and_escape_what_they_print(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ value }} {{ value|inline(8) }} {{ value|block }}")
    page = render(tmp_path / "page.html", value="<script>\n\u202e")
    assert page == "&lt;script&gt;\\u{a}\\u{202e} &lt;script&gt;… &lt;script&gt;\n\\u{202e}"
    assert render(tmp_path / "page.html", value="x" * 5000).split()[0] == "x" * 4096 + "…"


def test_texts_are_bounded() -> None:
    assert text.block("a\tb\n\x1b") == "a\tb\n\\u{1b}"
    assert text.block("a\nb\nc", lines=2) == "a\nb"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_700, "1 MB"), (2_190_000, "2.19 MB")],
)
def test_sizes_have_three_digits(count: int, shown: str) -> None:
    assert format_size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7300, "2 h"), (90_000, "1 d")],
)
def test_ages_have_their_largest_unit(seconds: float, shown: str) -> None:
    assert format_age(seconds) == shown
