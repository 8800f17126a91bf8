"""The `stagelens` command: one module a group of commands, imported when one of them is asked for."""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys

import click

from stagelens.cli.console import err
from stagelens.errors import StagelensError

# Each command's module and its name there, in the order of the help.
_COMMANDS = {
    "lab": "lab.lab",
    "run": "notebook.run_command",
    "build": "build.build_command",
    "explore": "explore.explore_command",
    "why": "why.why_command",
    "up": "applications.up",
    "status": "applications.status",
    "logs": "applications.logs",
    "down": "applications.down",
    "exercise": "exercise.exercise",
    "check": "exercise.check",
    "grade": "grade.grade_command",
    "images": "images.images",
    "engine": "engine.engine",
    "doctor": "doctor.doctor",
    "test": "testing.test",
}
INTERRUPTED = 130


class _Commands(click.Group):
    """Each command needs rooms that others do not, and all of them together take long to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(".")
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS:
            near = difflib.get_close_matches(args[0], _COMMANDS)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    name="stagelens",
    context_settings={"show_default": True, "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="stagelens")
def app() -> None:
    """Look inside multi-stage Docker builds."""


def main() -> None:
    """Run the command line; a StagelensError is told in its own words, without a traceback."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # ./stagelens has another one in place while this is imported.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = app.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except StagelensError as error:
        err.print(f"error: {error.render()}", style="red", markup=False, soft_wrap=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`head`, a pager) has seen enough; Python would complain as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
