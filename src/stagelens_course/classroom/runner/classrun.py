"""A class from its submissions to its results; what an earlier run finished is kept."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from stagelens.errors import StagelensError
from stagelens_course.classroom.intake import Found, Packed, Refused, Submission, find, look, pack
from stagelens_course.classroom.results import ClassResults, Result, write_class, write_learner
from stagelens_course.classroom.results.write import NOTEBOOK, written
from stagelens_course.classroom.runner.store import Store, exercise_version
from stagelens_course.classroom.runner.task import Outcome, Task
from stagelens_course.classroom.runner.validate import validate
from stagelens_course.grading.model import Exercise

DEFAULT_NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "grading.ipynb"


class Scheduler(Protocol):
    """Carries tasks out; closing the generator early stops them."""

    def run(self, tasks: Iterable[Task]) -> Generator[Outcome]:
        """The outcomes as they come."""
        ...


class Listener:
    """Is told how a run goes; for a progress bar."""

    def found(self, count: int) -> None:
        """So many submissions there are."""

    def result(self, result: Result, *, kept: bool) -> None:
        """One of them has its result; kept: an earlier run's."""

    def validating(self, count: int) -> None:
        """All are graded; so many notebooks are validated now."""

    def validated(self, count: int) -> None:
        """So many more of them are."""


def grading_notebook(path: Path | None = None) -> str:
    """The instructor's grading notebook as JSON, by default the one that comes with stagelens.

    Raises
    ------
    StagelensError: it cannot be read.
    """
    try:
        return (path or DEFAULT_NOTEBOOK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StagelensError(
            "The grading notebook cannot be read.", where=str(path), why=str(error)
        ) from error


@dataclass(frozen=True, slots=True)
class ClassRun:
    """What to grade and how. seconds: the most that a submission may take; workers: for the validation."""

    submissions: Path
    exercise: Exercise
    out: Path
    scheduler: Scheduler
    notebook: str = field(repr=False)
    engine: str | None = None
    seconds: float = 900.0
    workers: int = 1

    def run(self, listener: Listener | None = None) -> ClassResults:
        """Grade, validate, and write everything below `out`.

        Interrupted at any point, what is finished stays, and the next run goes on from there.

        Raises
        ------
        StagelensError: there are no submissions, or another run works in `out`, or `out` is among them.
        NotWritten: `out` cannot be written. ClusterFailed.
        """
        self.check()
        lock = FileLock(self.out / ".lock")
        with written(self.out):
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
            with _scratch(self.out) as scratch:
                return self._locked(listener or Listener(), scratch)
        finally:
            lock.release()

    def check(self) -> None:
        """What can be said before anything is started or written.

        Raises
        ------
        StagelensError: there are no submissions, or `out` is among them.
        """
        look(self.submissions, self.exercise.id)
        # A report among the submissions would be taken for one of them by the next run.
        submitted = self.submissions / "submitted"
        folder = submitted if submitted.is_dir() else self.submissions
        if self.out.resolve().is_relative_to(folder.resolve()):
            raise StagelensError(
                "The report would lie among the submissions.",
                where=str(self.out),
                remedy="give a folder elsewhere with --out",
            )

    def _locked(self, listener: Listener, scratch: Path) -> ClassResults:
        version = exercise_version(self.exercise, self.notebook)
        with find(self.submissions, self.exercise.id, work=scratch) as found:
            listener.found(len(found.submissions))
            results = {r.learner: r for r in self._results(found, version, listener)}
            ignored = found.ignored
        for result in self._validated(results.values(), listener, scratch):
            results[result.learner] = result
        ordered = tuple(results[learner] for learner in sorted(results))
        whole = ClassResults(self.exercise, version, ordered, ignored)
        write_class(self.out, whole)
        return whole

    def _results(self, found: Found, version: str, listener: Listener) -> Iterator[Result]:
        """Every submission's result, those that are there already first."""
        store = Store(self.out)
        ready: list[Result] = []
        waiting: dict[str, Result] = {}

        def tasks() -> Iterator[Task]:
            for submission in found.submissions:
                blank = _blank(submission, self.exercise.id, version)
                try:
                    packed = pack(submission)
                except Exception as error:
                    result = _not_taken(blank, error)
                    write_learner(store.place(result.learner), result, self.exercise, None)
                    ready.append(result)
                    listener.result(result, kept=False)
                    continue
                kept = store.kept(submission, packed.digest, version)
                if kept is not None:
                    ready.append(kept)
                    listener.result(kept, kept=True)
                    continue
                waiting[submission.learner] = replace(blank, digest=packed.digest)
                yield self._task(submission, packed)

        with closing(self.scheduler.run(tasks())) as outcomes:
            for outcome in outcomes:
                result = _with_outcome(waiting.pop(outcome.learner), outcome)
                write_learner(store.place(result.learner), result, self.exercise, outcome.notebook)
                listener.result(result, kept=False)
                yield result
        yield from ready

    def _task(self, submission: Submission, packed: Packed) -> Task:
        return Task(
            submission.learner,
            packed,
            self.exercise.id,
            self.notebook,
            self.engine,
            self.seconds,
            self.exercise.limits.cpus,
        )

    def _validated(self, results: Iterable[Result], listener: Listener, scratch: Path) -> Iterator[Result]:
        """The results whose notebooks nbval has not seen yet, with its verdict."""
        store = Store(self.out)
        pending = {
            store.place(r.learner) / NOTEBOOK: r for r in results if r.status == "graded" and not r.validated
        }
        listener.validating(len(pending))
        if not pending:
            return
        with closing(validate(self.out, list(pending), self.workers, scratch)) as batches:
            for verdicts in batches:
                for notebook, problem in verdicts.items():
                    result = _with_verdict(pending[notebook], problem)
                    text = notebook.read_text(encoding="utf-8")
                    write_learner(notebook.parent, result, self.exercise, text)
                    yield result
                listener.validated(len(verdicts))


@contextmanager
def _scratch(out: Path) -> Generator[Path]:
    """A folder for temporary files that is emptied before, so that even what a killed run left there goes."""
    place = out / ".scratch"
    shutil.rmtree(place, ignore_errors=True)
    with written(place):
        place.mkdir()
    try:
        yield place.resolve()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _with_verdict(result: Result, problem: str | None) -> Result:
    if problem is None:
        return replace(result, validated=True)
    words = f"The executed notebook does not show the same when it is run again: {problem}"
    return replace(result, validated=False, status="error", error=words)


def _blank(submission: Submission, exercise: str, version: str) -> Result:
    return Result(
        learner=submission.learner,
        name=submission.name,
        status="error",
        exercise=exercise,
        version=version,
        ids=submission.ids,
        late=submission.late,
    )


def _not_taken(result: Result, error: Exception) -> Result:
    if isinstance(error, Refused):
        return replace(result, status="refused", error=error.render())
    return replace(result, error=f"It cannot be read: {type(error).__name__}: {error}")


def _with_outcome(result: Result, outcome: Outcome) -> Result:
    status = "graded" if outcome.error is None and outcome.report is not None else "error"
    return replace(result, status=status, report=outcome.report, error=outcome.error, seconds=outcome.seconds)
