"""A class that is graded without an engine, and helpers for the tests of a grading run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil

from stagelens_course.classroom.intake import Submission, pack_submission
from stagelens_course.classroom.runner.task import GradingTask
from stagelens_course.grading import Exercise
from stagelens_course.grading.checks import BuildSucceeds
from stagelens_testing.resources import PATIENCE

# A grading notebook that reads its instructions from the submission's Dockerfile.
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
        # Wait until another worker runs, too.
        Path(rest[0], str(os.getppid())).touch()
        while len(list(Path(rest[0]).iterdir())) < 2:
            time.sleep(0.05)
    earned = 2.0 if order in ("right", "once") else 0.0
    seen = " ".join(words)
    check = CheckResult("works", "It works", 2.0, earned, earned > 0, "<b>right</b>", seen, "try again", "01")
    report = GradeReport(exercise, (check,), 2.0, earned, 0.1)
"""
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


class Classroom:
    """A class in a folder; each submission is a Dockerfile with instructions for the grading notebook."""

    def __init__(self, folder: Path) -> None:
        self.submissions = folder / "class"
        self.out = folder / "out"
        project = folder / "exercise"
        project.mkdir()
        (project / "main.go").write_text("package main\n")
        check = BuildSucceeds("works", "It works", 2.0, "try again", "01-multi-stage")
        self.exercise = Exercise("demo", "A <small> exercise", project, project, (check,), ())
        self.notebook = _notebook(GRADING, "# NBVAL_CHECK_OUTPUT\nGradeDisplay(report)")

    def submit(self, **dockerfiles: str) -> None:
        """Write the Dockerfiles of some learners."""
        for learner, text in dockerfiles.items():
            folder = self.submissions / learner
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "Dockerfile").write_text(text)

    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the learners' results in results.json."""
        found = json.loads((self.out / "results.json").read_text(encoding="utf-8"))
        return {row["learner"]: row for row in found["learners"]}


def _notebook(*sources: str) -> str:
    v4 = nbformat.v4
    parameters = v4.new_code_cell(
        'submission = ""\nexercise = ""\nengine = ""', metadata={"tags": ["parameters"]}, id="parameters"
    )
    cells = [v4.new_code_cell(source, id=f"c{count}") for count, source in enumerate(sources)]
    return nbformat.writes(v4.new_notebook(cells=[parameters, *cells], metadata={"kernelspec": KERNELSPEC}))


def grading_task(classroom: Classroom, learner: str) -> GradingTask:
    """Return the task that grades a learner's submission."""
    packed = pack_submission(Submission(learner, learner, classroom.submissions / learner))
    return GradingTask(learner, packed, classroom.exercise.id, classroom.notebook, seconds=PATIENCE)


def kernel_pids() -> set[int]:
    """Return the process ids of the kernels that this process and its children started.

    Other tests' JupyterLab may have kernels: compare with those before.
    """
    found: set[int] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ipykernel_launcher" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found
