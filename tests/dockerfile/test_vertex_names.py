"""The instruction behind the name that BuildKit gives a step."""

from __future__ import annotations

import pytest

from stagelens.dockerfile import locate_vertex, parse


@pytest.mark.parametrize("label", ["", "builder"])
@pytest.mark.parametrize("total", [9, 10, 12, 99, 100])
def test_each_step_of_a_long_stage_is_located(total: int, label: str) -> None:
    text = f"FROM base{label and ' AS ' + label}\n"
    text += "".join(f"RUN step {n}\n" for n in range(2, total + 1))
    dockerfile = parse(text + (label and "FROM base\n"))
    width = len(str(total))
    commands = ["FROM docker.io/library/base", *(f"RUN step {n}" for n in range(2, total + 1))]
    names = [
        f"[{label and label + ' '}{n:{width}}/{total}] {command}"
        for n, command in enumerate(commands, start=1)
    ]
    assert [locate_vertex(dockerfile, name) for name in names] == [(0, index) for index in range(total)]


@pytest.mark.parametrize(
    "prefix",
    [
        "linux/amd64",
        "linux/amd64/v3",
        "linux/arm64->amd64",
        "linux/amd64->arm/v7",
        "linux/amd64->windows/amd64",
        "windows(10.0.17763.3165)/amd64",
        "darwin/arm64->linux/amd64/v2",
    ],
)
def test_platform_before_the_stage_is_accepted(prefix: str) -> None:
    dockerfile = parse("FROM x AS a\nRUN one\nRUN two\nFROM a\nRUN three\n")
    assert locate_vertex(dockerfile, f"[{prefix} a 2/3] RUN one") == (0, 1)
    assert locate_vertex(dockerfile, f"[{prefix} a 3/3] RUN two") == (0, 2)
    assert locate_vertex(dockerfile, f"[{prefix} stage-1 1/1] RUN three") == (1, 1)
    single = parse("FROM x\nRUN one\nRUN two\n")
    assert locate_vertex(single, f"[{prefix} 3/3] RUN two") == (0, 2)


@pytest.mark.parametrize(
    "command",
    [
        'RUN [ -n "$X" ] && [[ 1 ]]',
        "RUN test 2/3] x",
        "RUN x [other 1/2] RUN y",
        'RUN ["/bin/x", "[a 1/2]"]',
        "RUN printf '%s\n' 'one\ntwo'",
    ],
)
def test_brackets_and_line_ends_in_the_command_do_not_mislead(command: str) -> None:
    text = command.replace("\n", "\\\n")
    dockerfile = parse(f"FROM x AS a\nRUN first\n{text}\nFROM x AS other\nRUN y\n")
    assert locate_vertex(dockerfile, f"[a 3/3] {command}") == (0, 2)


@pytest.mark.parametrize("link", ["", "LINK "])
def test_both_vertices_of_a_linked_copy_are_located(link: str) -> None:
    text = "FROM x AS a\nCOPY --link one /\nCOPY --link --chown=1 two /\nADD --link three /\n"
    dockerfile = parse(text + "FROM x\n")
    assert locate_vertex(dockerfile, f"[a 2/4] {link}COPY --link one /") == (0, 1)
    assert locate_vertex(dockerfile, f"[linux/arm64 a 3/4] {link}COPY --link --chown=1 two /") == (0, 2)
    assert locate_vertex(dockerfile, f"[a 4/4] {link}ADD --link three /") == (0, 3)


def test_title_of_a_heredoc_is_accepted() -> None:
    text = "FROM x\nRUN one\nRUN <<EOF\ntwo\nEOF\nRUN <<-END\n\tthree 3/4] x\n\tEND\n"
    dockerfile = parse(text + "COPY <<A <<B /x/\n1\nA\n2\nB\n")
    assert locate_vertex(dockerfile, "[3/5] RUN <<EOF (two)") == (0, 2)
    assert locate_vertex(dockerfile, "[4/5] RUN <<-END (three 3/4] x...)") == (0, 3)
    assert locate_vertex(dockerfile, "[5/5] COPY <<A <<B /x/") == (0, 4)


def test_heredoc_does_not_match_another_command() -> None:
    dockerfile = parse("FROM x AS a\nRUN <<EOF\ntwo\nEOF\nFROM x\n")
    assert locate_vertex(dockerfile, "[elsewhere 2/2] RUN make") is None


def test_trigger_of_the_base_image_belongs_to_the_from() -> None:
    dockerfile = parse("FROM x AS a\nRUN one\nRUN two\nFROM y AS b\n")
    assert locate_vertex(dockerfile, "[a  2/12] ONBUILD RUN one") == (0, 0)
    assert locate_vertex(dockerfile, "[b 2/2] ONBUILD RUN one") == (1, 0)
    assert locate_vertex(dockerfile, "[a 3/4] RUN one") == (0, 1)
    assert locate_vertex(dockerfile, "[a 4/4] RUN two") == (0, 2)
