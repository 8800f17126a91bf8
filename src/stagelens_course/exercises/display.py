"""Display of an exercise in a notebook: a comparison of two answers, and the progress of a check."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stagelens import engine as engines
from stagelens.buildkit import Cancel
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.engine import Engine
from stagelens.humanize import format_size
from stagelens.views.status_line import StatusLine
from stagelens.views.templating import render
from stagelens_course import images
from stagelens_course.grading import Exercise, required_images
from stagelens_course.grading.submission_probe import SubmissionProbe

_TEMPLATE = Path(__file__).parent / "templates" / "comparison.html"


@dataclass(frozen=True, slots=True)
class AnswerComparison:
    """A table of plain texts, as a cell's result."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": render(_TEMPLATE, head=self.head, rows=self.rows), "text/plain": str(self)}

    def __str__(self) -> str:
        return "\n".join(
            ", ".join(f"{name}: {cell}".removeprefix(": ") for name, cell in zip(self.head, row, strict=True))
            for row in self.rows
        )


def compare_folders(exercise: Exercise, folders: Mapping[str, Path], edit: str) -> AnswerComparison:
    """Compare answers by their image's size, its files, and the steps that run again after an edit.

    Parameters
    ----------
    exercise
        The exercise.
    folders
        The folder of each answer, by its label in the table.
    edit
        The name of one of the exercise's edits.

    Raises
    ------
    EngineNotFound
        If there is no engine.
    """
    stop = Cancel()
    engine = engines.connect()
    try:
        with StatusLine() as line:

            def work(relay: CallbackRelay) -> list[list[str]]:
                return _rows(exercise, folders, edit, engine, relay.wrap(line), stop)

            rows = run_cancellable(work, stop)
    finally:
        engine.api.close()
    file = exercise.edits[edit].file
    head = [
        "",
        "unpacked size of the image",
        "files in it",
        f"RUN steps that run again after a change of {file}",
    ]
    return AnswerComparison(head, rows)


def _rows(
    exercise: Exercise,
    folders: Mapping[str, Path],
    edit: str,
    engine: Engine,
    report: Callable[[str], None],
    cancel: Cancel,
) -> list[list[str]]:
    images.ensure(engine, required_images(exercise), report=report, cancel=cancel)
    rows: list[list[str]] = []
    for label, folder in folders.items():
        with SubmissionProbe(
            exercise, folder, engine, cancel, partial(_report_labeled, report, label)
        ) as probe:
            rows.append([label, *_cells(probe, edit)])
    return rows


def _report_labeled(report: Callable[[str], None], label: str, activity: str) -> None:
    report(f"{label.capitalize()}: {activity}")


def _cells(probe: SubmissionProbe, edit: str) -> list[str]:
    if probe.first.problem is not None:
        return ["does not build", "", ""]
    ran = probe.edited(edit).ran
    seconds = sum(step.seconds or 0 for step in ran)
    steps = f"{len(ran)}, taking {seconds:.1f} s" if ran else "none"
    return [format_size(probe.unpacked_size), f"{len(probe.files):,}", steps]


class CheckProgress:
    """The progress of a check of an exercise: `done` of `total` checks.

    Parameters
    ----------
    exercise
        The exercise.
    """

    def __init__(self, exercise: Exercise) -> None:
        self._titles = [check.title for check in exercise.checks]
        self.done, self.total = 0, len(self._titles)

    def update(self, activity: str) -> str:
        """Record the grader's current activity, and return it with a capital letter.

        Parameters
        ----------
        activity
            The title of the check that begins, or a line about what it does.
        """
        if activity in self._titles:
            self.done = self._titles.index(activity)
        return activity[:1].upper() + activity[1:]


@contextmanager
def show_progress(exercise: Exercise) -> Generator[Callable[[str], None]]:
    """Show the progress of a check below the running cell until the block ends.

    Parameters
    ----------
    exercise
        The exercise.

    Yields
    ------
    Callable
        A function to call with the grader's current activity.
    """
    progress = CheckProgress(exercise)
    with StatusLine() as line:

        def report(activity: str) -> None:
            text = progress.update(activity)
            line(f"{progress.done} of {progress.total} checks done. {text}")

        yield report
