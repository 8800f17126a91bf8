"""One line below a running cell that says what is being done, for what takes long and shows nothing else."""

from __future__ import annotations

import time
from types import TracebackType

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from stagelens import text
from stagelens.builds import LogLine, Vertex

_PAUSE = 0.2  # seconds between two lines of output: more than that nobody reads


class StatusLine:
    """Gone at the end of its `with`; outside of notebooks it is silent.

    `line("building")` says that, `on_vertex=line.step` follows a build:

        with StatusLine() as line:
            second = stagelens.record(project, on_vertex=line.step)
    """

    def __init__(self) -> None:
        self._shown: DisplayHandle | None = None
        self._said = 0.0
        self._told = ""
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

    def __call__(self, told: str) -> None:
        """Say what is being done now; the same again is no output.

        A kernel drops output that its client does not take in time, the word that a cell has ended with it.
        """
        if self._shown is not None and told != self._told:
            self._said, self._told = time.monotonic(), told
            self._shown.update({"text/plain": text.inline(told, 200)}, raw=True)

    def step(self, vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        """Say which step of a build runs, and the last that it printed."""
        if vertex.instruction is None or not vertex.running:
            return
        if vertex.digest != self._step:
            self._step = vertex.digest
            self(vertex.name)
        elif lines and time.monotonic() > self._said + _PAUSE:
            self(f"{vertex.name[:80]}: {lines[-1].text}")
