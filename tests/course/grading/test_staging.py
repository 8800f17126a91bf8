"""A submission's folder as it is graded: what is taken, and what the exercise lays over it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stagelens.engine import Engine
from stagelens_course import grading
from stagelens_course.classroom.intake import Submission, SubmissionRejected, pack_submission
from stagelens_course.grading import SubmissionRefused
from stagelens_course.grading.staging import stage_edit, stage_submission

GO = grading.load_exercise("multi-stage-go")
JAVA = grading.load_exercise("java-order")


def composed(folder: Path, exercise: grading.Exercise = GO) -> Path:
    target = folder.with_name("composed")
    stage_submission(exercise, folder, target)
    return target


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    folder = tmp_path / "handed-in"
    (folder / "docker").mkdir(parents=True)
    (folder / "docker/small").write_text("FROM diamol/base\n")
    return folder


def test_links_inside_a_submission_stay_links(handed_in: Path) -> None:
    (handed_in / "Dockerfile").symlink_to("docker/small")
    (handed_in / "docker/up").symlink_to("../Dockerfile")
    (handed_in / "nowhere").symlink_to("not/there")
    first = composed(handed_in)
    again = first.with_name("again")
    stage_edit(first, again, GO.edits["page"], "t0")
    for folder in (first, again):
        assert (folder / "Dockerfile").readlink() == Path("docker/small")
        assert (folder / "docker/up").read_text() == "FROM diamol/base\n"
        assert (folder / "nowhere").is_symlink()


ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file of the machine": lambda folder: (folder / "odd").symlink_to("/etc/passwd"),
    "a link to a folder above": lambda folder: (folder / "odd").symlink_to("../.."),
    "a link out by a way through a folder": lambda folder: (folder / "docker/odd").symlink_to("a/../../b"),
    "a pipe": lambda folder: os.mkfifo(folder / "odd"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_the_intake_refuses_is_refused_here_with_a_reason(handed_in: Path, name: str) -> None:
    (handed_in / "Dockerfile").write_text("FROM diamol/base\n")
    assert pack_submission(Submission("ann", "ann", handed_in)).digest
    ODD[name](handed_in)
    with pytest.raises(SubmissionRejected):
        pack_submission(Submission("ann", "ann", handed_in))
    with pytest.raises(SubmissionRefused, match="odd"):
        composed(handed_in)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("size", "reason"), [(50 << 20, "Dockerfile, 50.0 MB"), (1 << 20, "it may have 64 KiB")]
)
def test_a_huge_dockerfile_is_neither_read_nor_copied_and_the_reason_names_it(
    engine: Engine, handed_in: Path, size: int, reason: str
) -> None:
    with (handed_in / "Dockerfile").open("wb") as file:
        file.write(b"FROM diamol/base\n#")
        file.truncate(size)
    report = grading.grade_folder(GO, handed_in, engine=engine)
    assert (report.error, report.earned) == (None, 0), "it is graded, and no error of the grader's"
    assert reason in report.checks[0].seen


def test_a_dockerfile_that_links_to_itself_is_none(handed_in: Path) -> None:
    (handed_in / "Dockerfile").symlink_to("Dockerfile")
    with pytest.raises(SubmissionRefused, match="no Dockerfile"):
        composed(handed_in)


def test_the_exercise_s_own_files_are_never_written_through_a_link(handed_in: Path) -> None:
    (handed_in / "Dockerfile").write_text("FROM diamol/base\n")
    (handed_in / "pom.xml").symlink_to("Dockerfile")
    (handed_in / "src").symlink_to("docker")
    target = composed(handed_in, JAVA)
    assert (target / "Dockerfile").read_text() == "FROM diamol/base\n"
    assert sorted(path.name for path in (target / "docker").iterdir()) == ["small"]
    for name in ("pom.xml", "src/main/java/greeting/Server.java"):
        assert (target / name).read_text() == (JAVA.folder / name).read_text()
        assert not (target / name).is_symlink()
