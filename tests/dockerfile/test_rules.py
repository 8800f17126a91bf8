"""Parser rules that few Dockerfiles need."""

from __future__ import annotations

import pytest

from stagelens.dockerfile import expand, locate_vertex, parse, step_instructions


def test_last_stage_of_a_name_wins() -> None:
    assert parse("FROM a AS x\nFROM b AS X\nFROM c\n").stage("x").index == 1


def test_unknown_directive_ends_the_directives() -> None:
    assert parse("# else=x\n# escape=`\nFROM a\n").escape == "\\"
    assert parse("# check=skip=all\n# escape=`\nFROM a\n").escape == "`"


def test_repeatable_flags() -> None:
    text = "FROM a\nRUN --device=a --device=b x\nCOPY --exclude=a --exclude=b . /\n"
    assert [len(instruction.flags) for instruction in parse(text).stages[0].instructions] == [0, 2, 2]


def test_lower_case_keyword_is_located() -> None:
    assert locate_vertex(parse("FROM a\nrun x\n"), "[2/2] run x") == (0, 1)


def test_workdir_with_an_invalid_variable_stays_a_step() -> None:
    stage = parse(dockerfile := "FROM a\nWORKDIR ${X~y}\nRUN x\n").stages[0]
    assert [i.keyword for i in step_instructions(parse(dockerfile), stage)] == ["FROM", "WORKDIR", "RUN"]


@pytest.mark.parametrize("operator", ["#", "##", "%", "%%", "/"])
def test_expensive_patterns_are_refused(operator: str) -> None:
    word = "".join(["${X", operator, "*a" * 5000, "/y" if operator == "/" else "", "}"])
    with pytest.raises(ValueError, match="too long"):
        expand(word, {"X": "a" * 60_000})


def test_heredoc_expansion_keeps_quotes() -> None:
    assert expand("'$X' \"$X\" \\$X ${X:-'a'} ${Y:-'a'}", {"X": "1"}, quotes="") == "'1' \"1\" $X 1 'a'"
