"""The terminal: a console for results, one for messages, and a spinner for slow work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console

from stagelens.text import inline

# Lines in a pipe or a CI log are neither wrapped nor cut.
_PIPE_WIDTH = 10_000
# In fewer columns a table would lose words; the terminal can wrap its lines instead.
_MIN_WIDTH = 72
# The shell's exit code for a command that Ctrl-C ended.
INTERRUPTED = 130


def make_console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal or COLUMNS; in a pipe wide enough for every line."""
    # Log lines and file names are shown unchanged, `:x:` included.
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    elif not stderr and console.width < _MIN_WIDTH:
        console.width = _MIN_WIDTH
    return console


out = make_console()
err = make_console(stderr=True)


@contextmanager
def spinner(label: str) -> Generator[Callable[[str], None]]:
    """Show a text with a spinner and the elapsed time.

    Without a terminal (CI, a pipe) each text is printed once, as a line. The part after " (" is a detail: a
    text that differs only there is not printed again.

    Parameters
    ----------
    label
        The first text.

    Yields
    ------
    Callable[[str], None]
        A function that changes the text.
    """
    if err.is_terminal and not err.is_dumb_terminal:
        # Only a terminal needs these, and importing them is slow.
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
        columns = (SpinnerColumn(), text, TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True, expand=True) as progress:
            task = progress.add_task(_line(label), total=None)
            yield lambda text: progress.update(task, description=_line(text))
        return
    printed: set[str] = set()

    def update(text: str) -> None:
        line = _line(text)
        key = line.split(" (")[0]
        if key not in printed:
            printed.add(key)
            err.print(line, markup=False, soft_wrap=True)

    update(label)
    yield update


def print_json(value: object) -> None:
    """Print a result as JSON."""
    # rich's print_json takes half a millisecond a line: 20 s for a Node project.
    plain = out.encoding.startswith("utf")
    out.file.write(json.dumps(value, indent=2, ensure_ascii=not plain) + "\n")


def _line(text: str) -> str:
    return inline(text.replace("\n", " ").replace("\t", " "), 200)
