"""Grading in notebooks: grade a submission, and show its report to people and programs.

A grading notebook has a cell tagged `parameters` with `submission`, `exercise`, `engine` and `cpus`. Its last
cell shows `grade_submission(submission, exercise, engine, cpus)`, or `GradeDisplay(report)`.
When an executed notebook runs again next to its result.json, `grade_submission` returns that result without
grading; `recorded_report` reads it.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagelens import engine as engines
from stagelens.views.templating import render
from stagelens_course.grading.catalog import load_exercise
from stagelens_course.grading.engine_pool import DEDICATED, lease_engines
from stagelens_course.grading.grader import grade_folder, required_images
from stagelens_course.grading.model import GradeReport

MIME = "application/vnd.stagelens.report+json"
SUBMISSION = "submission"
RECORD = "result.json"
_TEMPLATE = Path(__file__).parent / "templates" / "report_card.html"


@dataclass(frozen=True, slots=True)
class GradeDisplay:
    """A report as a cell's result: HTML for people, JSON for the runner, plain text for nbval to compare."""

    report: GradeReport

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": self.lines(),
            "text/html": report_card(self.report),
            MIME: self.report.to_json(),
        }

    def lines(self) -> str:
        """Return a line for each check and one for the sum, without times: they differ between runs."""
        if self.report.error is not None:
            return f"no grade: {self.report.error}"
        rows = [
            f"{'pass' if check.passed else 'fail'}  {check.earned:g}/{check.points:g}  {check.id}"
            for check in self.report.checks
        ]
        return "\n".join([*rows, f"{self.report.earned:g} of {self.report.points:g} points"])


def report_card(report: GradeReport) -> str:
    """Return a report as HTML: the points, and the expected and the seen result of each failed check.

    Parameters
    ----------
    report
        The report.
    """
    if report.error is not None:
        return error_card(report.error, "The grader failed: this is not a grade.")
    passed = sum(check.passed for check in report.checks)
    return render(
        _TEMPLATE,
        report=report,
        error=None,
        points=f"{report.earned:g} of {report.points:g} points",
        passed=f"{passed} of {len(report.checks)} checks passed",
    )


def error_card(error: str, title: str = "The answer could not be checked.") -> str:
    """Return an error as HTML, for a check without a report.

    Parameters
    ----------
    error
        The error.
    title
        The heading.
    """
    return render(_TEMPLATE, error=error, title=title)


def grade_submission(
    submission: str, exercise: str, engine: str = "", cpus: float | None = None
) -> GradeDisplay:
    """Grade a submission, or return the recorded report if the notebook is run again.

    Parameters
    ----------
    submission
        The folder with the submission.
    exercise
        The exercise's name.
    engine
        The address of an engine; "" finds one, "dedicated" takes a grading engine of this machine.
    cpus
        The number of cores that the submission may use; by default the exercise's.

    Raises
    ------
    ExerciseInvalid
        If the exercise does not exist or is not valid.
    EngineNotFound
        If there is no engine.
    """
    recorded = recorded_report()
    if recorded is not None:
        return GradeDisplay(recorded)
    chosen = load_exercise(exercise)
    if cpus is not None:
        chosen = replace(chosen, limits=replace(chosen.limits, cpus=cpus))
    with ExitStack() as stack:
        if engine == DEDICATED:
            (engine,) = stack.enter_context(
                lease_engines(required_images(chosen), DEDICATED, cpus=chosen.limits.cpus)
            )
        found = engines.connect(engine or None)
        stack.callback(found.api.close)
        return GradeDisplay(grade_folder(chosen, submission, engine=found))


def recorded_report() -> GradeReport | None:
    """Return the report in `result.json` next to an executed notebook; None in the first run."""
    record = Path(RECORD)
    if not record.exists():
        return None
    return GradeReport.from_json(json.loads(record.read_text(encoding="utf-8"))["report"])
