"""The `stagelens` command; the module of a command is imported when the command is used."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from stagelens.cli.console import INTERRUPTED, err
from stagelens.cli.termination import TerminationHandler
from stagelens.errors import StagelensError

# The module and function of each command, in the order of the help.
COMMANDS = {
    "build": "stagelens.cli.build:build_command",
    "explore": "stagelens.cli.explore:explore_command",
    "why": "stagelens.cli.why:why_command",
    "engine": "stagelens.cli.engine_commands:engine_group",
    "env": "stagelens.cli.engine_commands:env_command",
    "doctor": "stagelens.cli.doctor:doctor_command",
}


class LazyGroup(click.Group):
    """A command group that imports a command's module when the command is used.

    Importing all packages takes long, and each command needs only some of them.
    """

    def __init__(self, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name."""
        if cmd_name not in self._modules:
            return None
        module, _, name = self._modules[cmd_name].partition(":")
        return getattr(importlib.import_module(module), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command; suggest a similar name for an unknown one."""
        if args[0] not in self._modules:
            import difflib  # only this message needs it

            similar = difflib.get_close_matches(args[0], self._modules)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {similar[0]!r}?" if similar else ""))
        return super().resolve_command(ctx, args)


def command_line(modules: Mapping[str, str]) -> click.Group:
    """Make a command line.

    Parameters
    ----------
    modules
        The module and function of each command as `module:function`, in the order of the help.

    Returns
    -------
    click.Group
        The command line.
    """
    settings = {"show_default": True, "help_option_names": ["-h", "--help"]}
    group = LazyGroup(
        modules,
        name="stagelens",
        help="Look inside multi-stage Docker builds.",
        context_settings=settings,
    )
    return click.version_option(package_name="stagelens")(group)


app = command_line(COMMANDS)


def main(app: click.Group = app) -> None:
    """Run a command line and exit; an error is printed as a message, without a traceback."""
    termination = TerminationHandler()
    termination.install()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal cannot show must not be an error.
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
        # The reader of the output (`head`, a pager) has closed it.
        _discard_output()
        code = 1
    except StagelensError as error:
        code = _print_error(error)
    except ModuleNotFoundError as error:
        if (error.name or "stagelens").partition(".")[0].startswith("stagelens"):
            raise
        code = _print_error(_missing_package(error))
    except OSError as error:
        _discard_output()
        code = _print_error(_system_error(error))
    finally:
        termination.finish()
    sys.exit(code)


def _print_error(error: StagelensError) -> int:
    err.print(f"error: {error.render()}", style="red", markup=False, soft_wrap=True)
    return 1


def _system_error(error: OSError) -> StagelensError:
    """Return an error that says what the operating system refused, and what helps."""
    remedy = "fix that"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space there"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = (
            "get write access to it, or choose another path (STAGELENS_HOME moves the files of stagelens)"
        )
    where = None if error.filename is None else os.fsdecode(error.filename)
    why = error.strerror or str(error)
    return StagelensError(
        "The operating system refused an operation.",
        where=where,
        why=why,
        remedy=f"{remedy}, then run this again",
    )


def _missing_package(error: ModuleNotFoundError) -> StagelensError:
    return StagelensError(
        f"The Python package {error.name} is not installed.",
        why="this command belongs to the course, and only the library was installed",
        remedy='pip install "stagelens[course]"',
    )


def _discard_output() -> None:
    """Discard the rest of the output, so that Python does not complain when it flushes it at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
