"""The base of all errors: what failed, where, why, and what to do next."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

from stagelens.text import block

# The longest part is the last twenty log lines of a failed build.
_MOST_CHARACTERS = 100_000
_COMMAND = re.compile(r"(?<![\w./-])stagelens (?=[a-z])")


def as_typed(text: str) -> str:
    """Return text with each `stagelens COMMAND` as the user types it.

    A clone of the project has the command `./stagelens`, which sets STAGELENS_PROGRAM to its name.

    Parameters
    ----------
    text
        A message.

    Returns
    -------
    str
        The message, with `./stagelens COMMAND` in a clone.
    """
    program = os.environ.get("STAGELENS_PROGRAM")
    return _COMMAND.sub(lambda _: f"{program} ", text) if program else text


class StagelensError(Exception):
    """Base of all errors that stagelens raises on purpose.

    Parameters
    ----------
    what
        One sentence that says what failed.
    where
        The file and line, the stage, or the address.
    why
        The cause, as far as it is known.
    remedy
        What the user can do next, if possible a command.
    """

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.remedy = as_typed(remedy) if remedy else remedy
        super().__init__(self.render())

    def render(self) -> str:
        """Return the message as lines: what, then `where:`, `why:` and `next:` if they are known.

        The parts may contain untrusted text: control characters are shown as escapes.
        """
        parts = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("next", self.remedy)):
            if text:
                parts.append(f"  {label}: {text}")
        return block("\n".join(parts), _MOST_CHARACTERS)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the lines of the cell and the message, without frames of stagelens.

        For a mistake in a Dockerfile, frames of stagelens are noise; %debug still has all of them.
        """
        return _short_traceback(self, type(self).__name__, self.render())


_STOPPED = "the operation has ended, in the engine as well; run the cell again to repeat it"


@contextmanager
def short_traceback_on_interrupt(message: str = _STOPPED) -> Generator[None]:
    """Decorate a function that notebooks call: an interrupt then shows two lines instead of a traceback.

    IPython would show every frame down to the line in a library that happened to wait. Of nested functions
    with this decorator, the outermost one's message is shown.

    Parameters
    ----------
    message
        What the interrupt means to the reader.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):  # KeyboardInterrupt, or in a cell that awaits CancelledError
            vars(error)["_render_traceback_"] = partial(_short_traceback, error, "Stopped", message)
        raise


def _short_traceback(error: BaseException, name: str, text: str) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    cell = [frame for frame in frames if "ipykernel_" in frame.filename or "<ipython" in frame.filename]
    lines = [f"line {frame.lineno}: {frame.line}" for frame in cell]
    return [*lines, f"\x1b[31m{name}\x1b[39m: {text}"]
