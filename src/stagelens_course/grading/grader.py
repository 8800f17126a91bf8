"""Grading of one submission: the checks of an exercise, one after the other, on one engine."""

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


def check_folder(
    exercise: Exercise,
    folder: str | Path,
    *,
    engine: Engine,
    cancel: Cancel | None = None,
    report: Callable[[str], None] | None = None,
) -> GradeReport:
    """Grade a learner's folder after removing what killed graders left on the engine; see `grade_folder`."""
    remove_leftovers(engine)
    return grade_folder(exercise, folder, engine=engine, cancel=cancel, report=report)


def grade_folder(
    exercise: Exercise,
    folder: str | Path,
    *,
    engine: Engine,
    cancel: Cancel | None = None,
    report: Callable[[str], None] | None = None,
) -> GradeReport:
    """Grade one submission; nothing that it contains stops the grader.

    Parameters
    ----------
    exercise
        The exercise.
    folder
        The folder with the submission.
    engine
        The engine that builds and runs it.
    cancel
        Stops the grading when it is called.
    report
        Called, in the calling thread, with a line that says what is being done.

    Returns
    -------
    GradeReport
        The grade; with an `error` and without points if the grader or the engine failed.

    Raises
    ------
    BuildCancelled
        If `cancel` was called. Containers, images and folders of the grader are removed first.
    """
    stop = cancel or Cancel()

    def work(relay: CallbackRelay) -> GradeReport:
        return _grade(exercise, Path(folder), engine, stop, relay.wrap(report))

    return run_cancellable(work, stop)


def _grade(
    exercise: Exercise, folder: Path, engine: Engine, cancel: Cancel, report: Callable[[str], None]
) -> GradeReport:
    start = time.monotonic()
    results: list[CheckResult] = []
    notes: tuple[str, ...] = ()
    error: str | None = None
    try:
        images.ensure(engine, required_images(exercise), report=report, cancel=cancel)
        with SubmissionProbe(exercise, folder, engine, cancel, report) as probe:
            notes = probe.notes
            for check in exercise.checks:
                report(check.title)
                results.append(_result(check, _examine(probe, check)))
    except BuildCancelled:
        raise
    except SubmissionRefused as refused:
        finding = CheckFinding(False, "a submission that can be graded", refused.render())
        results = [_result(check, finding) for check in exercise.checks]
    except Exception as problem:
        # The boundary of the grader: a submission that breaks it must not stop the others.
        error = _error_message(problem)
    return GradeReport(
        exercise=exercise.id,
        checks=tuple(results),
        points=exercise.points,
        earned=0.0 if error else sum(result.earned for result in results),
        seconds=time.monotonic() - start,
        error=error,
        notes=notes,
        cpus=exercise.limits.cpus if engines.is_grading_engine(engine.address) else None,
    )


def _error_message(problem: Exception) -> str:
    if isinstance(problem, StagelensError):
        return problem.render()
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"{problem.filename}: {problem.strerror}"
    return f"{type(problem).__name__}: {problem}"


def required_images(exercise: Exercise) -> tuple[str, ...]:
    """Return the base images that an engine needs to grade an exercise."""
    return tuple(dict.fromkeys((*exercise.images, CLIENT_IMAGE)))


def _examine(probe: SubmissionProbe, check: Check) -> CheckFinding:
    if not isinstance(check, BuildSucceeds) and probe.first.problem is not None:
        return CheckFinding(False, "an image to examine", "the build fails")
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
