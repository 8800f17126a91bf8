"""The command `stagelens grade`, which grades a class on this machine or on a cluster."""

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

from stagelens.cli.console import INTERRUPTED, err, out, spinner

if TYPE_CHECKING:
    from stagelens_course.classroom.results import ClassResults, LearnerResult
    from stagelens_course.classroom.runner import GradingRun
    from stagelens_course.grading import Exercise

GRADER_FAILED = 2


class _FiniteRange(click.FloatRange):
    """A number within bounds; rejects nan, which click accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is not a number", param, ctx)
        return number


@click.command("grade")
@click.argument("submissions", type=click.Path(path_type=Path))
@click.option("--exercise", required=True, help="The exercise, for example multi-stage-go.")
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
@click.option(
    "--engine", help="Address of the engine to grade on; dedicated: start engines with resource limits here."
)
@click.option(
    "--cpus",
    type=_FiniteRange(min=0.1, max=1024),
    help="Cores for each submission; by default as the exercise says, usually 1.",
)
@click.option(
    "--timeout",
    type=_FiniteRange(min=1, max=86_400),
    default=900.0,
    help="Time limit for one submission in seconds.",
)
@click.option("--notebook", type=click.Path(path_type=Path), help="Another grading notebook.")
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

    SUBMISSIONS is a folder or an archive, also a download of Moodle, Canvas or nbgrader. Writes feedback,
    grades and an overview. Exits with 2 if the grader failed on a submission; the report says on which and
    why.
    """
    # These imports take a second, which other commands should not wait for.
    import stagelens_course.classroom.fast_startup  # noqa: F401  # pyright: ignore[reportUnusedImport]
    from stagelens_course import grading
    from stagelens_course.classroom import runner

    chosen = grading.load_exercise(exercise)
    if cpus is not None:
        chosen = replace(chosen, limits=replace(chosen.limits, cpus=cpus))
    local = runner.LocalScheduler(workers, out_dir / ".work")
    run = runner.GradingRun(
        submissions=submissions,
        exercise=chosen,
        out=out_dir,
        scheduler=runner.ClusterScheduler(scheduler) if scheduler else local,
        notebook=runner.grading_notebook(notebook),
        engine=engine,
        seconds=timeout,
        workers=workers,
    )
    run.check()
    try:
        if scheduler is None and (notebook is None or engine is not None):
            with _prepared_engines(engine, chosen, workers) as addresses:
                local = runner.LocalScheduler(workers, out_dir / ".work", addresses)
                found = _run_with_progress(replace(run, scheduler=local))
        else:
            found = _run_with_progress(run)
    except KeyboardInterrupt:
        err.print("\nStopped. Finished results are saved; run the same command again to resume.")
        sys.exit(INTERRUPTED)
    _print_summary(found, out_dir)
    if scheduler and any(r.report and r.report.cpus is None for r in found.with_status("graded")):
        note = "builds had no limit but time: start the workers with STAGELENS_ENGINE=dedicated"
        err.print(f"note: {note}", style="yellow", markup=False)
    if found.with_status("error"):
        raise click.exceptions.Exit(GRADER_FAILED)


@contextmanager
def _prepared_engines(address: str | None, exercise: Exercise, workers: int) -> Generator[tuple[str, ...]]:
    """Provide an engine for each worker, with its base images, before the workers need them all at once."""
    from stagelens import engine as engines
    from stagelens_course.cli.images import provide_images
    from stagelens_course.grading import engine_pool, required_images

    usual = engines.connect(None if address == engine_pool.DEDICATED else address)
    provide_images(usual, required_images(exercise))
    usual.api.close()
    cpus = exercise.limits.cpus
    with ExitStack() as stack:
        with spinner("finding an engine") as report:
            addresses = stack.enter_context(
                engine_pool.lease_engines(required_images(exercise), address, workers, cpus, report)
            )
        for note in (
            engine_pool.isolation_warning(addresses),
            engine_pool.oversubscription_warning(workers, cpus, usual.info.cpus),
        ):
            if note is not None:
                err.print(f"note: {note}", style="yellow", markup=False)
        yield addresses


def _run_with_progress(run: GradingRun) -> ClassResults:
    from stagelens_course.classroom.runner import ProgressListener

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        grading = progress.add_task("grading", total=None)
        validating = progress.add_task("validating", total=None, visible=False)

        class BarListener(ProgressListener):
            def submissions_found(self, count: int) -> None:
                progress.update(grading, total=count)

            def result_ready(self, result: LearnerResult, *, reused: bool) -> None:
                progress.advance(grading)
                if not err.is_terminal:
                    line = f"{result.learner}: {_describe(result)}" + (" (reused)" if reused else "")
                    err.print(line, markup=False, soft_wrap=True)

            def validation_started(self, count: int) -> None:
                progress.update(validating, total=count, visible=count > 0)

            def notebooks_validated(self, count: int) -> None:
                progress.advance(validating, count)

        return run.run(BarListener())


def _describe(result: LearnerResult) -> str:
    if result.status != "graded":
        return f"{result.status}: {(result.error or '').splitlines()[0]}"
    return f"{result.earned:g}/{result.points:g}"


def _print_summary(found: ClassResults, folder: Path) -> None:
    for result in (*found.with_status("refused"), *found.with_status("error")):
        err.print(f"{result.learner}: {_describe(result)}", style="yellow", markup=False, soft_wrap=True)
    for name in found.ignored:
        err.print(f"ignored, belongs to no learner: {name}", style="yellow", markup=False, soft_wrap=True)
    counts = [f"{len(found.with_status('graded'))} graded"]
    counts += [f"{len(some)} {name}" for name in ("refused", "error") if (some := found.with_status(name))]
    out.print(f"{len(found.results)} submissions: {', '.join(counts)}")
    out.print(str(folder / "index.html"), markup=False, soft_wrap=True)
