"""A build while it runs, and after it: every step with its state and time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stagelens.build import BuildTrace, LogLine, Vertex
from stagelens.views import markup

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

_LOG_LINES = 8
_SECONDS_BETWEEN = 0.1


class BuildView:
    """Give `view.take` to `stagelens.build(on_vertex=...)`; the picture follows the build.

    In a notebook `show()` displays it; `str(view)` is the plain-text form.
    """

    def __init__(self) -> None:
        self._vertices: dict[str, Vertex] = {}
        self._drawn = 0.0
        self._handle: DisplayHandle | None = None

    def show(self) -> BuildView:
        """Display the view now; it changes while the build runs, and its last state is saved."""
        from IPython.display import display  # slow to import, and the command line never calls this

        self._handle = display(self, display_id=True)
        return self

    def take(self, vertex: Vertex, lines: tuple[LogLine, ...]) -> None:
        """Take a change in; drawn at most ten times a second."""
        self._vertices[vertex.digest] = vertex
        if time.monotonic() - self._drawn >= _SECONDS_BETWEEN:
            self.draw()

    def finish(self, trace: BuildTrace) -> None:
        """Draw the last state."""
        self._vertices = {vertex.digest: vertex for vertex in trace.vertices}
        self.draw()

    def draw(self) -> None:
        """Bring the display up to date."""
        self._drawn = time.monotonic()
        if self._handle is not None:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        rows = [
            (_state(v), _time(v), f"<code>{markup.html_text(v.name)}</code>{_log(v)}")
            for v in self._vertices.values()
            if v.instruction is not None or v.error
        ]
        return markup.frame(markup.table(("state", "time", "step"), rows))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": str(self)}

    def __str__(self) -> str:
        steps = [v for v in self._vertices.values() if v.instruction is not None]
        cached = sum(v.cached for v in steps)
        return f"{len(steps)} steps, {cached} from the cache, {sum(bool(v.error) for v in steps)} failed"


def _state(vertex: Vertex) -> str:
    if vertex.error:
        return '<span class="sl-badge sl-removed">failed</span>'
    if vertex.cached:
        return '<span class="sl-badge">cached</span>'
    if vertex.completed is not None:
        return '<span class="sl-badge sl-added">done</span>'
    return '<span class="sl-badge sl-changed">running</span>' if vertex.started is not None else "waiting"


def _time(vertex: Vertex) -> str:
    return "" if vertex.seconds is None or vertex.cached else f"{vertex.seconds:.1f} s"


def _log(vertex: Vertex) -> str:
    lines = [markup.html_text(line.text) for line in vertex.logs[-_LOG_LINES:]]
    return "".join(f"<br><code>{line}</code>" for line in lines)
