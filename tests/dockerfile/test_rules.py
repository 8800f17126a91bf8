"""Rules of the engine's own reader that few Dockerfiles meet."""

from __future__ import annotations

import pytest

from stagelens.dockerfile import expand, locate, parse, step_instructions


def test_of_stages_that_share_a_name_the_last_one_has_it() -> None:
    assert parse("FROM a AS x\nFROM b AS X\nFROM c\n").stage("x").index == 1


def test_an_unknown_directive_ends_the_directives() -> None:
    assert parse("# else=x\n# escape=`\nFROM a\n").escape == "\\"
    assert parse("# check=skip=all\n# escape=`\nFROM a\n").escape == "`"


def test_flags_that_may_come_more_than_once() -> None:
    text = "FROM a\nRUN --device=a --device=b x\nCOPY --exclude=a --exclude=b . /\n"
    assert [len(instruction.flags) for instruction in parse(text).stages[0].instructions] == [0, 2, 2]


def test_a_keyword_in_small_letters_is_found_by_its_vertex() -> None:
    assert locate(parse("FROM a\nrun x\n"), "[2/2] run x") == (0, 1)


def test_a_variable_that_cannot_be_replaced_is_left_to_the_engine() -> None:
    stage = parse(dockerfile := "FROM a\nWORKDIR ${X~y}\nRUN x\n").stages[0]
    assert [i.keyword for i in step_instructions(parse(dockerfile), stage)] == ["FROM", "WORKDIR", "RUN"]


@pytest.mark.parametrize("operator", ["#", "##", "%", "%%", "/"])
def test_a_pattern_takes_no_time_without_end(operator: str) -> None:
    word = "".join(["${X", operator, "*a" * 5000, "/y" if operator == "/" else "", "}"])
    with pytest.raises(ValueError, match="too long"):
        expand(word, {"X": "a" * 60_000})


def test_a_here_document_keeps_its_quotes() -> None:
    assert expand("'$X' \"$X\" \\$X ${X:-'a'} ${Y:-'a'}", {"X": "1"}, quotes="") == "'1' \"1\" $X 1 'a'"
