"""A folder to a GradeReport: the checks of an exercise, one after the other, on one engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from stagelens import engine as engines
from stagelens.buildkit import BuildCancelled, Cancel
from stagelens.concurrency import CallbackRelay, run_cancellable
from stagelens.engine import Engine
from stagelens.errors import StagelensError
from stagelens_course import images
from stagelens_course.grading.checks import BuildSucceeds, Check, CheckFinding
from stagelens_course.grading.container import CLIENT_IMAGE
from stagelens_course.grading.leftovers import remove_leftovers
from stagelens_course.grading.model import CheckResult, Exercise, GradeReport, SubmissionRefused
from stagelens_course.grading.submission_probe import SubmissionProbe

Progress = Callable[[str], None]


def check_folder(
    exercise: Exercise,
    folder: str | Path,
    *,
    engine: Engine,
    cancel: Cancel | None = None,
    report: Progress | None = None,
) -> GradeReport:
    """Check a learner's answer: `grade_folder`, after removing what killed runs have left."""
    remove_leftovers(engine)
    return grade_folder(exercise, folder, engine=engine, cancel=cancel, report=report)


def grade_folder(
    exercise: Exercise,
    folder: str | Path,
    *,
    engine: Engine,
    cancel: Cancel | None = None,
    report: Progress | None = None,
) -> GradeReport:
    """Grade one submission: the folder that a learner handed in.

    Whatever the submission does, a GradeReport comes back; where the grader or its engine failed, one with
    `error` set and no points. `report` is told what is being done.

    Raises
    ------
    BuildCancelled: `cancel` was called. What was made is removed then, as after an interrupt.
    """
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> GradeReport:
        return _graded(exercise, Path(folder), engine, stop, relay.wrap(report))

    return run_cancellable(work, stop)


def _graded(exercise: Exercise, folder: Path, engine: Engine, cancel: Cancel, say: Progress) -> GradeReport:
    begun = time.monotonic()
    results: list[CheckResult] = []
    notes: tuple[str, ...] = ()
    error: str | None = None
    try:
        images.ensure(engine, required_images(exercise), report=say, cancel=cancel)
        with SubmissionProbe(exercise, folder, engine, cancel, say) as probe:
            notes = probe.notes
            for check in exercise.checks:
                say(check.title)
                results.append(_result(check, _look(probe, check)))
    except BuildCancelled:
        raise
    except SubmissionRefused as refused:
        missing = CheckFinding(False, "a submission that can be looked at", refused.render())
        results = [_result(check, missing) for check in exercise.checks]
    except Exception as problem:
        # The boundary of the grader: one submission that breaks it must not end the others.
        error = _told(problem)
    return GradeReport(
        exercise=exercise.id,
        checks=tuple(results),
        points=exercise.points,
        earned=0.0 if error else sum(result.earned for result in results),
        seconds=time.monotonic() - begun,
        error=error,
        notes=notes,
        cpus=exercise.limits.cpus if engines.is_grading_engine(engine.address) else None,
    )


def _told(problem: Exception) -> str:
    if isinstance(problem, StagelensError):
        return problem.render()
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"{problem.filename}: {problem.strerror}"
    return f"{type(problem).__name__}: {problem}"


def required_images(exercise: Exercise) -> tuple[str, ...]:
    """Return the base images that must be on an engine before it can grade."""
    return tuple(dict.fromkeys((*exercise.images, CLIENT_IMAGE)))


def _look(probe: SubmissionProbe, check: Check) -> CheckFinding:
    if not isinstance(check, BuildSucceeds) and probe.first.problem is not None:
        return CheckFinding(False, "an image to look at", "it does not build")
    return check.examine(probe)


def _result(check: Check, finding: CheckFinding) -> CheckResult:
    return CheckResult(
        id=check.id,
        title=check.title,
        points=check.points,
        earned=check.points if finding.passed else 0.0,
        passed=finding.passed,
        expected=finding.expected,
        seen=finding.seen,
        hint=check.hint,
        lesson=check.lesson,
    )
