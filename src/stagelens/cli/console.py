"""The terminal: one console for what people read, one for results, and a spinner for what takes time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console

from stagelens.text import inline

# In a pipe or a CI log nothing is wrapped or cut: whoever reads it has no window of 80 columns.
_UNBOUNDED = 10_000
# In fewer columns a table loses words; the terminal can fold its lines instead.
_NARROWEST = 72
# What the shell gives a command that Ctrl-C ended.
INTERRUPTED = 130


def make(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or as COLUMNS says; elsewhere wide enough for every line."""
    # Log lines and file names are shown as they are, `:x:` included.
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNBOUNDED
    elif not stderr and console.width < _NARROWEST:
        console.width = _NARROWEST
    return console


out = make()
err = make(stderr=True)


@contextmanager
def working(label: str) -> Generator[Callable[[str], None]]:
    """Show `label` with a spinner and the time that passed; the yielded function changes the text.

    Without a terminal (CI, a pipe) each text is a line, once; what follows " (" is a detail that makes no new
    one.
    """
    if err.is_terminal and not err.is_dumb_terminal:
        # Only a terminal needs them, and they take a while to import.
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
        columns = (SpinnerColumn(), text, TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True, expand=True) as progress:
            task = progress.add_task(_line(label), total=None)
            yield lambda text: progress.update(task, description=_line(text))
        return
    said: set[str] = set()

    def say(text: str) -> None:
        line = _line(text)
        key = line.split(" (")[0]
        if key not in said:
            said.add(key)
            err.print(line, markup=False, soft_wrap=True)

    say(label)
    yield say


def print_json(value: object) -> None:
    """A result for programs. (rich's own takes half a millisecond for each line: 20 s for a Node project.)"""
    plain = out.encoding.startswith("utf")
    out.file.write(json.dumps(value, indent=2, ensure_ascii=not plain) + "\n")


def _line(text: str) -> str:
    return inline(text.replace("\n", " ").replace("\t", " "), 200)
