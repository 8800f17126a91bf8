"""What a build did: one frozen value that all three ways of building fill alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stagelens.buildkit import BuildRequest
from stagelens.dockerfile.model import Dockerfile, Instruction, Stage

Backend = Literal["session", "upload", "classic"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a step printed: `stream` 1 is standard output, 2 standard error; `time` is Unix seconds.

    `text` holds no terminal escapes and no line end; `colours` says which parts of it were coloured: from one
    character to before another, and how ("red", "bold", "dim green").
    """

    time: float
    stream: int
    text: str
    colours: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Vertex:
    """One step of BuildKit's graph.

    `inputs` are digests of the vertices it waits for. `stage` and `instruction` say which line of the
    Dockerfile it is (indexes of `Dockerfile.stages` and `Stage.instructions`), None for BuildKit's own
    steps such as loading the context. `started` and `completed` are Unix seconds, None until known.
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

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.started is not None and self.completed is None

    @property
    def seconds(self) -> float | None:
        """How long it ran, in seconds; None where it has not both started and ended."""
        if self.started is None or self.completed is None:
            return None
        return self.completed - self.started


@dataclass(frozen=True, slots=True)
class BuildTrace:
    """A finished build: its Dockerfile, its vertices and what came out.

    `vertices` begins with BuildKit's own ones; the Dockerfile's instructions follow in its order.
    `missing` lists in plain words what the chosen backend could not tell (the classic builder knows no
    graph, say). `context_bytes` counts the content of context files sent to the engine for this build;
    `context_digest` stands for their paths, modes, sizes and times, None where nobody knows them.
    `request` is what was asked of the engine: build arguments, network, platform.
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
    missing: tuple[str, ...] = field(default=())
    request: BuildRequest = field(default_factory=BuildRequest)

    @property
    def seconds(self) -> float:
        """Wall time of the whole build in seconds."""
        return self.completed - self.started

    def vertex(self, stage: Stage | int, instruction: Instruction | int) -> Vertex | None:
        """The vertex that ran this instruction, or None (ENV, CMD and the like make no vertex)."""
        stage_index = stage if isinstance(stage, int) else stage.index
        instruction_index = instruction if isinstance(instruction, int) else instruction.index
        for vertex in self.vertices:
            if vertex.stage == stage_index and vertex.instruction == instruction_index:
                return vertex
        return None
