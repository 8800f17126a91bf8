"""Grading of one submission by the instructor's notebook: the task of a worker and its result."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import nbformat
from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError

from stagelens.errors import StagelensError
from stagelens_course.classroom.intake import PackedSubmission, unpack_submission
from stagelens_course.classroom.runner.warm_kernel import KernelStopped, WarmKernel
from stagelens_course.grading.model import GradeReport
from stagelens_course.grading.notebook import MIME, SUBMISSION

OUTPUT = "grading.ipynb"
MAX_ERROR = 4000  # characters


@dataclass(frozen=True, slots=True)
class GradingTask:
    """A submission to grade.

    Attributes
    ----------
    learner
        The learner's key.
    packed
        The submission.
    exercise
        The id of the exercise.
    notebook
        The grading notebook as JSON.
    engine
        The address of an engine; None for the one that the worker finds, `STAGELENS_ENGINE` first.
    seconds
        The time limit of a cell.
    cpus
        The number of cores that the submission may use.
    """

    learner: str
    packed: PackedSubmission
    exercise: str
    notebook: str = field(repr=False)
    engine: str | None = None
    seconds: float = 900.0
    cpus: float = 1.0


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a grading task.

    Attributes
    ----------
    learner
        The learner's key.
    report
        The report, if the notebook shows one.
    error
        Why there is no grade.
    notebook
        The executed notebook as JSON, if it was started.
    seconds
        The time that the task took.
    """

    learner: str
    report: GradeReport | None = None
    error: str | None = None
    notebook: str | None = field(default=None, repr=False)
    seconds: float = 0.0


def run_task(task: GradingTask, kernel: WarmKernel) -> TaskResult:
    """Grade one submission.

    Parameters
    ----------
    task
        The submission.
    kernel
        The kernel in which the notebook runs.

    Returns
    -------
    TaskResult
        The result. A failure of the notebook is in its `error` and does not stop other tasks.

    Raises
    ------
    KernelStopped
        If the kernel was stopped meanwhile.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stagelens-task-", dir=kernel.temp_folder) as name:
        output = Path(name).resolve() / OUTPUT
        report, error = None, None
        try:
            (output.parent / SUBMISSION).mkdir()
            unpack_submission(task.packed, output.parent / SUBMISSION)
            notebook = _notebook(task)
            kernel.run(notebook, output, _parameters(task, notebook), timeout=task.seconds)
            report = _last_report(output)
            error = report.error
        except KernelStopped:
            raise
        except Exception as problem:
            error = _error_message(problem, task)
        executed = output.read_text(encoding="utf-8") if output.exists() else None
    return TaskResult(task.learner, report, error, executed, time.monotonic() - start)


def _notebook(task: GradingTask) -> nbformat.NotebookNode:
    notebook = cast(nbformat.NotebookNode, nbformat.reads(task.notebook, as_version=4))
    notebook.metadata.setdefault(
        "kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"}
    )
    notebook.metadata.setdefault("papermill", {})
    return notebook


def _parameters(task: GradingTask, notebook: Any) -> dict[str, Any]:
    engine = task.engine or os.environ.get("STAGELENS_ENGINE", "")
    parameters = {"submission": SUBMISSION, "exercise": task.exercise, "engine": engine}
    declared = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    # papermill would warn for each submission if an instructor's notebook does not declare `cpus`.
    return parameters | ({"cpus": task.cpus} if any("cpus" in source for source in declared) else {})


def _last_report(executed: Path) -> GradeReport:
    """Return the last report that a cell of an executed notebook displays."""
    notebook: Any = nbformat.read(executed, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found: list[Mapping[str, Any]] = [o["data"][MIME] for o in outputs if MIME in o.get("data", {})]
    if not found:
        raise StagelensError(
            "The grading notebook shows no report.",
            remedy="end it with a cell that shows `grade_submission(...)`; see docs/reference/grading.md",
        )
    return GradeReport.from_json(found[-1])


def _error_message(problem: Exception, task: GradingTask) -> str:
    if isinstance(problem, PapermillExecutionError):
        text = f"The grading notebook failed: {problem.ename}: {problem.evalue}"
    elif isinstance(problem, DeadKernelError):
        text = "The grader's kernel ended while it graded this submission."
    elif isinstance(problem, TimeoutError):
        text = f"The grader was stopped after {task.seconds:g} s."
    elif isinstance(problem, StagelensError):
        text = problem.render()
    else:
        text = f"{type(problem).__name__}: {problem}"
    return text[:MAX_ERROR]
