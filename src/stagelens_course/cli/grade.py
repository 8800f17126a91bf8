"""`stagelens grade`: grade a class's submissions, here or on a cluster."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stagelens.cli.console import INTERRUPTED, err, out, working

if TYPE_CHECKING:
    from stagelens_course.classroom.results import ClassResults, Result
    from stagelens_course.grading import Exercise

GRADER_FAILED = 2


class _Number(click.FloatRange):
    """A number within bounds; nan is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is no number", param, ctx)
        return number


@click.command("grade")
@click.argument("submissions", type=click.Path(path_type=Path))
@click.option("--exercise", required=True, help="The exercise, multi-stage-go say.")
@click.option(
    "--out",
    "out_dir",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder for the report; run again to resume.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    help="Submissions graded at a time on this machine.",
)
@click.option("--scheduler", help="Address of a Dask scheduler to grade on.")
@click.option("--engine", help="Address of the engine to grade on; own: limited ones, started here.")
@click.option(
    "--cpus",
    type=_Number(min=0.1, max=1024),
    help="Cores for each submission; without it as the exercise says, mostly 1.",
)
@click.option(
    "--timeout",
    type=_Number(min=1, max=86_400),
    default=900.0,
    help="The most seconds for one submission.",
)
@click.option("--notebook", type=click.Path(path_type=Path), help="A grading notebook of your own.")
def grade_command(
    submissions: Path,
    exercise: str,
    out_dir: Path,
    workers: int,
    scheduler: str | None,
    engine: str | None,
    cpus: float | None,
    timeout: float,
    notebook: Path | None,
) -> None:
    """Grade every submission, each in isolation.

    SUBMISSIONS is a folder or an archive; Moodle's, Canvas's and nbgrader's are known. Feedback, grades and
    an overview are written. Ends with 2 where the grader failed on a submission: the report says on which
    and why.
    """
    # They take a second to import, and every command of this program would pay for it.
    import stagelens_course.classroom.quick  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from stagelens_course import grading
    from stagelens_course.classroom import runner

    chosen = grading.exercise(exercise)
    if cpus is not None:
        chosen = replace(chosen, limits=replace(chosen.limits, cpus=cpus))
    local = runner.LocalScheduler(workers, out_dir / ".work")
    job = runner.ClassRun(
        submissions=submissions,
        exercise=chosen,
        out=out_dir,
        scheduler=runner.ClusterScheduler(scheduler) if scheduler else local,
        notebook=runner.grading_notebook(notebook),
        engine=engine,
        seconds=timeout,
        workers=workers,
    )
    job.check()
    try:
        if scheduler is None and (notebook is None or engine is not None):
            with _prepared(engine, chosen, workers) as addresses:
                local = runner.LocalScheduler(workers, out_dir / ".work", addresses)
                found = _with_progress(replace(job, scheduler=local))
        else:
            found = _with_progress(job)
    except KeyboardInterrupt:
        err.print("\nStopped. What is finished is kept; run the same command again to go on.")
        sys.exit(INTERRUPTED)
    _tell(found, out_dir)
    if scheduler and any(r.report and r.report.cpus is None for r in found.of("graded")):
        note = "builds had no limits but time: start the workers with STAGELENS_ENGINE=own"
        err.print(f"note: {note}", style="yellow", markup=False)
    if found.of("error"):
        raise click.exceptions.Exit(GRADER_FAILED)


@contextmanager
def _prepared(address: str | None, exercise: Exercise, workers: int) -> Generator[tuple[str, ...]]:
    """An engine for each worker, with its base images, before workers ask for them at the same time."""
    from stagelens import engine as engines
    from stagelens_course.cli.images import provide_replica_tools
    from stagelens_course.grading import needed_images, place

    usual = engines.connect(None if address == place.OWN else address)
    provide_replica_tools(usual, needed_images(exercise))
    usual.api.close()
    cpus = exercise.limits.cpus
    with ExitStack() as held:
        with working("finding an engine") as report:
            addresses = held.enter_context(
                place.places(needed_images(exercise), address, workers, cpus, report)
            )
        for note in (place.unlimited(addresses), place.crowded(workers, cpus, usual.info.cpus)):
            if note is not None:
                err.print(f"note: {note}", style="yellow", markup=False)
        yield addresses


def _with_progress(job: object) -> ClassResults:
    from stagelens_course.classroom.runner import ClassRun, Listener

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        grading = progress.add_task("grading", total=None)
        validating = progress.add_task("validating", total=None, visible=False)

        class Bar(Listener):
            def found(self, count: int) -> None:
                progress.update(grading, total=count)

            def result(self, result: Result, *, kept: bool) -> None:
                progress.advance(grading)
                if not err.is_terminal:
                    err.print(f"{result.learner}: {_words(result, kept)}", markup=False, soft_wrap=True)

            def validating(self, count: int) -> None:
                progress.update(validating, total=count, visible=count > 0)

            def validated(self, count: int) -> None:
                progress.advance(validating, count)

        assert isinstance(job, ClassRun)
        return job.run(Bar())


def _words(result: Result, kept: bool) -> str:
    if result.status != "graded":
        return f"{result.status}: {(result.error or '').splitlines()[0]}"
    return f"{result.earned:g}/{result.points:g}" + (" (kept)" if kept else "")


def _tell(found: ClassResults, folder: Path) -> None:
    for result in (*found.of("refused"), *found.of("error")):
        err.print(f"{result.learner}: {_words(result, False)}", style="yellow", markup=False, soft_wrap=True)
    for name in found.ignored:
        err.print(f"nobody's file: {name}", style="yellow", markup=False, soft_wrap=True)
    counts = [f"{len(found.of('graded'))} graded"]
    counts += [f"{len(some)} {name}" for name in ("refused", "error") if (some := found.of(name))]
    out.print(f"{len(found.results)} submissions: {', '.join(counts)}")
    out.print(str(folder / "index.html"), markup=False, soft_wrap=True)
