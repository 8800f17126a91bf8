"""One submission through the instructor's notebook: what a worker is handed, and what it hands back."""

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
from stagelens_course.classroom.intake import Packed, unpack
from stagelens_course.classroom.runner.kernel import KernelStopped, WarmKernel
from stagelens_course.grading.model import Report
from stagelens_course.grading.notebook import MIME, SUBMISSION

OUTPUT = "grading.ipynb"
MAX_ERROR = 4000  # characters


@dataclass(frozen=True, slots=True)
class Task:
    """A submission to grade. `notebook` is the instructor's, as JSON; `seconds` is the most a cell may take.

    engine: an address, or None for the one that the worker finds: STAGELENS_ENGINE, then as always.
    cpus: the cores that the submission may use.
    """

    learner: str
    packed: Packed
    exercise: str
    notebook: str = field(repr=False)
    engine: str | None = None
    seconds: float = 900.0
    cpus: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: a report, or `error`; and the executed notebook as JSON, where there is one."""

    learner: str
    report: Report | None = None
    error: str | None = None
    notebook: str | None = field(default=None, repr=False)
    seconds: float = 0.0


def carry_out(task: Task, kernel: WarmKernel) -> Outcome:
    """Grade one submission. Whatever goes wrong is in the outcome's `error`, and never stops the others.

    Raises
    ------
    KernelStopped: the kernel was stopped meanwhile.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stagelens-task-", dir=kernel.folder) as name:
        output = Path(name).resolve() / OUTPUT
        report, error = None, None
        try:
            (output.parent / SUBMISSION).mkdir()
            unpack(task.packed, output.parent / SUBMISSION)
            notebook = _notebook(task)
            kernel.run(notebook, output, _parameters(task, notebook), timeout=task.seconds)
            report = _report(output)
            error = report.error
        except KernelStopped:
            raise
        except Exception as problem:
            error = _words(problem, task)
        executed = output.read_text(encoding="utf-8") if output.exists() else None
    return Outcome(task.learner, report, error, executed, time.monotonic() - begun)


def _notebook(task: Task) -> nbformat.NotebookNode:
    notebook = cast(nbformat.NotebookNode, nbformat.reads(task.notebook, as_version=4))
    notebook.metadata.setdefault(
        "kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"}
    )
    notebook.metadata.setdefault("papermill", {})
    return notebook


def _parameters(task: Task, notebook: Any) -> dict[str, Any]:
    engine = task.engine or os.environ.get("STAGELENS_ENGINE", "")
    given = {"submission": SUBMISSION, "exercise": task.exercise, "engine": engine}
    declared = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    # An instructor's own notebook may take none; papermill would warn of it for every submission.
    return given | ({"cpus": task.cpus} if any("cpus" in source for source in declared) else {})


def _report(executed: Path) -> Report:
    """The last report that a cell of an executed notebook displayed."""
    notebook: Any = nbformat.read(executed, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found: list[Mapping[str, Any]] = [o["data"][MIME] for o in outputs if MIME in o.get("data", {})]
    if not found:
        raise StagelensError(
            "The grading notebook shows no report.",
            remedy="its last cell has to be `graded(...)`; see docs/grading.md",
        )
    return Report.from_json(found[-1])


def _words(problem: Exception, task: Task) -> str:
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
