"""What a build's time was spent on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stagelens.builds.trace import Vertex


def critical_path(vertices: Sequence[Vertex]) -> tuple[str, ...]:
    """Digests of the chain of steps that the build waited for, first to last.

    From the instruction that ended last back to the input that each of them waited for longest; making any
    other step faster would not have made the build faster. What comes after the last instruction (storing the
    image) names no inputs and is left out.
    """
    known = {vertex.digest: vertex for vertex in vertices if vertex.completed is not None}
    own = (vertex for vertex in known.values() if vertex.instruction is not None)
    step = max(own, key=_end, default=None)
    path: list[str] = []
    while step is not None and step.digest not in path:
        path.append(step.digest)
        step = max((known[digest] for digest in step.inputs if digest in known), key=_end, default=None)
    return tuple(reversed(path))


def work_seconds(vertices: Iterable[Vertex]) -> float:
    """The seconds that all steps ran, added up; more than the build took where some ran side by side."""
    return sum(vertex.seconds or 0.0 for vertex in vertices if not vertex.cached)


def _end(vertex: Vertex) -> float:
    return vertex.completed or 0.0
