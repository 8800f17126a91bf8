"""What the tests of a class's grading share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from stagelens_course.classroom.intake import Submission, pack_submission
from stagelens_course.classroom.runner.task import GradingTask
from stagelens_testing.held import PATIENCE


class Room(Protocol):
    """The fixture `classroom`: submissions, and where their results go."""

    submissions: Path
    out: Path
    exercise: Any
    notebook: str

    def submit(self, **words: str) -> None: ...
    def results(self) -> Mapping[str, Mapping[str, Any]]: ...


def a_task(room: Room, learner: str) -> GradingTask:
    """A learner's submission, packed for a worker."""
    packed = pack_submission(Submission(learner, learner, room.submissions / learner))
    return GradingTask(learner, packed, room.exercise.id, room.notebook, seconds=PATIENCE)


def kernels() -> set[int]:
    """The process ids of the kernels that this process started, by way of its programs, too.

    Other tests' JupyterLab may have some: compare with those before.
    """
    found: set[int] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ipykernel_launcher" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found
