"""The commands `stagelens engine start|stop|status|logs`, and how commands find an engine."""

from __future__ import annotations

import shlex
import sys

import click

from stagelens import engine as engines
from stagelens.cli.console import err, out, print_json, spinner
from stagelens.errors import StagelensError
from stagelens.text import block

GRADING = click.option(
    "--grading", is_flag=True, help="The engine with resource limits that grades submissions."
)


@click.group("engine")
def engine_group() -> None:
    """Manage the private engine, which stagelens starts where no engine runs."""


def _private_engine(grading: bool) -> engines.PrivateEngine:
    return engines.grading_engine() if grading else engines.private_engine()


def find_engine() -> engines.Engine:
    """Find an engine, or start a private one; its missing programs are installed where that is possible.

    Returns
    -------
    Engine
        A connected engine. The terminal shows why an explicitly chosen one was rejected.

    Raises
    ------
    EngineNotFound
        If no engine answers and none can be started.
    """
    try:
        engine = engines.connect(start=False, report=_print_line)
    except engines.EngineNotFound as error:
        if any(candidate.exclusive or candidate.remedy for candidate in error.rejected):
            raise
        from stagelens.cli import requirements

        requirements.ensure_installed(requirements.ENGINE)
        if engines.start_blocker() is not None:
            # Raises an error that says why none can be started here.
            engines.connect()
        with spinner("starting a private engine") as report:
            engine = engines.connect(report=report)
    for candidate in engine.rejected:
        # A chosen engine must not be replaced without a message.
        if candidate.explicit:
            note = f"note: {candidate.origin} ({candidate.address}) was rejected: {candidate.reason}"
            err.print(note, markup=False, soft_wrap=True)
    return engine


@click.command("env")
def env_command() -> None:
    """Print the line that makes the docker command use the same engine.

    In a terminal: eval "$(stagelens env)"
    """
    engine = engines.connect(start=False, report=_print_line)
    if engine.origin in ("DOCKER_HOST", "DOCKER_CONTEXT") or engine.origin.startswith("docker context"):
        line = f"# the docker command uses this engine already: {engine.origin}"
    else:
        line = _export(engine.address)
    out.print(line, markup=False, soft_wrap=True)


def _export(address: str) -> str:
    if sys.platform == "win32":
        return f'$env:DOCKER_HOST = "{address}"'
    return f"export DOCKER_HOST={shlex.quote(address)}"


def _print_line(text: str) -> None:
    err.print(text, markup=False, soft_wrap=True)


@engine_group.command()
@GRADING
def start(grading: bool) -> None:
    """Start the private engine, even where another engine runs."""
    from stagelens.cli import requirements

    requirements.ensure_installed((*requirements.ENGINE, *(requirements.LIMITS if grading else ())))
    engines.release()
    with spinner("starting a private engine") as report:
        private = engines.start_private(report, _private_engine(grading))
    out.print(_export(private.address), markup=False, soft_wrap=True)


@engine_group.command()
@GRADING
def stop(grading: bool) -> None:
    """Stop the private engine; its images stay.

    --grading stops all engines that grade submissions.
    """
    privates = engines.grading_engines() if grading else [engines.private_engine()]
    with spinner("stopping the private engine"):
        stopped = [engines.stop_private(private) for private in privates]
    err.print("stopped" if any(stopped) else "no private engine is running")


@engine_group.command()
@GRADING
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(grading: bool, as_json: bool) -> None:
    """Show whether the private engine runs, and where its files are."""
    private = _private_engine(grading)
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


@engine_group.command()
@GRADING
@click.option("--lines", type=click.IntRange(min=1), default=50, help="How many of the last lines.")
def logs(grading: bool, lines: int) -> None:
    """Show the end of the private engine's log."""
    log = _private_engine(grading).log_file
    if not log.exists():
        raise StagelensError(
            "The private engine has no log yet.", where=str(log), remedy="stagelens engine start"
        )
    for line in log.read_text(errors="replace").splitlines()[-lines:]:
        out.print(block(line, len(line)), markup=False, soft_wrap=True)
