"""Staging of a submission: which files are copied, and which the exercise restores."""

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


def staged(folder: Path, exercise: grading.Exercise = GO) -> Path:
    target = folder.with_name("staged")
    stage_submission(exercise, folder, target)
    return target


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    folder = tmp_path / "submitted"
    (folder / "docker").mkdir(parents=True)
    (folder / "docker/small").write_text("FROM diamol/base\n")
    return folder


def test_links_inside_a_submission_stay_links(submitted: Path) -> None:
    (submitted / "Dockerfile").symlink_to("docker/small")
    (submitted / "docker/up").symlink_to("../Dockerfile")
    (submitted / "nowhere").symlink_to("not/there")
    first = staged(submitted)
    again = first.with_name("again")
    stage_edit(first, again, GO.edits["page"], "t0")
    for folder in (first, again):
        assert (folder / "Dockerfile").readlink() == Path("docker/small")
        assert (folder / "docker/up").read_text() == "FROM diamol/base\n"
        assert (folder / "nowhere").is_symlink()


ODD: dict[str, Callable[[Path], object]] = {
    "a link to a file of the machine": lambda folder: (folder / "odd").symlink_to("/etc/passwd"),
    "a link to a folder above": lambda folder: (folder / "odd").symlink_to("../.."),
    "a link that leads out through a folder": lambda folder: (folder / "docker/odd").symlink_to("a/../../b"),
    "a pipe": lambda folder: os.mkfifo(folder / "odd"),
}


@pytest.mark.parametrize("name", ODD)
def test_staging_refuses_what_the_intake_rejects_with_a_reason(submitted: Path, name: str) -> None:
    (submitted / "Dockerfile").write_text("FROM diamol/base\n")
    assert pack_submission(Submission("ann", "ann", submitted)).digest
    ODD[name](submitted)
    with pytest.raises(SubmissionRejected):
        pack_submission(Submission("ann", "ann", submitted))
    with pytest.raises(SubmissionRefused, match="odd"):
        staged(submitted)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("size", "reason"), [(50 << 20, "Dockerfile, 50.0 MB"), (1 << 20, "the limit is 64 KiB")]
)
def test_huge_dockerfile_earns_nothing_and_the_reason_names_it(
    engine: Engine, submitted: Path, size: int, reason: str
) -> None:
    with (submitted / "Dockerfile").open("wb") as file:
        file.write(b"FROM diamol/base\n#")
        file.truncate(size)
    report = grading.grade_folder(GO, submitted, engine=engine)
    assert (report.error, report.earned) == (None, 0), "this is a grade, not an error of the grader"
    assert reason in report.checks[0].seen


def test_dockerfile_that_links_to_itself_counts_as_missing(submitted: Path) -> None:
    (submitted / "Dockerfile").symlink_to("Dockerfile")
    with pytest.raises(SubmissionRefused, match="no Dockerfile"):
        staged(submitted)


def test_restored_files_are_never_written_through_a_link(submitted: Path) -> None:
    (submitted / "Dockerfile").write_text("FROM diamol/base\n")
    (submitted / "pom.xml").symlink_to("Dockerfile")
    (submitted / "src").symlink_to("docker")
    target = staged(submitted, JAVA)
    assert (target / "Dockerfile").read_text() == "FROM diamol/base\n"
    assert sorted(path.name for path in (target / "docker").iterdir()) == ["small"]
    for name in ("pom.xml", "src/main/java/greeting/Server.java"):
        assert (target / name).read_text() == (JAVA.folder / name).read_text()
        assert not (target / name).is_symlink()
