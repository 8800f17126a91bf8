"""The `stagelens` command: one module a group of commands, registered here."""

from __future__ import annotations

import importlib
import signal
import sys

import typer
from rich.console import Console

from stagelens.errors import StagelensError

app = typer.Typer(
    name="stagelens",
    help="Look inside multi-stage Docker builds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Each module has `register(app)`; a name is listed once its module exists.
_GROUPS: tuple[str, ...] = (
    "applications",
    "build",
    "doctor",
    "engine",
    "exercise",
    "grade",
    "images",
    "lab",
    "notebook",
    "testing",
    "why",
)

for _group in _GROUPS:
    importlib.import_module(f"stagelens.cli.{_group}").register(app)


def main() -> None:
    """Run the command line; a StagelensError is told in its own words, without a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # ./stagelens has another one in place while this is imported.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app()
    except StagelensError as error:
        Console(stderr=True).print(
            f"error: {error.render()}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
