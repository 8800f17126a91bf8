"""Parse Dockerfiles into stages, instructions and edges, and report mistakes."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens.dockerfile import DockerfileError, copy_paths, load, locate_vertex, parse, step_instructions

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


def test_stages_and_edges_of_the_book_example() -> None:
    dockerfile = parse(CHAPTER)
    assert [stage.label for stage in dockerfile.stages] == ["build-stage", "test-stage", "stage-2"]
    assert dockerfile.stages[2].name is None
    assert [edge for edge in edges(CHAPTER) if edge[2] == "copy"] == [(0, 1, "copy"), (1, 2, "copy")]
    assert dockerfile.needed_stages() == (0, 1, 2)
    assert dockerfile.needed_stages("test-stage") == (0, 1)
    assert dockerfile.stage("TEST-STAGE").index == 1


def test_stage_without_dependents_is_not_needed() -> None:
    assert parse("FROM a AS x\nFROM b\nRUN true\n").needed_stages() == (1,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a AS X\nFROM x\n", [("a", 0, "from"), (0, 1, "from")]),
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


def test_comments_and_empty_lines_inside_a_continuation_are_dropped() -> None:
    text = 'FROM a\nRUN one \\\n# a comment\n\n  && two \\\n  && three\nCMD ["x"]\n'
    run = parse(text).stages[0].instructions[1]
    assert run.arguments == "one   && two   && three"
    assert (run.start_line, run.end_line) == (2, 6)
    assert parse(text).stages[0].instructions[2].words == ("x",)


def test_escaped_escape_character_does_not_continue_a_line() -> None:
    assert [i.arguments for i in parse("FROM a\nRUN echo \\\\\nCMD x\n").stages[0].instructions[1:]] == [
        "echo \\\\",
        "x",
    ]


def test_mount_source_is_a_csv_field_and_never_a_stage_number() -> None:
    text = "FROM a AS x\nFROM b\nRUN --mount=\"type=bind,'from=x'\" ls\nRUN --mount=type=bind,from=0 ls\n"
    assert edges(text.replace("'", '\\"'))[2:] == [(0, 1, "mount"), ("0", 1, "mount")]


def test_escape_directive_changes_the_continuation() -> None:
    dockerfile = parse("# escape=`\nFROM a\nRUN dir c:\\ `\n  && ver\n")
    assert dockerfile.escape == "`"
    assert dockerfile.stages[0].instructions[1].arguments == "dir c:\\   && ver"


def test_directive_after_a_comment_is_a_comment() -> None:
    assert parse("# hello\n# escape=`\nFROM a\n").escape == "\\"


def test_heredocs_have_contents_and_lines() -> None:
    text = "FROM a\nRUN <<-EOF cat\n\tone\n\tEOF\nCOPY <<A <<'B' /x/\n1\nA\n2\nB\nRUN ls\n"
    _, run, copy, last = parse(text).stages[0].instructions
    assert [(h.name, h.content, h.expand) for h in run.heredocs] == [("EOF", "\tone\n", True)]
    assert run.heredocs[0].chomp
    assert [(h.content, h.expand) for h in copy.heredocs] == [("1\n", True), ("2\n", False)]
    assert (copy.start_line, copy.end_line, last.start_line) == (5, 9, 10)


def test_keywords_are_case_insensitive_and_flags_are_parsed() -> None:
    copy = parse("from a\ncopy --chown=1:2 --link x /y\n").stages[0].instructions[1]
    assert (copy.keyword, copy.flag("chown"), copy.flag("link"), copy.flag("from")) == (
        "COPY",
        "1:2",
        "",
        None,
    )
    assert copy.arguments == "x /y"


def test_heredoc_content_preserves_line_ends_and_tabs() -> None:
    copy = parse("FROM a\r\nCOPY <<E /x\r\n\tone\r\nE\r\n").stages[0].instructions[1]
    assert copy.heredocs[0].content == "\tone\r\n"
    assert copy.source == "COPY <<E /x\r\n\tone\r\nE\r"


def test_load_preserves_line_ends_and_drops_the_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(b"\xef\xbb\xbfFROM a\r\nRUN b\rc\r\n")
    loaded = load(tmp_path / "Dockerfile")
    assert loaded.text == "FROM a\r\nRUN b\rc\r\n"
    assert loaded.stages[0].instructions[1].end_line == 2


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"FROM a\nRUN \xff\n", 2, "0xff is not UTF-8"),
        ("FROM a\n".encode("utf-16"), 0, "UTF-16"),
        (b"#" * (4 << 20) + b"##", 0, "larger than"),
        (b"", 0, "no FROM"),
        (b"   \n# only a comment\n", 0, "no FROM"),
    ],
)
def test_load_reports_unreadable_content_with_its_line(
    tmp_path: Path, content: bytes, line: int, reason: str
) -> None:
    path = tmp_path / "Dockerfile"
    path.write_bytes(content)
    with pytest.raises(DockerfileError) as caught:
        load(path)
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert str(path) in str(caught.value)


def test_load_reports_folders_fifos_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DockerfileError, match="a folder"):
        load(tmp_path)
    os.mkfifo(tmp_path / "Dockerfile")
    with pytest.raises(DockerfileError, match="no regular file"):
        load(tmp_path / "Dockerfile")
    with pytest.raises(DockerfileError, match="no such file"):
        load(tmp_path / "other")


def test_windows_line_ends_and_byte_order_mark_are_ignored() -> None:
    assert parse("\ufeffFROM a\r\nRUN b\r\n").stages[0].instructions[1].arguments == "b"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "no FROM"),
        ("RUN x\n", 1, "before FROM"),
        ("FROM a\n\nRUNN x\n", 3, "unknown instruction: RUNN"),
        ("FROM a b\n", 1, "one or three"),
        ("FROM a AS 9x\n", 1, "invalid name"),
        ("FROM a\nUSER\n", 2, "exactly one argument"),
        ("FROM a\nEXPOSE\n", 2, "at least one argument"),
        ("FROM a\nCMD --foo\n", 2, "unknown flag: --foo"),
        ("FROM a\nCOPY --link=maybe x /\n", 2, "boolean"),
        ("FROM a\nCOPY --chown x /\n", 2, "missing a value"),
        ("FROM a\nCOPY --chown=1 --chown=2 x /\n", 2, "duplicate flag"),
        ("FROM a\nCOPY x <<E\nE\n", 2, "destination"),
        ('FROM a\nCMD ["x", 1]\n', 2, "strings only"),
        ("FROM a\nSHELL sh\n", 2, "JSON form"),
        ("FROM a\nENV x\n", 2, "two arguments"),
        ("FROM a\nLABEL a=b c\n", 2, "can't find ="),
        ("FROM a\nHEALTHCHECK ls\n", 2, "unknown type"),
        ("ARG v=1\nFROM a\nCOPY --from=$v x /\n", 3, "variables are not replaced"),
        ("FROM a\n\\\n", 2, "unknown instruction"),
        ("FROM a\nRUN " + "x" * 66_000 + "\n", 2, "longer than"),
        ("FROM ${a^}\n", 1, "unsupported modifier"),
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
def test_errors_have_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text, "my/Dockerfile")
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert "my/Dockerfile" in str(caught.value)


def test_misspelled_instruction_gets_a_suggestion() -> None:
    with pytest.raises(DockerfileError, match="did you mean ENTRYPOINT"):
        parse("FROM a\nENTRYPIONT x\n")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("ARG a=$a$a\n" * 60, "variables grow"),
        ("ARG b=${a//x/" + "y" * 60_000 + "}\n", "too long"),
        ("ARG a=$a$a\n" * 8 + "ARG b=.$a\n" * 9000, "variables make the file larger"),
    ],
)
def test_nested_variables_are_limited_in_size(lines: str, reason: str) -> None:
    with pytest.raises(DockerfileError, match=reason):
        parse("ARG a=" + "x" * 60 + "\n" + lines + "FROM b\n")


def test_largest_number_of_stages_is_parsed_in_linear_time() -> None:
    # A search through all stages for each of them would take hours.
    count = 100_000
    stages = "".join(f"FROM b AS b\nCOPY --from=s{n} x y\n" for n in range(count))
    dockerfile = parse("FROM a AS b\n" + stages)
    assert [stage.base_stage for stage in dockerfile.stages] == [None, *range(count)]
    assert len(dockerfile.needed_stages()) == count + 1


@given(st.text(alphabet=st.sampled_from("FROMCPYUN asx/=\\\"'$<>{}[]#-\n\t:,1\0"), max_size=200))
def test_any_text_parses_or_raises_dockerfile_error(text: str) -> None:
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
def test_vertex_name_is_located(name: str, expected: tuple[int, int] | None) -> None:
    assert locate_vertex(parse(CHAPTER), name) == expected


def test_from_is_a_step_only_on_an_image() -> None:
    dockerfile = parse("FROM scratch AS a\nENV x=1\nCOPY b /\nFROM a\nWORKDIR /w\nCMD x\n")
    assert [i.keyword for i in step_instructions(dockerfile, dockerfile.stages[0])] == ["COPY"]
    assert [i.keyword for i in step_instructions(dockerfile, dockerfile.stages[1])] == ["WORKDIR"]


def test_workdir_that_resolves_to_the_root_is_not_a_step() -> None:
    dockerfile = parse("FROM base AS a\nWORKDIR /\nWORKDIR y\nFROM a\nWORKDIR ..\nRUN x\n")
    assert [i.start_line for i in step_instructions(dockerfile, dockerfile.stages[0])] == [1, 3]
    assert [i.start_line for i in step_instructions(dockerfile, dockerfile.stages[1])] == [6]


@pytest.mark.parametrize(
    ("before", "inside", "path", "build_args", "root"),
    [
        ("", "ARG X=/", "$X", {}, True),
        ("", "ARG X=/", "$X", {"X": "/w"}, False),
        ("", "ARG X", '"${X}"', {"X": "/"}, True),
        ("ARG X=/\n", "ARG X", "$X", {}, True),
        ("ARG X=/\n", "ENV Z=z", "/w$X", {}, False),
        ("", "ENV X=/ Y=$X/..", "/w/$X", {}, False),
        ("", "ENV X=/\nENV Y=$X/w/..", "$Y", {}, True),
        ("", "ENV X /\nARG X=/w", "$X", {}, False),
        ("", "ARG X=/w\nENV X /", "$X", {"X": "/w"}, True),
        ("", "ENV X /\nARG X", "$X", {}, True),
        # The base image's variables are unknown.
        ("", "ENV Z=z", "$HOME", {}, False),
    ],
)
def test_workdir_variable_that_resolves_to_the_root_is_not_a_step(
    before: str, inside: str, path: str, build_args: dict[str, str], root: bool
) -> None:
    dockerfile = parse(f"{before}FROM base\n{inside}\nWORKDIR {path}\nRUN x\n", build_args=build_args)
    steps = [i.keyword for i in step_instructions(dockerfile, dockerfile.stages[0])]
    assert steps == ["FROM", "RUN"] if root else ["FROM", "WORKDIR", "RUN"]


def test_triggers_of_the_base_image_shift_the_step_numbers() -> None:
    dockerfile = parse("FROM withtrigger AS a\nRUN one\nRUN two\nFROM a\n")
    assert locate_vertex(dockerfile, "[a 4/4] RUN two") == (0, 2)
    assert locate_vertex(dockerfile, "[a 3/4] RUN one") == (0, 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[a 1/3] FROM docker.io/library/withtrigger", (0, 0)),
        ("[a 2/3] WORKDIR /trigger", None),
        ("[a 3/3] RUN trigger", None),
        ("[a 4/3] RUN one  &&  two", (0, 1)),
        ("[a 5/3] COPY --from=x 1 /y", (0, 3)),
        ("[b 1/2] RUN one", (1, 0)),
        ("[b 2/2] WORKDIR /w", (1, 0)),
        ("[b 3/2] RUN one", (1, 1)),
        ("[b 4/2] RUN two", (1, 2)),
        ("[c 1/1] RUN one", (2, 1)),
    ],
)
def test_triggers_missing_from_the_total_are_handled(name: str, expected: tuple[int, int] | None) -> None:
    """Engine 20.10 uses these names."""
    a = "FROM withtrigger AS a\nRUN one && \\\n  two\nENV v=1\nCOPY --from=x $v /y\n"
    a += "ONBUILD RUN one\nONBUILD ENV x=y\nONBUILD WORKDIR /w\n"
    dockerfile = parse(f"{a}FROM a AS b\nRUN one\nRUN two\nFROM b AS c\nRUN one\n")
    assert locate_vertex(dockerfile, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[a 2/6] RUN echo a", (0, 2)),
        ("[a 3/6] WORKDIR /x", (0, 3)),
        ("[a 4/6] RUN echo a", (0, 5)),
        ("[stage-1 1/5] RUN echo", (1, 2)),
        ("[stage-1 2/5] WORKDIR /y", (1, 3)),
        ("[stage-1 3/5] RUN echo", (1, 5)),
    ],
)
def test_workdir_that_resolves_to_the_root_is_numbered(name: str, expected: tuple[int, int]) -> None:
    """Engine 20.10 uses these names."""
    a = "FROM x AS a\nWORKDIR /\nRUN echo a\nWORKDIR /x\nWORKDIR ../\nRUN echo a\n"
    b = 'FROM a\nWORKDIR "/"\nRUN echo\nWORKDIR y\nWORKDIR ..\nRUN echo\n'
    assert locate_vertex(parse(a + b), name) == expected


def test_vertex_text_decides_between_stages_of_one_name() -> None:
    dockerfile = parse("FROM x AS a\nRUN one\nFROM x AS A\nRUN two\nFROM a\nRUN three\n")
    assert locate_vertex(dockerfile, "[a 2/2] RUN one") == (0, 1)
    assert locate_vertex(dockerfile, "[a 2/2] RUN two") == (1, 1)


def test_declared_platform_arguments_expand_in_workdir() -> None:
    dockerfile = parse("FROM x\nARG TARGETVARIANT\nWORKDIR /$TARGETVARIANT\nRUN one\n")
    assert [i.keyword for i in step_instructions(dockerfile, dockerfile.stages[0])] == ["FROM", "RUN"]


def test_env_wins_over_an_arg_of_the_stage_below() -> None:
    dockerfile = parse("FROM x AS a\nENV A=env\nARG A=arg\nCOPY $A /\nFROM a\nCOPY $A /\n")
    copies = [(stage, stage.instructions[-1]) for stage in dockerfile.stages]
    assert [copy_paths(dockerfile, *copy)[0] for copy in copies] == [("arg",), ("env",)]


def test_copy_paths_use_the_variables_and_workdir_at_the_instruction() -> None:
    text = "ARG A=1\nFROM x\nENV E=e\nCOPY $E a$A /\nWORKDIR w\nENV E=later\nARG A\nADD $E a$A b c\n"
    dockerfile = parse(text)
    stage = dockerfile.stages[0]
    copy, add = (i for i in stage.instructions if i.keyword in ("COPY", "ADD"))
    # A variable without a value here may have one in the base image.
    assert copy_paths(dockerfile, stage, copy) == (("e", "a$A"), "/")
    assert copy_paths(dockerfile, stage, add) == (("later", "a1", "b"), "/w/c")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[other 1/3] FROM docker.io/library/x", (0, 0)),
        ("[other 1/3] FROM docker.io/library/x:latest@sha256:00", (0, 0)),
        ("[1/2] FROM docker.io/diamol/y:1", (1, 0)),
        ("[other 1/2] FROM docker.io/library/z", None),
        ("[other 2/3] RUN one", (0, 1)),
        ("[3/3] RUN one", (1, 2)),
        ("[other 2/3] RUN three", None),
    ],
)
def test_vertex_named_by_a_concurrent_build_is_located_by_its_text(
    name: str, expected: tuple[int, int] | None
) -> None:
    dockerfile = parse("FROM x AS a\nRUN one\nFROM diamol/y:1\nRUN two\nRUN one\n")
    assert locate_vertex(dockerfile, name) == expected
