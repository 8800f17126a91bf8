"""`stagelens engine start|stop|status|logs`: the private engine."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from stagelens import engine as engines
from stagelens.cli import requirements
from stagelens.cli.console import err, out, working
from stagelens.errors import StagelensError

Grading = Annotated[
    bool, typer.Option("--grading", help="The limited engine that submissions are graded on.")
]


def _chosen(grading: bool) -> engines.PrivateEngine:
    return engines.grading_engine() if grading else engines.private_engine()


def find() -> engines.Engine:
    """An engine that answers; what a private one needs is installed first, where that can be done."""
    try:
        engine = engines.connect(start=False)
    except engines.EngineNotFound as error:
        if os.environ.get("DOCKER_HOST") or any(place.remedy for place in error.tried):
            raise
        requirements.provide(requirements.ENGINE)
        if engines.can_start() is not None:
            # The error says why none is started here.
            engines.connect()
        with working("starting a private engine") as report:
            engine = engines.connect(report=report)
    for place in engine.skipped:
        # What somebody chose must not be replaced in silence.
        if place.chosen:
            note = f"note: {place.origin} ({place.address}) was passed over: {place.reason}"
            err.print(note, markup=False, soft_wrap=True)
    return engine


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    group = typer.Typer(help="The private engine that stagelens starts where none is running.")
    group.command()(start)
    group.command()(stop)
    group.command()(status)
    group.command()(logs)
    app.add_typer(group, name="engine")


def start(grading: Grading = False) -> None:
    """Start the private engine, even where another engine runs."""
    requirements.provide((*requirements.ENGINE, *(requirements.LIMITS if grading else ())))
    with working("starting a private engine") as report:
        private = engines.start_private(report, _chosen(grading))
    out.print(f"export DOCKER_HOST={private.address}", markup=False, soft_wrap=True)


def stop(grading: Grading = False) -> None:
    """Stop the private engine (or all that submissions are graded on); its images stay."""
    chosen = engines.grading_engines() if grading else [engines.private_engine()]
    with working("stopping the private engine"):
        stopped = [engines.stop_private(private) for private in chosen]
    err.print("stopped" if any(stopped) else "no private engine is running")


def status(
    grading: Grading = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether the private engine runs, and where its files are."""
    private = _chosen(grading)
    pid = private.pid()
    if as_json:
        fields = {"running": pid is not None, "pid": pid, "address": private.address, "log": str(private.log)}
        out.print_json(json.dumps(fields))
        return
    out.print(f"running, pid {pid}" if pid else "not running", markup=False)
    out.print(f"address {private.address}", markup=False, soft_wrap=True)
    out.print(f"log     {private.log}", markup=False, soft_wrap=True)


def logs(
    grading: Grading = False,
    lines: Annotated[int, typer.Option(help="How many of the last lines.")] = 50,
) -> None:
    """Show the end of the private engine's log."""
    log = _chosen(grading).log
    if not log.exists():
        raise StagelensError("There is no log yet.", where=str(log), remedy="stagelens engine start")
    for line in log.read_text(errors="replace").splitlines()[-lines:]:
        out.print("".join(c if c.isprintable() else " " for c in line), markup=False, soft_wrap=True)
