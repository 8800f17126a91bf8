"""A grading run: from the submissions of a class to its results, reusing the results of earlier runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from stagelens.errors import StagelensError
from stagelens_course.classroom.intake import (
    FoundSubmissions,
    PackedSubmission,
    Submission,
    SubmissionRejected,
    check_submissions_exist,
    find_submissions,
    pack_submission,
)
from stagelens_course.classroom.results import (
    ClassResults,
    LearnerResult,
    write_class_files,
    write_learner_files,
)
from stagelens_course.classroom.results.report_files import NOTEBOOK_FILE, translate_write_errors
from stagelens_course.classroom.runner.task import GradingTask, TaskResult
from stagelens_course.classroom.runner.validation import validate_notebooks
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.notebook import RECORD

DEFAULT_NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "grading.ipynb"
# Folders that Python and Jupyter create, which are no part of an exercise.
_CACHE_FOLDERS = ("__pycache__", ".ipynb_checkpoints")


class Scheduler(Protocol):
    """Runs grading tasks; closing the generator early stops them."""

    def run(self, tasks: Iterable[GradingTask]) -> Generator[TaskResult]:
        """Run tasks and yield their results in order of completion."""
        ...


class ProgressListener:
    """The events of a grading run, for a progress bar; each method does nothing by default."""

    def submissions_found(self, count: int) -> None:
        """Receive the number of submissions."""

    def result_ready(self, result: LearnerResult, *, reused: bool) -> None:
        """Receive a learner's result.

        Parameters
        ----------
        result
            The result.
        reused
            Whether the result comes from an earlier run.
        """

    def validation_started(self, count: int) -> None:
        """Receive the number of notebooks to validate, after all submissions are graded."""

    def notebooks_validated(self, count: int) -> None:
        """Receive the number of notebooks validated since the last call."""


def grading_notebook(path: Path | None = None) -> str:
    """Return the instructor's grading notebook as JSON.

    Parameters
    ----------
    path
        The notebook; by default the one that is part of stagelens.

    Raises
    ------
    StagelensError
        If the file cannot be read.
    """
    try:
        return (path or DEFAULT_NOTEBOOK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StagelensError(
            "The grading notebook cannot be read.", where=str(path), why=str(error)
        ) from error


@dataclass(frozen=True, slots=True)
class GradingRun:
    """A run that grades a class.

    Attributes
    ----------
    submissions
        The submissions, in one of the layouts that `find_submissions` reads.
    exercise
        The exercise.
    out
        The folder of the report.
    scheduler
        Where the submissions are graded.
    notebook
        The grading notebook as JSON.
    engine
        The address of an engine; None for the one that a worker finds.
    seconds
        The time limit of a submission.
    workers
        The number of processes that validate notebooks.
    """

    submissions: Path
    exercise: Exercise
    out: Path
    scheduler: Scheduler
    notebook: str = field(repr=False)
    engine: str | None = None
    seconds: float = 900.0
    workers: int = 1

    def run(self, listener: ProgressListener | None = None) -> ClassResults:
        """Grade the submissions, validate the notebooks and write the report.

        Finished results survive an interruption, and the next run resumes from them.

        Parameters
        ----------
        listener
            Receives the progress of the run.

        Returns
        -------
        ClassResults
            The results of the class.

        Raises
        ------
        StagelensError
            If there are no submissions, another run uses `out`, or `out` is inside the submissions.
        ReportNotWritten
            If a file of the report cannot be written.
        ClusterFailed
            If the cluster fails.
        """
        self.check()
        lock = FileLock(self.out / ".lock")
        with translate_write_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise StagelensError(
                    "Another run is writing into this folder.",
                    where=str(self.out),
                    remedy="wait for it, or give another folder with --out",
                ) from error
        try:
            with _temp_folder(self.out) as temp_folder:
                return self._run(listener or ProgressListener(), temp_folder)
        finally:
            lock.release()

    def check(self) -> None:
        """Check the paths before the run starts or writes anything.

        Raises
        ------
        StagelensError
            If there are no submissions, or `out` is inside the submissions.
        """
        check_submissions_exist(self.submissions, self.exercise.id)
        # The next run would read a report among the submissions as a submission.
        submitted = self.submissions / "submitted"
        folder = submitted if submitted.is_dir() else self.submissions
        if self.out.resolve().is_relative_to(folder.resolve()):
            raise StagelensError(
                "The report cannot be inside the folder of submissions.",
                where=str(self.out),
                remedy="give another folder with --out",
            )

    def _run(self, listener: ProgressListener, temp_folder: Path) -> ClassResults:
        version = exercise_version(self.exercise, self.notebook)
        with find_submissions(self.submissions, self.exercise.id, temp_folder=temp_folder) as found:
            listener.submissions_found(len(found.submissions))
            results = {r.learner: r for r in self._graded(found, version, listener)}
            ignored = found.ignored
        for result in self._validated(results.values(), listener, temp_folder):
            results[result.learner] = result
        ordered = tuple(results[learner] for learner in sorted(results))
        class_results = ClassResults(self.exercise, version, ordered, ignored)
        write_class_files(self.out, class_results)
        return class_results

    def _graded(
        self, found: FoundSubmissions, version: str, listener: ProgressListener
    ) -> Iterator[LearnerResult]:
        """Grade the submissions; yield new results as they complete, then reused and refused ones."""
        store = ResultStore(self.out)
        ready: list[LearnerResult] = []
        pending: dict[str, LearnerResult] = {}

        def tasks() -> Iterator[GradingTask]:
            for submission in found.submissions:
                blank = _blank_result(submission, self.exercise.id, version)
                try:
                    packed = pack_submission(submission)
                except Exception as error:
                    result = _with_intake_error(blank, error)
                    write_learner_files(store.folder(result.learner), result, self.exercise, None)
                    ready.append(result)
                    listener.result_ready(result, reused=False)
                    continue
                earlier = store.load_grade(submission, packed.digest, version)
                if earlier is not None:
                    ready.append(earlier)
                    listener.result_ready(earlier, reused=True)
                    continue
                pending[submission.learner] = replace(blank, digest=packed.digest)
                yield self._task(submission, packed)

        with closing(self.scheduler.run(tasks())) as task_results:
            for task_result in task_results:
                result = _with_task_result(pending.pop(task_result.learner), task_result)
                write_learner_files(store.folder(result.learner), result, self.exercise, task_result.notebook)
                listener.result_ready(result, reused=False)
                yield result
        yield from ready

    def _task(self, submission: Submission, packed: PackedSubmission) -> GradingTask:
        return GradingTask(
            submission.learner,
            packed,
            self.exercise.id,
            self.notebook,
            self.engine,
            self.seconds,
            self.exercise.limits.cpus,
        )

    def _validated(
        self, results: Iterable[LearnerResult], listener: ProgressListener, temp_folder: Path
    ) -> Iterator[LearnerResult]:
        """Validate the notebooks that nbval has not run yet; yield their results with its verdict."""
        store = ResultStore(self.out)
        pending = {
            store.folder(r.learner) / NOTEBOOK_FILE: r
            for r in results
            if r.status == "graded" and not r.validated
        }
        listener.validation_started(len(pending))
        if not pending:
            return
        with closing(validate_notebooks(self.out, list(pending), self.workers, temp_folder)) as batches:
            for verdicts in batches:
                for notebook, problem in verdicts.items():
                    result = _with_verdict(pending[notebook], problem)
                    text = notebook.read_text(encoding="utf-8")
                    write_learner_files(notebook.parent, result, self.exercise, text)
                    yield result
                listener.notebooks_validated(len(verdicts))


def exercise_version(exercise: Exercise, notebook: str) -> str:
    """Return a SHA-256 of everything that a grade depends on.

    Parameters
    ----------
    exercise
        The exercise: its files and its cores count.
    notebook
        The grading notebook as JSON.
    """
    state = hashlib.sha256(f"{version('stagelens')}\0{exercise.limits.cpus:g}\0{notebook}\0".encode())
    for top in (exercise.folder, exercise.solution):
        for path in sorted(top.rglob("*")):
            if path.is_file() and not set(path.parts) & set(_CACHE_FOLDERS):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                state.update(f"{path.relative_to(top).as_posix()}\0{content}\0".encode())
    return state.hexdigest()


class ResultStore:
    """The results in a report's folder, one folder for each learner.

    Parameters
    ----------
    out
        The folder of the report.
    """

    def __init__(self, out: Path) -> None:
        self._learners = out / "learners"

    def folder(self, learner: str) -> Path:
        """Return the folder of a learner's files."""
        return self._learners / learner

    def load_grade(self, submission: Submission, digest: str, version: str) -> LearnerResult | None:
        """Load the grade that an earlier run gave to the same files and the same exercise.

        Parameters
        ----------
        submission
            The submission, whose name, ids and late mark replace those of the earlier run.
        digest
            The digest of its files.
        version
            The version of the exercise.

        Returns
        -------
        LearnerResult or None
            The grade; None for other files, for an error of the grader, or without an earlier result.
        """
        try:
            text = (self.folder(submission.learner) / RECORD).read_text(encoding="utf-8")
            result = LearnerResult.from_json(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if result.status != "graded" or (result.digest, result.version) != (digest, version):
            return None
        return replace(result, name=submission.name, ids=submission.ids, late=submission.late)


@contextmanager
def _temp_folder(out: Path) -> Generator[Path]:
    """Create an empty folder for temporary files, without what a killed run left in it."""
    folder = out / ".scratch"
    shutil.rmtree(folder, ignore_errors=True)
    with translate_write_errors(folder):
        folder.mkdir()
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_verdict(result: LearnerResult, problem: str | None) -> LearnerResult:
    if problem is None:
        return replace(result, validated=True)
    message = f"The executed notebook does not show the same when it is run again: {problem}"
    return replace(result, validated=False, status="error", error=message)


def _blank_result(submission: Submission, exercise: str, version: str) -> LearnerResult:
    return LearnerResult(
        learner=submission.learner,
        name=submission.name,
        status="error",
        exercise=exercise,
        version=version,
        ids=submission.ids,
        late=submission.late,
    )


def _with_intake_error(result: LearnerResult, error: Exception) -> LearnerResult:
    if isinstance(error, SubmissionRejected):
        return replace(result, status="refused", error=error.render())
    return replace(result, error=f"The submission cannot be read: {type(error).__name__}: {error}")


def _with_task_result(result: LearnerResult, task_result: TaskResult) -> LearnerResult:
    graded = task_result.error is None and task_result.report is not None
    return replace(
        result,
        status="graded" if graded else "error",
        report=task_result.report,
        error=task_result.error,
        seconds=task_result.seconds,
    )
