"""Every error a user can meet: what happened, where, why, and what to do next."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

from stagelens.text import prose

# The twenty log lines of a build that failed are the longest part.
_MOST_CHARACTERS = 100_000


class StagelensError(Exception):
    """Base of all errors that stagelens raises on purpose.

    Parameters
    ----------
    what: one sentence that says what failed.
    where: the file and line, the stage, or the address it concerns.
    why: the cause, as far as it is known.
    remedy: what the user can do next, a command where there is one.
    """

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy
        super().__init__(self.render())

    def render(self) -> str:
        """The message as lines: what, then `where:`, `why:` and `next:` where they are known.

        Names and words of strangers stand in it: a control character is shown, and not acted on.
        """
        parts = [self.what]
        for label, text in (("where", self.where), ("why", self.why), ("next", self.remedy)):
            if text:
                parts.append(f"  {label}: {text}")
        return prose("\n".join(parts), _MOST_CHARACTERS, keep="\n\t")

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the reader's own lines and the message, not the way through ours.

        A Dockerfile with a mistake in it is no riddle about stagelens; %debug still goes down the whole way.
        """
        return _shown(self, type(self).__name__, self.render())


_STOPPED = "what was under way has ended, in the engine as well; run the cell again when you like"


@contextmanager
def interruptible(told: str = _STOPPED) -> Generator[None]:
    """Decorates what a notebook calls: when its stop button ends that, the cell tells so in two lines.

    IPython would show the whole way through us and the libraries to the place that happened to wait. `told`
    is what the stop means; where one such call is inside another, the outer one's is shown.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):  # KeyboardInterrupt, or in a cell that awaits CancelledError
            vars(error)["_render_traceback_"] = partial(_shown, error, "Stopped", told)
        raise


def _shown(error: BaseException, name: str, text: str) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "ipykernel_" in frame.filename or "<ipython" in frame.filename]
    lines = [f"line {frame.lineno}: {frame.line}" for frame in own]
    return [*lines, f"\x1b[31m{name}\x1b[39m: {text}"]
