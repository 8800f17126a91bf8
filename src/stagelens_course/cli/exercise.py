"""The commands `stagelens exercise` and `stagelens check`, with which learners work on exercises."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from stagelens.cli import engine_commands
from stagelens.cli.build import report_cancellation
from stagelens.cli.console import err, out, print_json, spinner
from stagelens.errors import StagelensError
from stagelens_course import grading
from stagelens_course.cli.images import provide_images
from stagelens_course.exercises import copy_exercise, default_copy_folder, reset_copy
from stagelens_course.grading import CheckResult, Exercise, GradeReport

TO = click.option(
    "--to", type=click.Path(path_type=Path), help="The folder to work in; by default work/NAME."
)


@click.group("exercise")
def exercise_group() -> None:
    """List the exercises, start one, or reset it."""


@exercise_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_exercises(as_json: bool) -> None:
    """List the exercises, and where your copy of each is."""
    rows = [(e, default_copy_folder(e)) for e in grading.load_exercises()]
    if as_json:
        found = [{"name": e.id, "title": e.title, "points": e.points, "folder": str(f)} for e, f in rows]
        print_json(found)
        return
    table = Table()
    table.add_column("exercise", no_wrap=True)
    for title in ("task", "points", "your copy"):
        table.add_column(title)
    for found, folder in rows:
        where = str(folder) if folder.exists() else "not started"
        table.add_row(found.id, found.title, f"{found.points:g}", where)
    out.print(table)


@exercise_group.command()
@click.argument("name")
@TO
def start(name: str, to: Path | None) -> None:
    """Copy the exercise NAME, for example multi-stage-go, to your folder."""
    out.print(str(copy_exercise(grading.load_exercise(name), to)), markup=False, soft_wrap=True)


@exercise_group.command()
@click.argument("name")
@TO
def reset(name: str, to: Path | None) -> None:
    """Start the exercise NAME again; your files move to a folder beside it."""
    folder, backup = reset_copy(grading.load_exercise(name), to)
    if backup is not None:
        err.print(f"your files are in {backup}", markup=False, soft_wrap=True)
    out.print(str(folder), markup=False, soft_wrap=True)


@click.command("check")
@click.argument("folder")
@click.option("--exercise", "name", help="The exercise, if the folder has another name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check_command(folder: str, name: str | None, as_json: bool) -> None:
    """Check an answer by building and running it.

    FOLDER is the project's folder, or an exercise's name. Exit 0 only if everything is right.
    """
    task, path = find_exercise(folder, name)
    engine = engine_commands.find_engine()
    provide_images(engine, grading.required_images(task))
    with report_cancellation(), spinner(f"checking {path}") as update:
        report = grading.check_folder(task, path, engine=engine, report=update)
    if as_json:
        print_json(report.to_json())
    else:
        print_report(report)
    if report.error is not None:
        remedy = "fix that, then run this again; for problems with the engine run: stagelens doctor"
        raise StagelensError("The check could not be completed.", why=report.error, remedy=remedy)
    raise click.exceptions.Exit(0 if report.passed else 1)


def find_exercise(target: str, name: str | None) -> tuple[Exercise, Path]:
    """Return an exercise and the folder with the answer to it.

    Parameters
    ----------
    target
        The folder's path, or the name of an exercise.
    name
        The exercise; by default the folder's name.

    Raises
    ------
    StagelensError
        If there is no such folder, or the exercise is unknown.
    """
    path = Path(target)
    known = [exercise.id for exercise in grading.load_exercises()]
    if path.is_dir():
        named = name or path.resolve().name
        if named not in known and name is None:
            raise StagelensError(
                "Cannot tell which exercise this folder belongs to.",
                where=target,
                remedy=f"add --exercise and one of: {', '.join(known)}",
            )
        return grading.load_exercise(named), path
    if target not in known or name not in (None, target):
        raise StagelensError(
            "There is no such folder.",
            where=target,
            why="it is a file" if path.exists() else None,
            remedy=f"give the folder with your Dockerfile, or choose from: {', '.join(known)}",
        )
    task = grading.load_exercise(target)
    folder = default_copy_folder(task)
    return task, folder if folder.is_dir() else task.folder


def print_report(report: GradeReport) -> None:
    """Print a report: a line for each check, and help for those that failed."""
    for note in report.notes:
        err.print(f"note: {note}", style="yellow", markup=False)
    shown: set[tuple[str, str]] = set()
    for result in report.checks:
        mark = "[green]✓[/green]" if result.passed else "[red]✗[/red]"
        out.print(f"{mark} {escape(result.title)}  [dim]{result.earned:g} of {result.points:g}[/dim]")
        # If the build failed, all checks say the same: show it once.
        if not result.passed and (result.expected, result.seen) not in shown:
            shown.add((result.expected, result.seen))
            _print_help(result)
    out.print(f"{report.earned:g} of {report.points:g} points, {report.seconds:.1f} s", style="bold")


def _print_help(result: CheckResult) -> None:
    table = Table.grid(padding=(0, 1))
    rows = {"expected": result.expected, "seen": result.seen, "hint": result.hint, "read": result.lesson}
    for label, value in rows.items():
        table.add_row(f"    [dim]{label}[/dim]", escape(value))
    out.print(table)
