"""Points of a Dockerfile after which files may differ, and where a build's graph holds their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.dockerfile import Dockerfile, Stage, count_triggers, locate_vertex, step_instructions

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})


@dataclass(frozen=True, slots=True)
class Point:
    """A point in a build, after one instruction of a stage (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class CopyPaths:
    """The paths of a COPY instruction, from the root.

    Attributes
    ----------
    sources
        The paths that are copied.
    destination
        The path that they are copied to.
    """

    sources: tuple[str, ...]
    destination: str


def stage_points(stage: Stage) -> list[Point]:
    """Return the points of a stage after which its files may differ."""
    return [Point(stage.index, i.index) for i in stage.instructions if i.keyword in _CHANGES_FILES]


def source_point(dockerfile: Dockerfile, point: Point) -> Point | None:
    """Return the point that has the files of `point`: the end of the stage that its FROM names, else itself.

    A FROM whose stage has ONBUILD instructions for it adds their files. None means that there are no files
    (FROM scratch).
    """
    while point.instruction == 0:
        stage = dockerfile.stages[point.stage]
        if count_triggers(dockerfile, stage):
            return point
        if stage.base_stage is None:
            return None if stage.base.lower() == "scratch" else point
        point = stage_points(dockerfile.stages[stage.base_stage])[-1]
    return point


def listed_points(dockerfile: Dockerfile, stages: Iterable[int]) -> dict[Point, Point | None]:
    """Return for each point of stages the point to list.

    An image that several stages begin with is listed once, and scratch (None) not at all.
    """
    images: dict[tuple[str, str], Point] = {}
    found: dict[Point, Point | None] = {}
    for point in (point for index in stages for point in stage_points(dockerfile.stages[index])):
        source = source_point(dockerfile, point)
        if source is not None and source.instruction == 0:
            stage = dockerfile.stages[source.stage]
            if stage.base_stage is None:
                source = images.setdefault((stage.base, stage.platform or ""), source)
        found[point] = source
    return found


# Returns the graph of a stage, as if it was the target of the build.
StageGraph = Callable[[int], LlbGraph]


class PointOutput(NamedTuple):
    """An output of an op that holds the files at a point, and the graph of the op."""

    graph: LlbGraph
    output: OpOutput


def locate_points(
    dockerfile: Dockerfile, target: int, stages: Iterable[int], stage_graph: StageGraph
) -> dict[Point, PointOutput]:
    """Find the files of points in the graph of a build.

    A stage is a chain of ops, each made from the one below. Instructions are found by the names of the ops,
    or by their order if the names do not tell: of several stages that begin alike, BuildKit names only one.

    Parameters
    ----------
    dockerfile
        The Dockerfile.
    target
        The index of the stage that is built.
    stages
        The indexes of the stages that the target needs, in order.
    stage_graph
        Returns the graph of a stage. It is called for the target, and for each stage whose end is missing in
        the target's graph.

    Returns
    -------
    dict
        The output that holds the files at each point. Points without files are left out.
    """
    whole = stage_graph(target)
    located: dict[tuple[int, int], str] = {}
    for digest, name in whole.named_ops():
        if (at := locate_vertex(dockerfile, name)) is not None:
            located[at] = digest
    ends: dict[int, PointOutput | None] = {}
    filled: set[int | None] = set()  # stages that have any files: they begin with some, or a step makes them
    found: dict[Point, PointOutput] = {}
    for index in stages:
        stage = dockerfile.stages[index]
        makes_files = step_instructions(dockerfile, stage) or count_triggers(dockerfile, stage)
        if stage.base_stage in filled or makes_files:
            filled.add(index)
        edge = whole.result if index == target else _end(dockerfile, stage, whole, located)
        graph = whole
        if edge is None and index != target and index in filled:
            graph = stage_graph(index)
            edge = graph.result
        ends[index] = PointOutput(graph, edge) if edge is not None else None
        if edge is not None:
            found |= _on_chain(dockerfile, stage, graph, edge, ends)
    return found


def _end(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, located: dict[tuple[int, int], str]
) -> OpOutput | None:
    """Return the end of a stage in the graph of another one: by what is copied from it, or by its name."""
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
    """Return the points of one stage on the chain that leads to its end."""
    chain = [end]
    while (edge := graph.parent(chain[-1])) is not None:
        chain.append(edge)
    chain.reverse()
    base, own = _base(stage, chain, ends)
    steps = [i.index for i in step_instructions(dockerfile, stage) if i.index]
    outputs = _step_outputs(dockerfile, stage, graph, own, steps)
    found: dict[Point, PointOutput] = {}
    at = base
    for point in stage_points(stage):
        at = outputs.get(point.instruction, at)
        if at is not None:
            found[point] = PointOutput(graph, at)
    return found


def _base(
    stage: Stage, chain: list[OpOutput], ends: dict[int, PointOutput | None]
) -> tuple[OpOutput | None, list[OpOutput]]:
    """Return the output that a stage begins with, and the outputs of the stage itself."""
    if stage.base_stage is not None:
        below = ends.get(stage.base_stage)
        if below is None:
            return None, chain
        start = chain.index(below[1]) + 1 if below[1] in chain else 0
        return below[1], chain[start:]
    if stage.base.lower() == "scratch":
        return None, chain
    return chain[0], chain[1:]


def _step_outputs(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, own: list[OpOutput], steps: list[int]
) -> dict[int, OpOutput]:
    """Return the output after each step of a stage, by the index of the instruction.

    Steps of ONBUILD instructions of another stage belong to the FROM; those of an image show up with the next
    step.
    """
    named: dict[int, OpOutput] = {}
    for edge in own:
        position = locate_vertex(dockerfile, graph.name(edge.digest))
        if position is not None and position[0] == stage.index and position[1] >= max(named, default=1):
            named[position[1]] = edge
    if len(own) == len(steps) and named.keys() <= set(steps):
        in_order = dict(zip(steps, own, strict=True))
        if all(in_order[index] == edge for index, edge in named.items()):
            return in_order
    if own and steps and steps[-1] not in named:
        named[steps[-1]] = own[-1]  # whatever it is called, the stage ends there
    if count_triggers(dockerfile, stage):
        first = next((own.index(named[index]) for index in steps if index in named), len(own))
        if first:
            named[0] = own[first - 1]
    return named
