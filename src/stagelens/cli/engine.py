"""`stagelens engine start|stop|status|logs`: the private engine."""

from __future__ import annotations

import shlex

import click

from stagelens import engine as engines
from stagelens.cli import requirements
from stagelens.cli.console import err, out, print_json, working
from stagelens.errors import StagelensError
from stagelens.text import block

GRADING = click.option("--grading", is_flag=True, help="The limited engine that submissions are graded on.")


@click.group()
def engine() -> None:
    """The private engine that stagelens starts where none is running."""


def _chosen(grading: bool) -> engines.PrivateEngine:
    return engines.grading_engine() if grading else engines.private_engine()


def find() -> engines.Engine:
    """An engine that answers; what a private one needs is installed first, where that can be done."""
    try:
        engine = engines.connect(start=False, report=_say)
    except engines.EngineNotFound as error:
        if any(candidate.exclusive or candidate.remedy for candidate in error.rejected):
            raise
        requirements.provide(requirements.ENGINE)
        if engines.start_blocker() is not None:
            # The error says why none is started here.
            engines.connect()
        with working("starting a private engine") as report:
            engine = engines.connect(report=report)
    for candidate in engine.rejected:
        # What somebody chose must not be replaced in silence.
        if candidate.explicit:
            note = f"note: {candidate.origin} ({candidate.address}) was passed over: {candidate.reason}"
            err.print(note, markup=False, soft_wrap=True)
    return engine


def _say(text: str) -> None:
    err.print(text, markup=False, soft_wrap=True)


@engine.command()
@GRADING
def start(grading: bool) -> None:
    """Start the private engine, even where another engine runs."""
    requirements.provide((*requirements.ENGINE, *(requirements.LIMITS if grading else ())))
    engines.release()
    with working("starting a private engine") as report:
        private = engines.start_private(report, _chosen(grading))
    out.print(f"export DOCKER_HOST={shlex.quote(private.address)}", markup=False, soft_wrap=True)


@engine.command()
@GRADING
def stop(grading: bool) -> None:
    """Stop the private engine; its images stay.

    With --grading all that submissions are graded on.
    """
    chosen = engines.grading_engines() if grading else [engines.private_engine()]
    with working("stopping the private engine"):
        stopped = [engines.stop_private(private) for private in chosen]
    err.print("stopped" if any(stopped) else "no private engine is running")


@engine.command()
@GRADING
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(grading: bool, as_json: bool) -> None:
    """Say whether the private engine runs, and where its files are."""
    private = _chosen(grading)
    pid = private.pid()
    if as_json:
        fields = {
            "running": pid is not None,
            "pid": pid,
            "address": private.address,
            "log": str(private.log_file),
        }
        print_json(fields)
        return
    out.print(f"running, pid {pid}" if pid else "not running", markup=False)
    out.print(f"address {private.address}", markup=False, soft_wrap=True)
    out.print(f"log     {private.log_file}", markup=False, soft_wrap=True)


@engine.command()
@GRADING
@click.option("--lines", type=click.IntRange(min=1), default=50, help="How many of the last lines.")
def logs(grading: bool, lines: int) -> None:
    """Show the end of the private engine's log."""
    log = _chosen(grading).log_file
    if not log.exists():
        raise StagelensError("There is no log yet.", where=str(log), remedy="stagelens engine start")
    for line in log.read_text(errors="replace").splitlines()[-lines:]:
        out.print(block(line, len(line)), markup=False, soft_wrap=True)
