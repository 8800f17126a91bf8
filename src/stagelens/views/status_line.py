"""A status line below a running cell, for work that takes long and displays nothing else."""

from __future__ import annotations

import time
from types import TracebackType

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from stagelens import text
from stagelens.builds import LogLine, Vertex

_LOG_SECONDS = 0.2  # between two log lines: nobody can read more


class StatusLine:
    """A status line that exists during its `with` block; outside notebooks it shows nothing.

    `line("building")` shows a text, and `on_vertex=line.step` shows the steps of a build:

        with StatusLine() as line:
            second = stagelens.record(project, on_vertex=line.step)
    """

    def __init__(self) -> None:
        self._shown: DisplayHandle | None = None
        self._updated = 0.0
        self._text = ""
        self._step = ""

    def __enter__(self) -> StatusLine:
        if get_ipython() is not None:
            self._shown = DisplayHandle()
            self._shown.display({"text/plain": "…"}, raw=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.update({"text/plain": ""}, raw=True)

    def __call__(self, message: str) -> None:
        """Show a text.

        Parameters
        ----------
        message
            The text.
        """
        # Repeated output could fill the client's queue: the kernel then drops messages, even the cell's end.
        if self._shown is not None and message != self._text:
            self._updated, self._text = time.monotonic(), message
            self._shown.update({"text/plain": text.inline(message, 200)}, raw=True)

    def step(self, vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        """Show the running step of a build and its last log line.

        Parameters
        ----------
        vertex
            The vertex that changed.
        lines
            Its new log lines.
        """
        if vertex.instruction is None or not vertex.running:
            return
        if vertex.digest != self._step:
            self._step = vertex.digest
            self(vertex.name)
        elif lines and time.monotonic() > self._updated + _LOG_SECONDS:
            self(f"{vertex.name[:80]}: {lines[-1].text}")
