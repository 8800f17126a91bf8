"""What the tests of a class's grading share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from stagelens.grade.intake import Submission, pack
from stagelens.grade.runner.task import Task

PATIENCE = 120  # seconds for what takes two on an idle machine


class Room(Protocol):
    """The fixture `classroom`: submissions, and where their results go."""

    submissions: Path
    out: Path
    exercise: Any
    notebook: str

    def submit(self, **words: str) -> None: ...
    def results(self) -> Mapping[str, Mapping[str, Any]]: ...


def a_task(room: Room, learner: str) -> Task:
    """A learner's submission, packed for a worker."""
    packed = pack(Submission(learner, learner, room.submissions / learner))
    return Task(learner, packed, room.exercise.id, room.notebook, seconds=PATIENCE)


def until(condition: Any, what: str) -> None:
    """Wait until `condition()` holds; fail with `what` where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)


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
