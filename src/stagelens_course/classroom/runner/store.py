"""What a report's folder remembers of earlier runs, so that a second one ends what the first left."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from stagelens_course.classroom.intake import Submission
from stagelens_course.classroom.results.model import Result
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.notebook import RECORD

# What Python and Jupyter leave in a folder, which says nothing about an exercise.
_BESIDE = ("__pycache__", ".ipynb_checkpoints")


def exercise_version(exercise: Exercise, notebook: str) -> str:
    """A sha256 of what grades depend on: the exercise's files and cores, the notebook, our version."""
    state = hashlib.sha256(f"{version('stagelens')}\0{exercise.limits.cpus:g}\0{notebook}\0".encode())
    for top in (exercise.folder, exercise.solution):
        for path in sorted(top.rglob("*")):
            if path.is_file() and not set(path.parts) & set(_BESIDE):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                state.update(f"{path.relative_to(top).as_posix()}\0{content}\0".encode())
    return state.hexdigest()


class Store:
    """Results by learner, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "learners"

    def place(self, learner: str) -> Path:
        """The folder of a learner's files."""
        return self._folder / learner

    def kept(self, submission: Submission, digest: str, version: str) -> Result | None:
        """The grade that an earlier run gave to these very files by this very exercise.

        An error of the grader is not kept: the next run tries again. Name and mark of lateness are today's.
        """
        try:
            text = (self.place(submission.learner) / RECORD).read_text(encoding="utf-8")
            result = Result.from_json(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if result.status != "graded" or (result.digest, result.version) != (digest, version):
            return None
        return replace(result, name=submission.name, ids=submission.ids, late=submission.late)
