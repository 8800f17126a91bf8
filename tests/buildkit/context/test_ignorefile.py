"""Ignore files: their precedence, their syntax, and errors in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stagelens.buildkit.context import ContextError, PatternError, load_ignore, parse_ignore
from stagelens.buildkit.context.ignorefile import MAX_BYTES

CASES = json.loads((Path(__file__).parent / "data" / "ignorefiles.json").read_text(encoding="utf-8"))


def test_random_texts_are_read_like_in_patternmatcher() -> None:
    wrong = [case for case in CASES if list(parse_ignore(case["text"].encode())) != case["patterns"]]
    assert wrong == []


@pytest.mark.parametrize("line", ["!", "! ", "!/"])
def test_an_exclamation_mark_needs_a_pattern(line: str) -> None:
    with pytest.raises(PatternError):
        parse_ignore(line.encode())


def test_comments_blank_lines_and_slashes_are_cleaned() -> None:
    text = "\ufeff# comment\r\n\r\n  node_modules/  \r\n/build\n! keep/../keep/me\n #no comment\n"
    assert parse_ignore(text.encode()) == ("node_modules", "build", "!keep/me", "#no comment")


def test_bytes_outside_utf8_are_preserved() -> None:
    assert parse_ignore(b"caf\xe9") == ("caf\udce9",)


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [("Dockerfile", "general"), ("docker/app.Dockerfile", "own"), ("docker/other.Dockerfile", "general")],
)
def test_ignore_file_beside_the_dockerfile_has_precedence(
    tmp_path: Path, dockerfile: str, expected: str
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / ".dockerignore").write_text("general")
    (tmp_path / "docker" / "app.Dockerfile.dockerignore").write_text("own")
    assert load_ignore(tmp_path, dockerfile) == (expected,)


def test_dockerfile_outside_the_context_has_an_ignore_file(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / ".dockerignore").write_text("general")
    (tmp_path / "Dockerfile.dockerignore").write_text("own")
    assert load_ignore(context, tmp_path / "Dockerfile") == ("own",)


def test_empty_file_beside_the_dockerfile_excludes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("general")
    (tmp_path / "Dockerfile.dockerignore").write_text("")
    assert load_ignore(tmp_path) == ()


def test_missing_file_or_a_folder_excludes_nothing(tmp_path: Path) -> None:
    assert load_ignore(tmp_path) == ()
    (tmp_path / ".dockerignore").mkdir()
    assert load_ignore(tmp_path) == ()


@pytest.mark.parametrize(
    ("target", "expected"),
    [("ignore", ("inside",)), ("/sub/../ignore", ("inside",)), ("../ignore", ("inside",)), ("gone", ())],
)
def test_symlink_targets_start_at_the_context(tmp_path: Path, target: str, expected: tuple[str, ...]) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "ignore").write_text("outside")
    (context / "ignore").write_text("inside")
    (context / ".dockerignore").symlink_to(target)
    assert load_ignore(context) == expected


def test_symlinks_in_a_circle_are_no_file(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").symlink_to("other")
    (tmp_path / "other").symlink_to(".dockerignore")
    assert load_ignore(tmp_path) == ()


def test_invalid_pattern_is_named_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("# one\nfine\n[a\n")
    with pytest.raises(PatternError) as raised:
        load_ignore(tmp_path)
    assert raised.value.pattern == "[a"
    assert raised.value.where == f"{tmp_path / '.dockerignore'}, line 3"
    assert raised.value.why


def test_size_and_line_length_are_bounded(tmp_path: Path) -> None:
    ignore = tmp_path / ".dockerignore"
    ignore.write_bytes(b"a\n" * (MAX_BYTES // 2 + 1))
    with pytest.raises(ContextError, match="larger"):
        load_ignore(tmp_path)
    ignore.write_bytes(b"fine\n" + b"a" * 65536)
    with pytest.raises(ContextError, match=r"line 2"):
        load_ignore(tmp_path)
    ignore.write_bytes(b"a" * 65535)
    assert load_ignore(tmp_path) == ("a" * 65535,)
