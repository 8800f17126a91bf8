"""What the instructor's grading notebook calls: grade a submission, show its report to people and programs.

A grading notebook has a cell tagged `parameters` with `submission`, `exercise`, `engine` and `cpus`, and a
last cell that shows `grade_submission(submission, exercise, engine, cpus)`, or, for a grading of one's own,
`GradeDisplay(report)`. Where an executed notebook is run again, beside its result.json, `grade_submission`
shows that result; `recorded_report` hands it out.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stagelens import engine as engines
from stagelens_course.grading.cards import report_card
from stagelens_course.grading.catalog import load_exercise
from stagelens_course.grading.engine_pool import DEDICATED, lease_engines
from stagelens_course.grading.grader import grade_folder, required_images
from stagelens_course.grading.model import GradeReport

MIME = "application/vnd.stagelens.report+json"
SUBMISSION = "submission"
RECORD = "result.json"


@dataclass(frozen=True, slots=True)
class GradeDisplay:
    """A report as a cell's result: a table for people, JSON for the runner, lines for nbval to compare."""

    report: GradeReport

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": self.lines(),
            "text/html": report_card(self.report),
            MIME: self.report.to_json(),
        }

    def lines(self) -> str:
        """Return a line for each check and the sum; without times, which are others each time."""
        if self.report.error is not None:
            return f"no grade: {self.report.error}"
        rows = [
            f"{'pass' if check.passed else 'fail'}  {check.earned:g}/{check.points:g}  {check.id}"
            for check in self.report.checks
        ]
        return "\n".join([*rows, f"{self.report.earned:g} of {self.report.points:g} points"])


def grade_submission(
    submission: str, exercise: str, engine: str = "", cpus: float | None = None
) -> GradeDisplay:
    """Grade the folder `submission` on the engine at the address `engine`.

    "" is the one that is found, "dedicated" a grading engine of this machine. cpus: cores that the submission
    may use; None: as the exercise says.

    Raises
    ------
    ExerciseInvalid, EngineNotFound: there is no such exercise, no engine.
    """
    kept = recorded_report()
    if kept is not None:
        return GradeDisplay(kept)
    chosen = load_exercise(exercise)
    if cpus is not None:
        chosen = replace(chosen, limits=replace(chosen.limits, cpus=cpus))
    with ExitStack() as held:
        if engine == DEDICATED:
            (engine,) = held.enter_context(
                lease_engines(required_images(chosen), DEDICATED, cpus=chosen.limits.cpus)
            )
        found = engines.connect(engine or None)
        held.callback(found.api.close)
        return GradeDisplay(grade_folder(chosen, submission, engine=found))


def recorded_report() -> GradeReport | None:
    """Return the report in `result.json` beside an executed notebook; None in its first run."""
    record = Path(RECORD)
    if not record.exists():
        return None
    return GradeReport.from_json(json.loads(record.read_text(encoding="utf-8"))["report"])
