"""The `stagelens` command: one module a group of commands, imported when one of them is asked for."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import sys

import click

from stagelens.cli.console import INTERRUPTED, err
from stagelens.cli.ending import Ending
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
    """Run the command line; an error is told in its own words, without a traceback."""
    ending = Ending()
    ending.hear()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app.main(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`head`, a pager) has seen enough.
        _drop_output()
        code = 1
    except StagelensError as error:
        code = _told(error)
    except OSError as error:
        _drop_output()
        code = _told(_refused(error))
    finally:
        ending.over()
    sys.exit(code)


def _told(error: StagelensError) -> int:
    err.print(f"error: {error.render()}", style="red", markup=False, soft_wrap=True)
    return 1


def _refused(error: OSError) -> StagelensError:
    """What the operating system did not let us do, and what helps."""
    remedy = "mend that"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space there"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "become its owner, or choose another place (STAGELENS_HOME moves what stagelens keeps)"
    where = None if error.filename is None else os.fsdecode(error.filename)
    why = error.strerror or str(error)
    return StagelensError(
        "The system refused.", where=where, why=why, remedy=f"{remedy}, then run this again"
    )


def _drop_output() -> None:
    """Python writes what is left of the output as it ends, and would complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
