"""The trace of a build: one frozen value for all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from stagelens.buildkit import BuildRequest
from stagelens.builds.build_contexts import BuildContext
from stagelens.dockerfile.model import Dockerfile, Instruction, Stage

Backend = Literal["session", "upload", "classic"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step printed: `stream` 1 is standard output, 2 standard error; `time` is Unix seconds.

    `text` holds no terminal escapes and no line end; `colors` says which parts of it were colored: start, end
    (exclusive) and style ("red", "bold", "dim green").
    """

    time: float
    stream: int
    text: str
    colors: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Vertex:
    """One step of BuildKit's graph.

    Attributes
    ----------
    digest
        The digest of its op.
    name
        Its name in BuildKit.
    inputs
        The digests of the vertices that it waits for.
    cached
        Whether it came from the cache.
    started, completed
        Unix seconds, None until known.
    error
        Why it failed.
    stage, instruction
        The instruction whose step it is, as indexes of `Dockerfile.stages` and `Stage.instructions`; None for
        BuildKit's internal steps. An ONBUILD instruction of a base is a step of the FROM that runs it.
    logs
        What it printed.
    others
        Further instructions whose step it is: BuildKit runs equal steps of several stages once.
    part_of
        Instructions whose step needs it: it is a download, an inline file, an image that files are copied
        from, or it attaches the result of a `COPY --link`.
    """

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    cached: bool = False
    started: float | None = None
    completed: float | None = None
    error: str = ""
    stage: int | None = None
    instruction: int | None = None
    logs: tuple[LogLine, ...] = ()
    others: tuple[tuple[int, int], ...] = ()
    part_of: tuple[tuple[int, int], ...] = ()

    @property
    def instructions(self) -> tuple[tuple[int, int], ...]:
        """The instructions whose step it is, as indexes of stages and of instructions."""
        if self.stage is None or self.instruction is None:
            return ()
        return ((self.stage, self.instruction), *self.others)

    @property
    def is_lookup(self) -> bool:
        """Whether it only looks up the image of a FROM."""
        return self.instruction == 0 and not self.inputs

    @property
    def running(self) -> bool:
        """Whether the step has started and not ended."""
        return self.started is not None and self.completed is None

    @property
    def seconds(self) -> float | None:
        """The seconds that the step ran; None if it has not started or not ended."""
        if self.started is None or self.completed is None:
            return None
        return self.completed - self.started


OnVertex = Callable[[Vertex, tuple[LogLine, ...]], None]


@dataclass(frozen=True, slots=True)
class BuildTrace:
    """A finished build: its Dockerfile, its vertices and its result.

    Attributes
    ----------
    dockerfile
        The Dockerfile as it was built.
    vertices
        BuildKit's own vertices, then those of the instructions in the order of the Dockerfile.
    backend
        How the build was run: "session", "upload" or "classic".
    image_id
        The image that was made; None if there is none.
    tags, target
        The names of the image, and the stage that was built; None for the last one.
    started, completed
        Unix seconds.
    context_bytes
        The bytes of context files that this build sent to the engine.
    context_digest
        A digest of the paths, modes, sizes and times of the context; None if it is unknown.
    limitations
        What the backend cannot report, in sentences.
    request
        What was asked of the engine: build arguments, network, platform and so on.
    build_contexts
        The build contexts beside the main one.
    failed
        Whether the build ended with an error, perhaps before some steps.
    """

    dockerfile: Dockerfile
    vertices: tuple[Vertex, ...]
    backend: Backend
    image_id: str | None
    tags: tuple[str, ...] = ()
    target: str | None = None
    started: float = 0.0
    completed: float = 0.0
    context_bytes: int = 0
    context_digest: str | None = None
    limitations: tuple[str, ...] = field(default=())
    request: BuildRequest = field(default_factory=BuildRequest)
    build_contexts: tuple[BuildContext, ...] = ()
    failed: bool = False

    @property
    def needed_stages(self) -> tuple[int, ...]:
        """The indexes of the stages that the build needed, in order.

        An ONBUILD instruction of a base image may copy from a stage that no other instruction names.
        """
        last = (
            self.dockerfile.stages[-1] if self.target is None else self.dockerfile.stage(self.target)
        ).index
        found = {stage for vertex in self.vertices for stage, _ in vertex.instructions if stage < last}
        return tuple(sorted(found.union(self.dockerfile.needed_stages(self.target))))

    @property
    def seconds(self) -> float:
        """Wall time of the whole build in seconds."""
        return self.completed - self.started

    def vertex(self, stage: Stage | int, instruction: Instruction | int) -> Vertex | None:
        """Return the vertex that ran this instruction, or None (ENV, CMD and the like make no vertex).

        Parameters
        ----------
        stage
            The stage or its index.
        instruction
            The instruction or its index. The vertex of a FROM is its image, if it has one.
        """
        at = (
            stage if isinstance(stage, int) else stage.index,
            instruction if isinstance(instruction, int) else instruction.index,
        )
        found = [vertex for vertex in self.vertices if at in vertex.instructions]
        return min(found, key=lambda vertex: not vertex.is_lookup, default=None)


def critical_path(vertices: Sequence[Vertex]) -> tuple[str, ...]:
    """Digests of the chain of steps that the build waited for, first to last.

    From the instruction that ended last back to the input that each of them waited for longest; making any
    other step faster would not have made the build faster. What comes after the last instruction (storing the
    image) names no inputs and is left out.
    """
    known = {vertex.digest: vertex for vertex in vertices if vertex.completed is not None}
    steps = (vertex for vertex in known.values() if vertex.instruction is not None)
    step = max(steps, key=_end, default=None)
    path: list[str] = []
    while step is not None and step.digest not in path:
        path.append(step.digest)
        step = max((known[digest] for digest in step.inputs if digest in known), key=_end, default=None)
    return tuple(reversed(path))


def work_seconds(vertices: Iterable[Vertex]) -> float:
    """Return the sum of the seconds that all steps ran; more than the build took if some ran in parallel."""
    return sum(vertex.seconds or 0.0 for vertex in vertices if not vertex.cached)


def _end(vertex: Vertex) -> float:
    return vertex.completed or 0.0
