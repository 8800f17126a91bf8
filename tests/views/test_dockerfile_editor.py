"""The Dockerfile editor without a browser: problems by line, saving, building."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from stagelens_testing.resources import PATIENCE

from stagelens.builds import BuildTrace, Vertex
from stagelens.dockerfile import DockerfileError, parse
from stagelens.errors import StagelensError
from stagelens.views import DockerfileEditor, lint

GOOD = "FROM busybox AS one\nRUN echo '<b>'\n"
BAD = "FROM busybox\nNONSENSE here\n"
RUN = Vertex("a" * 64, "[one 2/2] RUN echo", started=1.0, completed=2.0, stage=0, instruction=1)


@pytest.fixture(autouse=True)
def without_hadolint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(lint, "_TIMEOUT", PATIENCE)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(GOOD)
    return folder


def hadolint(tmp_path: Path, script: str) -> None:
    program = tmp_path / "bin" / "hadolint"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_parser_error_is_a_problem_of_its_line() -> None:
    assert lint.find_problems(GOOD) == ()
    (problem,) = lint.find_problems(BAD)
    assert (problem.line, problem.level, problem.rule) == (2, "error", "")
    assert "NONSENSE" in problem.message


@pytest.mark.parametrize(
    ("instruction", "warned"),
    [
        ("CMD ['app', '-x']", True),
        ("CMD ['app']", True),
        ('CMD ["app", "-x",]', True),
        ('ENTRYPOINT ["app" "-x"]', True),
        ("ENTRYPOINT [“app”]", True),
        ("RUN ['make', 'all']", True),
        ('CMD ["app", "-x"]', False),
        ("CMD app", False),
        ('RUN [ "$X" = "y" ]', False),
        ("RUN [ -f /x ] || echo 'no'", False),
        ("CMD []", False),
    ],
)
def test_exec_form_that_is_not_json_is_a_warning(instruction: str, warned: bool) -> None:
    found = [
        (problem.line, problem.level) for problem in lint.find_problems(f"FROM busybox\n{instruction}\n")
    ]
    assert found == ([(2, "warning")] if warned else [])


def test_upper_case_stage_name_in_from_is_an_error() -> None:
    (problem,) = lint.find_problems("FROM busybox AS TOOLS\nFROM TOOLS\n")
    assert (problem.line, problem.level) == (2, "error")
    assert problem.message.endswith("Next: write FROM tools")


def test_hadolint_problems_are_listed_if_it_is_installed(tmp_path: Path) -> None:
    row = {"line": 2, "level": "warning", "code": "DL3059", "message": "Many RUN", "column": 1, "file": "-"}
    unread = row | {"code": "DL1000", "message": "our parser tells that better"}
    hadolint(tmp_path, f"while read -r _; do :; done\necho '{json.dumps([unread, row])}'")
    assert lint.find_problems(GOOD) == (lint.Problem(2, "warning", "Many RUN", "DL3059"),)


@pytest.mark.parametrize("script", ["echo no json", "exit 9", "echo '[{}]'", "echo 7"])
def test_hadolint_without_usable_output_is_ignored(script: str, tmp_path: Path) -> None:
    hadolint(tmp_path, script)
    assert lint.find_problems(GOOD) == ()


def test_edits_are_linted_at_once_and_saved_on_request(context: Path) -> None:
    view = DockerfileEditor(context)
    view.source = BAD
    assert [row[0] for row in view.problems] == [2]
    assert not view.saved
    assert (context / "Dockerfile").read_text() == GOOD
    (context / "Dockerfile").chmod(0o640)
    view.request("save", source=BAD + "# more\n")
    assert view.source == BAD, "the request must not replace what the reader types meanwhile"
    view.source = BAD + "# more\n"
    assert view.saved
    assert (context / "Dockerfile").read_text() == BAD + "# more\n"
    assert stat.S_IMODE((context / "Dockerfile").stat().st_mode) == 0o640
    assert [path.name for path in context.iterdir()] == ["Dockerfile"]


def test_save_loses_no_change_of_another_editor(context: Path) -> None:
    view = DockerfileEditor(context, language="ko")
    file = context / "Dockerfile"
    file.write_text("FROM theirs\n")
    view.request("save", source=GOOD)
    assert (view.source, view.saved, file.read_text()) == ("FROM theirs\n", True, "FROM theirs\n")
    assert "다른 편집기" in view.message
    file.write_text("FROM theirs AS one\n")
    view.request("save", source="FROM mine\n")
    assert file.read_text() == "FROM mine\n"
    assert file.with_name("Dockerfile.before").read_text() == "FROM theirs AS one\n"
    assert "Dockerfile.before" in view.message
    view.request("save", source="FROM mine AS one\n")
    assert view.message == ""
    assert file.with_name("Dockerfile.before").read_text() == "FROM theirs AS one\n"


def test_save_writes_the_target_of_a_symlink(context: Path) -> None:
    target = context.parent / "shared.Dockerfile"
    (context / "Dockerfile").rename(target)
    (context / "Dockerfile").symlink_to(target)
    view = DockerfileEditor(context)
    view.source = "FROM small\n"
    view.save()
    assert (context / "Dockerfile").is_symlink()
    assert target.read_text() == "FROM small\n"


def test_invalid_dockerfile_is_saved_but_not_built(context: Path) -> None:
    view = DockerfileEditor(context)
    with pytest.raises(DockerfileError, match=r"The Dockerfile cannot be read\.") as refused:
        view.request("build", source=BAD)
    assert "line 2" in str(refused.value.where)
    assert view.build_view.phase == "waiting"


def test_invalid_dockerfile_clears_the_earlier_build(context: Path) -> None:
    view = DockerfileEditor(context)
    view.build_view.finish(BuildTrace(parse(GOOD), (RUN,), "session", "sha256:0", started=1.0, completed=2.0))
    assert view.build_view.phase == "done"
    assert view.build_view.steps
    with pytest.raises(DockerfileError):
        view.request("build", source=BAD)
    assert (view.build_view.phase, view.build_view.steps, view.build_view.outline) == ("waiting", [], {})


def test_build_is_refused_while_another_runs(context: Path) -> None:
    view = DockerfileEditor(context)
    view.build_view.on_vertex(RUN, ())
    assert view.disabled == ["build"]
    with pytest.raises(StagelensError, match="wait for its end, or cancel it"):
        view.request("build", source=GOOD)
    view.build_view.finish(BuildTrace(parse(GOOD), (RUN,), "session", "sha256:0", started=1.0, completed=2.0))
    assert view.disabled == []


def test_unreadable_or_large_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StagelensError, match="cannot be read"):
        DockerfileEditor(tmp_path)
    (tmp_path / "Dockerfile").write_bytes(b"\xff\xfe")
    with pytest.raises(StagelensError, match="cannot be read"):
        DockerfileEditor(tmp_path)
    (tmp_path / "Dockerfile").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(StagelensError, match="too large"):
        DockerfileEditor(tmp_path)


def test_static_fallback_shows_lines_with_problems(context: Path) -> None:
    view = DockerfileEditor(context)
    assert "RUN echo &#39;&lt;b&gt;&#39;" in view._repr_html_()
    assert str(view).endswith("Dockerfile: 1 stage, 0 problems")
    view.source = BAD
    assert str(view).splitlines()[-1].startswith("2: ")
    assert "NONSENSE" in view._repr_html_()
