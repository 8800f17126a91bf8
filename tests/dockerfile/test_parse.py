"""What the parser knows of a Dockerfile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.dockerfile import DockerfileError, locate, parse, vertex_instructions

CHAPTER = """\
FROM diamol/base AS build-stage
RUN echo 'Building...' > /build.txt

FROM diamol/base AS test-stage
COPY --from=build-stage /build.txt /build.txt
RUN echo 'Testing...' >> /build.txt

FROM diamol/base
COPY --from=test-stage /build.txt /build.txt
CMD cat /build.txt
"""


def edges(text: str) -> list[tuple[int | str, int, str]]:
    return [(edge.source, edge.target, edge.kind) for edge in parse(text).edges]


def test_the_chapter_has_three_stages_and_their_edges() -> None:
    dockerfile = parse(CHAPTER)
    assert [stage.label for stage in dockerfile.stages] == ["build-stage", "test-stage", "stage-2"]
    assert dockerfile.stages[2].name is None
    assert [edge for edge in edges(CHAPTER) if edge[2] == "copy"] == [(0, 1, "copy"), (1, 2, "copy")]
    assert dockerfile.needed() == (0, 1, 2)
    assert dockerfile.needed("test-stage") == (0, 1)
    assert dockerfile.stage("TEST-STAGE").index == 1


def test_a_stage_that_nothing_copies_from_is_not_needed() -> None:
    assert parse("FROM a AS x\nFROM b\nRUN true\n").needed() == (1,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a AS x\nFROM X\n", [("a", 0, "from"), (0, 1, "from")]),
        ("FROM a\nFROM b\nCOPY --from=0 /x /\n", [("a", 0, "from"), ("b", 1, "from"), (0, 1, "copy")]),
        ("FROM scratch\nCOPY --from=nginx:1 /x /\n", [("nginx:1", 0, "copy")]),
        (
            "FROM a AS x\nFROM b\nRUN --mount=type=bind,from=x,target=/x ls\n",
            [("a", 0, "from"), ("b", 1, "from"), (0, 1, "mount")],
        ),
        ("FROM a\nONBUILD COPY --from=zzz /x /\n", [("a", 0, "from")]),
        ("ARG v=3\nFROM img:${v} AS x\n", [("img:3", 0, "from")]),
        ("ARG v\nFROM img:${v:-9}${v:+no}\n", [("img:9", 0, "from")]),
    ],
)
def test_edges(text: str, expected: list[tuple[int | str, int, str]]) -> None:
    assert edges(text) == expected


def test_build_arguments_override_the_default_of_a_global_arg() -> None:
    assert parse("ARG v=3\nFROM img:$v\n", build_args={"v": "4"}).stages[0].base == "img:4"


def test_continuations_comments_and_empty_lines_inside_an_instruction() -> None:
    text = 'FROM a\nRUN one \\\n# a comment\n\n  && two \\\n  && three\nCMD ["x"]\n'
    run = parse(text).stages[0].instructions[1]
    assert run.arguments == "one   && two   && three"
    assert (run.start_line, run.end_line) == (2, 6)
    assert parse(text).stages[0].instructions[2].words == ("x",)


def test_the_escape_directive_changes_the_continuation() -> None:
    dockerfile = parse("# escape=`\nFROM a\nRUN dir c:\\ `\n  && ver\n")
    assert dockerfile.escape == "`"
    assert dockerfile.stages[0].instructions[1].arguments == "dir c:\\   && ver"


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert parse("# hello\n# escape=`\nFROM a\n").escape == "\\"


def test_heredocs_with_their_bodies_and_lines() -> None:
    text = "FROM a\nRUN <<-EOF cat\n\tone\n\tEOF\nCOPY <<A <<'B' /x/\n1\nA\n2\nB\nRUN ls\n"
    _, run, copy, last = parse(text).stages[0].instructions
    assert [(h.name, h.content, h.expand) for h in run.heredocs] == [("EOF", "one\n", True)]
    assert [(h.content, h.expand) for h in copy.heredocs] == [("1\n", True), ("2\n", False)]
    assert (copy.start_line, copy.end_line, last.start_line) == (5, 9, 10)


def test_flags_and_letter_case() -> None:
    copy = parse("from a\ncopy --chown=1:2 --link x /y\n").stages[0].instructions[1]
    assert (copy.keyword, copy.flag("chown"), copy.flag("link"), copy.flag("from")) == (
        "COPY",
        "1:2",
        "",
        None,
    )
    assert copy.arguments == "x /y"


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    assert parse("\ufeffFROM a\r\nRUN b\r\n").stages[0].instructions[1].arguments == "b"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "no FROM"),
        ("RUN x\n", 1, "before FROM"),
        ("FROM a\n\nRUNN x\n", 3, "unknown instruction: RUNN"),
        ("FROM a b\n", 1, "one or three"),
        ("FROM a AS 9x\n", 1, "invalid name"),
        ("FROM a\nRUN\n", 2, "at least one argument"),
        ("FROM a\nCOPY x\n", 2, "at least two"),
        ("FROM a\nRUN <<E\nx\n", 2, "unterminated heredoc"),
        ("FROM a\nCOPY --form=b x /\n", 2, "unknown flag: --form"),
        ("FROM a AS x\nCOPY --from=1 /a /\nFROM b\n", 2, "no earlier stage"),
        ("FROM a AS x\nCOPY --from=y /a /\nFROM b AS y\n", 2, "begins in line 3"),
        ("ARG v\nFROM $v\n", 2, "should not be blank"),
        ("# escape=x\nFROM a\n", 1, "invalid escape"),
        ("FROM a\nRUN x\0\n", 2, "NUL"),
        ("FROM a\nONBUILD FROM b\n", 2, "isn't allowed"),
    ],
)
def test_a_bad_file_is_told_with_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "my/Dockerfile")
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert "my/Dockerfile" in str(caught.value)


@given(st.text(alphabet=st.sampled_from("FROMCPYUN asx/=\\\"'$<>{}[]#-\n\t:,1\0"), max_size=200))
def test_any_text_parses_or_is_a_dockerfile_error(text: str) -> None:
    try:
        dockerfile = parse("FROM a\n" + text)
    except DockerfileError:
        return
    lines = [(i.start_line, i.end_line) for stage in dockerfile.stages for i in stage.instructions]
    assert all(start <= end for start, end in lines)
    assert all(a[1] < b[0] for a, b in pairwise(lines))
    for edge in dockerfile.edges:
        assert edge.target < len(dockerfile.stages)
        assert not isinstance(edge.source, int) or edge.source < edge.target


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[build-stage 1/2] FROM docker.io/diamol/base", (0, 0)),
        ("[build-stage 2/2] RUN echo", (0, 1)),
        ("[test-stage 2/3] COPY --from=build-stage /build.txt /build.txt", (1, 1)),
        ("[stage-2 2/2] COPY --from=test-stage", (2, 1)),
        ("[linux/amd64 test-stage 3/3] RUN x", (1, 2)),
        ("[internal] load build context", None),
        ("exporting to image", None),
    ],
)
def test_a_vertex_name_leads_to_its_line(name: str, expected: tuple[int, int] | None) -> None:
    assert locate(parse(CHAPTER), name) == expected


def test_steps_of_a_stage_on_scratch_or_on_another_stage_do_not_count_its_from() -> None:
    dockerfile = parse("FROM scratch AS a\nENV x=1\nCOPY b /\nFROM a\nWORKDIR /w\nCMD x\n")
    assert [i.keyword for i in vertex_instructions(dockerfile.stages[0])] == ["COPY"]
    assert [i.keyword for i in vertex_instructions(dockerfile.stages[1])] == ["WORKDIR"]


def test_a_trigger_of_the_base_image_shifts_the_count() -> None:
    dockerfile = parse("FROM withtrigger AS a\nRUN one\nRUN two\nFROM a\n")
    assert locate(dockerfile, "[a 4/4] RUN two") == (0, 2)
    assert locate(dockerfile, "[a 3/4] RUN one") == (0, 1)
