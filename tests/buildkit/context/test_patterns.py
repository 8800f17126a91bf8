"""Patterns match like in the engine, including its oddities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagelens.buildkit.context import Matcher, PatternError

DATA = json.loads((Path(__file__).parent / "data" / "matches.json").read_text(encoding="utf-8"))


def matches(patterns: list[str], path: str | bytes, windows: bool = False) -> bool:
    return Matcher(patterns, windows=windows).matches(path.encode() if isinstance(path, str) else path)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a", ["a", "a/b", "a/b/c"], ["b", "b/a", "ab"]),
        ("a/b", ["a/b", "a/b/c"], ["a", "b", "x/a/b"]),
        ("a/", ["a", "a/b"], ["b"]),
        ("./a", ["a"], ["b"]),
        ("x/../a", ["a"], ["x"]),
        ("*", ["a", "a/b", ".git"], []),
        ("*/b", ["a/b", "a/b/c"], ["b", "a/c/b"]),
        ("*.c", ["x.c", ".c", "x.c/y"], ["a/x.c", "x.cc"]),
        ("a*", ["a", "ab", "ab/c"], ["ba"]),
        ("?", ["a", "é", "日"], ["", "ab"]),
        ("a?b", ["axb"], ["a/b", "ab"]),
        ("**", ["a", "a/b/c"], []),
        ("**/b", ["b", "a/b", "a/c/b", "b/c"], ["ab", "a/bc"]),
        ("**b", ["b", "ab", "a/cb"], ["ba"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a**", ["a", "ab", "a/b"], ["ba"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "b"]),
        ("**/*.c", ["x.c", "a/x.c", "a/b/x.c"], ["x.cc", "c"]),
        ("[ab]", ["a", "b"], ["c", "ab"]),
        ("[a-c]x", ["ax", "cx"], ["dx"]),
        ("[^a]", ["b", "^"], ["a"]),
        ("[!a]", ["!", "a"], ["b"]),
        (r"\*", ["*"], ["a", r"\*"]),
        (r"\[a]", ["[a]"], ["a"]),
        (r"a\ b", ["a b"], ["ab"]),
        ("#a", ["#a"], ["a"]),
        ("a+(b).c", ["a+(b).c"], ["aab.c"]),
        ("é*", ["éa"], ["a"]),
        ("*.{js,ts}", ["a.{js,ts}"], ["a.js"]),  # no alternatives in braces
    ],
)
def test_documented_rules(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matches([pattern], path)] == []
    assert [path for path in no if matches([pattern], path)] == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"\d", ["1"], ["d"]),  # a digit, as in an expression
        ("[[:alpha:]]", ["a"], ["1", ":"]),
        ("[*]", ["]", "/]"], ["*"]),  # a star in brackets is put in as an expression
        ("a|b*", ["ax", "xb"], ["xa"]),  # two alternatives, each with one anchor
        ("?{2}", ["ab"], ["a", "abc"]),
        ("?{02}", ["a{02}"], ["ab"]),
        (r"\x41*", ["AB"], ["x41"]),
        (r"\Q[*]\E?", ["[[^/]*]a"], ["*a"]),
        (r"\pL", ["é", "Z"], ["1"]),
        (r"\PL", ["1"], ["é"]),
        (r"\p{Greek}", ["α"], ["a"]),
        (r"\\C*", [r"\C"], ["C"]),
        (r"\bx*", ["x"], ["ax"]),
        (r"\w\W\D\S", ["a.bc"], ["..bc", "a.1c"]),
        ("\ufeffa*", ["ab"], ["\ufeffab"]),  # a byte order mark counts for nothing in a wildcard's pattern
        ("\ufeffa", ["\ufeffa"], ["a"]),
    ],
)
def test_odd_patterns_match_as_in_go(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matches([pattern], path)] == []
    assert [path for path in no if matches([pattern], path)] == []


@pytest.mark.parametrize(
    ("patterns", "kept", "out"),
    [
        (["a", "!a/b"], ["a/b", "a/b/c", "x"], ["a", "a/x"]),
        (["!a/b", "a"], [], ["a", "a/b"]),
        (["*", "!a*", "ab"], ["a", "ac", "ac/x"], ["b", "ab", "ab/x"]),
        (["a", "!a", "a/b"], ["a", "a/x"], ["a/b"]),
        (["a", "!**/x"], ["a/x", "a/b/x"], ["a", "a/y"]),
        (["**", "!a/**"], ["a/b"], ["a", "b"]),
    ],
)
def test_the_last_pattern_that_changes_the_answer_wins(
    patterns: list[str], kept: list[str], out: list[str]
) -> None:
    assert [path for path in kept if matches(patterns, path)] == []
    assert [path for path in out if not matches(patterns, path)] == []


def test_random_patterns_match_as_in_patternmatcher() -> None:
    wrong: list[tuple[list[str], str]] = []
    for case in DATA["matches"]:
        matcher = Matcher(case["patterns"], windows=False)
        wrong += [(case["patterns"], path) for path in case["matched"] if not matcher.matches(path.encode())]
        wrong += [(case["patterns"], path) for path in case["others"] if matcher.matches(path.encode())]
    assert wrong == []


@pytest.mark.parametrize("pattern", [*DATA["refused"], r"\C*"])
def test_rejected_pattern_is_named_with_the_reason(pattern: str) -> None:
    with pytest.raises(PatternError) as raised:
        Matcher(["fine", pattern], windows=False)
    assert raised.value.pattern.strip("! ") == pattern.strip("! ")
    assert raised.value.why
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("?", b"\xff", True),  # a byte that is no UTF-8 is one character
        ("??", b"\xe2\x82", True),  # of an incomplete character, each byte
        ("*.c", b"\xff.c", True),
        ("[\ufffd]", b"\xff", True),
        ("a", b"a\xff", False),
        ("a**", b"a\xff", True),
    ],
)
def test_names_that_are_not_utf8(pattern: str, path: bytes, expected: bool) -> None:
    assert matches([pattern], path) is expected


def test_only_two_stars_stop_at_a_line_end() -> None:
    assert matches(["*c"], "a\nc")
    assert not matches(["**/x*c"], "a\nb/xc")


def test_backslash_separates_on_windows() -> None:
    assert matches([r"a\.b"], "a/.b", windows=True)
    assert matches([r"a\.b"], "a.b")
    assert not matches([r"a\.b"], "a/.b")
    assert matches([r"!x", r"a\*"], "a/b", windows=True)


@pytest.mark.parametrize(
    ("pattern", "lengths"),
    [
        ("?{1,2}?{0,3}", {1, 2, 3, 4, 5}),
        ("?{2}??{3}", {6}),
        ("?{2,}?{3,4}", {5, 6, 7, 8, 9}),
        ("?{3}*?", {4, 5, 6, 7, 8, 9}),
        ("?{0}?{0}?", {1}),
    ],
)
def test_adjacent_counts_add_up(pattern: str, lengths: set[int]) -> None:
    assert {length for length in range(10) if matches([pattern], "a" * length)} == lengths


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("*[a]" * 40 + "b", "a" * 255),
        ("**/" * 40 + "b*", "/".join("a" * 60)),
        ("**/a/" * 20 + "b*", "/".join("a" * 60)),
        ("*?" * 40 + "b", "a" * 255),
        ("?{1,200}" * 10 + "b*", "a" * 255),
    ],
)
def test_no_pattern_takes_exponential_time(pattern: str, path: str) -> None:
    # A backtracking engine, such as Python's re, exceeds the test's time limit for each of these.
    assert not matches([pattern], path)
