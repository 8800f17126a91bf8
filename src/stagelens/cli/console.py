"""The terminal: one console for what people read, one for results, and a spinner for what takes time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextmanager
def working(label: str) -> Generator[Callable[[str], None]]:
    """Show `label` with a spinner and the seconds that passed; the yielded function changes the text.

    Without a terminal (CI, a pipe) each new text is a line.
    """
    if err.is_terminal:
        with err.status(label) as status:
            yield lambda text: status.update(_safe(text))
        return
    err.print(_safe(label), markup=False)
    last = label

    def say(text: str) -> None:
        nonlocal last
        words = text.split(" (")[0]
        if words != last:
            last = words
            err.print(_safe(text), markup=False)

    yield say


def _safe(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:200]
