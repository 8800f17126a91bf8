"""The `stagelens` command: one module a group of commands, imported when one of them is asked for."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from stagelens.cli.console import INTERRUPTED, err
from stagelens.cli.ending import Ending
from stagelens.errors import StagelensError

# The module and the name of each command, in the order of the help.
COMMANDS = {
    "build": "stagelens.cli.build:build_command",
    "explore": "stagelens.cli.explore:explore_command",
    "why": "stagelens.cli.why:why_command",
    "engine": "stagelens.cli.engine:engine",
    "doctor": "stagelens.cli.doctor:doctor",
}


class LazyGroup(click.Group):
    """A command group that imports a command's module when the command is asked for.

    All packages together take long to import, and each command needs a few of them.
    """

    def __init__(self, modules: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the help."""
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
        """Resolve a command; suggest a near name for one that does not exist."""
        if args[0] not in self._modules:
            near = difflib.get_close_matches(args[0], self._modules)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


def command_line(modules: Mapping[str, str]) -> click.Group:
    """Make a command line.

    Parameters
    ----------
    modules
        The module and the name of each command as `module:name`, in the order of the help.
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
    """Run a command line; an error is printed as a message, without a traceback."""
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
    except ModuleNotFoundError as error:
        if (error.name or "stagelens").partition(".")[0].startswith("stagelens"):
            raise
        code = _told(_not_installed(error))
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


def _not_installed(error: ModuleNotFoundError) -> StagelensError:
    return StagelensError(
        f"The Python package {error.name} is not installed.",
        why="this command needs more than the library",
        remedy='pip install "stagelens[course]"',
    )


def _drop_output() -> None:
    """Python writes what is left of the output as it ends, and would complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
