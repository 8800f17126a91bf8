"""Compare the parser with recorded results of BuildKit's parser (see data/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stagelens.dockerfile import DockerfileError, Flag, Instruction, expand, parse

DATA = Path(__file__).parent / "data"


def cases(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def written(flag: Flag) -> str:
    return f"--{flag.name}" if flag.value is None else f"--{flag.name}={flag.value}"


def facts(instruction: Instruction) -> list[object]:
    return [
        instruction.keyword,
        instruction.start_line,
        instruction.end_line,
        [written(flag) for flag in instruction.flags],
        None if instruction.words is None else list(instruction.words),
        [[h.name, h.content, h.expand, h.chomp] for h in instruction.heredocs],
    ]


def test_accepted_files_parse_as_in_buildkit() -> None:
    for text, expected in cases("files.json"):
        found = parse(text)
        instructions = [*found.global_args, *(i for stage in found.stages for i in stage.instructions)]
        assert [facts(i) for i in instructions] == expected, text


def test_files_refused_by_buildkit_are_refused() -> None:
    for text in cases("refused.json"):
        with pytest.raises(DockerfileError):
            pytest.fail(f"accepted: {parse(text).text!r}")


def test_words_expand_as_in_buildkit() -> None:
    variables = {"A": "abcabc/x.a", "B": "b*b", "E": ""}
    for word, escape, expected in cases("words.json"):
        if expected is None:
            with pytest.raises(ValueError):
                expand(word, variables, escape)
        else:
            assert expand(word, variables, escape) == expected, word


def test_pattern_of_many_stars_is_bounded() -> None:
    with pytest.raises(ValueError, match="too long"):
        expand("${A##" + "*a" * 2000 + "b}", {"A": "a" * 60_000})
    assert expand("${A##" + "*a" * 30 + "b}", {"A": "a" * 2000}) == "a" * 2000
