"""A class that is graded without an engine: an exercise, submissions, and a grading notebook of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest

from stagelens_course.grading import Check, Exercise

# What an instructor may write: `points` is read from the submission, the other words make trouble.
GRADING = """
import os, tempfile, time
from pathlib import Path
from stagelens_course.grading import CheckResult, GradeReport
from stagelens_course.grading.notebook import GradeDisplay, recorded_report

report = recorded_report()
if report is None:
    words = Path(submission, "Dockerfile").read_text().split()
    order, rest = words[0], words[1:]
    if order == "crash":
        os._exit(3)
    if order == "raise":
        raise ValueError("this submission breaks the grader")
    if order == "wait":
        try:
            with tempfile.TemporaryDirectory(prefix="of-a-grading-"):
                Path(rest[0]).write_text("running")
                while not Path(rest[0] + "-go").exists():
                    time.sleep(0.05)
        finally:
            Path(rest[0]).write_text("cleaned")
    if order == "once" and not Path(rest[0]).exists():
        Path(rest[0]).write_text(str(os.getppid()))
        time.sleep(600)
    if order == "kill":
        os.kill(os.getppid(), 9)
        time.sleep(600)
    if order == "engine":
        words = [order, engine]
    if order == "engine" and rest:
        # Until another worker is at work, too.
        Path(rest[0], str(os.getppid())).touch()
        while len(list(Path(rest[0]).iterdir())) < 2:
            time.sleep(0.05)
    earned = 2.0 if order in ("right", "once") else 0.0
    seen = " ".join(words)
    check = CheckResult("works", "It works", 2.0, earned, earned > 0, "<b>right</b>", seen, "try again", "01")
    report = GradeReport(exercise, (check,), 2.0, earned, 0.1)
"""


def notebook(*sources: str) -> str:
    v4 = nbformat.v4
    parameters = v4.new_code_cell(
        'submission = ""\nexercise = ""\nengine = ""', metadata={"tags": ["parameters"]}, id="parameters"
    )
    cells = [v4.new_code_cell(source, id=f"c{count}") for count, source in enumerate(sources)]
    return nbformat.writes(v4.new_notebook(cells=[parameters, *cells], metadata={"kernelspec": SPEC}))


SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


class Classroom:
    """Submissions in a folder, each a Dockerfile with words for the grading notebook."""

    def __init__(self, folder: Path) -> None:
        self.submissions = folder / "class"
        self.out = folder / "out"
        task = folder / "exercise"
        task.mkdir()
        (task / "main.go").write_text("package main\n")
        check = Check("works", "files", "It works", 2.0, "try again", "01-multi-stage")
        self.exercise = Exercise("demo", "A <small> exercise", task, task, (check,), ())
        self.notebook = notebook(GRADING, "# NBVAL_CHECK_OUTPUT\nGraded(report)")

    def submit(self, **words: str) -> None:
        for learner, text in words.items():
            folder = self.submissions / learner
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "Dockerfile").write_text(text)

    def results(self) -> Mapping[str, Mapping[str, object]]:
        """What results.json says of each learner."""
        found = json.loads((self.out / "results.json").read_text(encoding="utf-8"))
        return {row["learner"]: row for row in found["learners"]}


@pytest.fixture
def classroom(tmp_path: Path) -> Classroom:
    return Classroom(tmp_path)
