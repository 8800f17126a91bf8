"""Points of a Dockerfile after which files may differ, and where a build's graph holds their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.dockerfile import Dockerfile, Stage, locate_vertex, step_instructions

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})


@dataclass(frozen=True, slots=True)
class Point:
    """A place to look: after `instruction` of `stage` (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class CopyPaths:
    """What a COPY takes, and where it puts that: paths from the root."""

    sources: tuple[str, ...]
    destination: str


def stage_points(stage: Stage) -> list[Point]:
    """The instructions of a stage after which its files may differ."""
    return [Point(stage.index, i.index) for i in stage.instructions if i.keyword in _CHANGES_FILES]


def source_point(dockerfile: Dockerfile, point: Point) -> Point | None:
    """Where the files of `point` come from if its FROM names an earlier stage, else itself.

    None where there are no files at all (FROM scratch).
    """
    while point.instruction == 0:
        stage = dockerfile.stages[point.stage]
        if stage.base_stage is None:
            return None if stage.base.lower() == "scratch" else point
        point = stage_points(dockerfile.stages[stage.base_stage])[-1]
    return point


def listed_points(dockerfile: Dockerfile, stages: Iterable[int]) -> dict[Point, Point | None]:
    """For each point of these stages the one to list: an image is listed once, scratch (None) not at all."""
    images: dict[tuple[str, str], Point] = {}
    found: dict[Point, Point | None] = {}
    for point in (point for index in stages for point in stage_points(dockerfile.stages[index])):
        source = source_point(dockerfile, point)
        if source is not None and source.instruction == 0:
            stage = dockerfile.stages[source.stage]
            source = images.setdefault((stage.base, stage.platform or ""), source)
        found[point] = source
    return found


# The graph of a stage: what building it as a target would make.
StageGraph = Callable[[int], LlbGraph]
PointOutput = tuple[LlbGraph, OpOutput]


def locate_points(
    dockerfile: Dockerfile, target: int, stages: Iterable[int], of_stage: StageGraph
) -> dict[Point, PointOutput]:
    """Where the files of each point of `stages` are; a point that is not there has none.

    `stages` are those that `target` needs, in order. `of_stage` is asked for the target, and for a stage
    whose end the target's graph does not tell.
    """
    whole = of_stage(target)
    located: dict[tuple[int, int], str] = {}
    for digest, name in whole.named_ops():
        if (place := locate_vertex(dockerfile, name)) is not None:
            located[place] = digest
    ends: dict[int, PointOutput | None] = {}
    filled: set[int | None] = set()  # stages that have any files: they begin with some, or a step makes them
    found: dict[Point, PointOutput] = {}
    for index in stages:
        stage = dockerfile.stages[index]
        if stage.base_stage in filled or step_instructions(dockerfile, stage):
            filled.add(index)
        edge = whole.result if index == target else _end(dockerfile, stage, whole, located)
        graph = whole
        if edge is None and index != target and index in filled:
            graph = of_stage(index)
            edge = graph.result
        ends[index] = (graph, edge) if edge is not None else None
        if edge is not None:
            found |= _on_chain(dockerfile, stage, graph, edge, ends)
    return found


def _end(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, located: dict[tuple[int, int], str]
) -> OpOutput | None:
    """The end of a stage as the graph of another one tells it: by what is copied from it, or by its name."""
    for edge in dockerfile.edges:
        if edge.source == stage.index and edge.kind == "copy":
            consumer = located.get((edge.target, edge.instruction))
            if consumer is not None and (copied := graph.copy_source(consumer)) is not None:
                return copied
    steps = step_instructions(dockerfile, stage)
    last = located.get((stage.index, steps[-1].index)) if steps else None
    return graph.root_output(last) if last is not None else None


def _on_chain(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, end: OpOutput, ends: dict[int, PointOutput | None]
) -> dict[Point, PointOutput]:
    """The points of one stage on the chain that leads to its end."""
    chain = [end]
    while (edge := graph.parent(chain[-1])) is not None:
        chain.append(edge)
    chain.reverse()
    base, own = _base(stage, chain, ends)
    steps = [i.index for i in step_instructions(dockerfile, stage) if i.index]
    placed = _placed(dockerfile, stage, graph, own, steps)
    found: dict[Point, PointOutput] = {}
    at = base
    for point in stage_points(stage):
        at = placed.get(point.instruction, at)
        if at is not None:
            found[point] = (graph, at)
    return found


def _base(
    stage: Stage, chain: list[OpOutput], ends: dict[int, PointOutput | None]
) -> tuple[OpOutput | None, list[OpOutput]]:
    """What a stage begins with, and its own ops."""
    if stage.base_stage is not None:
        below = ends.get(stage.base_stage)
        if below is None:
            return None, chain
        start = chain.index(below[1]) + 1 if below[1] in chain else 0
        return below[1], chain[start:]
    if stage.base.lower() == "scratch":
        return None, chain
    return chain[0], chain[1:]


def _placed(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, own: list[OpOutput], steps: list[int]
) -> dict[int, OpOutput]:
    """The output after each of a stage's steps, by the instruction's index.

    What a base image's or a stage's triggers add is no step of this stage: it shows with the next one.
    """
    named: dict[int, OpOutput] = {}
    for edge in own:
        place = locate_vertex(dockerfile, graph.name(edge.digest))
        if place is not None and place[0] == stage.index and place[1] >= max(named, default=1):
            named[place[1]] = edge
    if len(own) == len(steps) and named.keys() <= set(steps):
        in_order = dict(zip(steps, own, strict=True))
        if all(in_order[index] == edge for index, edge in named.items()):
            return in_order
    if own and steps and steps[-1] not in named:
        named[steps[-1]] = own[-1]  # whatever it is called, the stage ends there
    return named
