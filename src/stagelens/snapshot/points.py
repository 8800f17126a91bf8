"""Points of a Dockerfile after which files may differ, and where a build's graph holds their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stagelens.buildkit.llb import LlbGraph, OpOutput
from stagelens.builds.source_map import OpLocation, locate_ops
from stagelens.dockerfile import Dockerfile, Stage, count_triggers, step_instructions

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
    """Return for each point of stages the point to list; scratch (None) is not listed."""
    points = (point for index in stages for point in stage_points(dockerfile.stages[index]))
    return {point: source_point(dockerfile, point) for point in points}


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

    A stage is a chain of ops, each made from the one below. What an ONBUILD instruction adds belongs to the
    FROM that runs it.

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
    locations = locate_ops(dockerfile, whole)
    ends: dict[int, PointOutput | None] = {}
    filled: set[int | None] = set()  # stages that have any files: they begin with some, or a step makes them
    found: dict[Point, PointOutput] = {}
    for index in stages:
        stage = dockerfile.stages[index]
        makes_files = step_instructions(dockerfile, stage) or count_triggers(dockerfile, stage)
        if stage.base_stage in filled or makes_files:
            filled.add(index)
        edge = whole.result if index == target else _end(dockerfile, stage, whole, locations)
        graph, at = whole, locations
        if edge is None and index != target and index in filled:
            graph = stage_graph(index)
            edge, at = graph.result, locate_ops(dockerfile, graph)
        ends[index] = PointOutput(graph, edge) if edge is not None else None
        if edge is not None:
            found |= _on_chain(dockerfile, stage, graph, at, edge, ends)
    return found


def _end(
    dockerfile: Dockerfile, stage: Stage, graph: LlbGraph, locations: Mapping[str, OpLocation]
) -> OpOutput | None:
    """Return the end of a stage in another one's graph: by what is copied from it, or by its last step."""
    for edge in dockerfile.edges:
        if edge.source == stage.index and edge.kind == "copy":
            at = (edge.target, edge.instruction)
            consumers = (digest for digest in graph.ops() if at in _at(locations, digest))
            copied = next((found for one in consumers if (found := graph.copy_source(one))), None)
            if copied is not None:
                return copied
    steps = step_instructions(dockerfile, stage)
    last = [one for one in graph.ops() if steps and (stage.index, steps[-1].index) in _at(locations, one)]
    return graph.root_output(last[-1]) if last else None


def _at(locations: Mapping[str, OpLocation], digest: str) -> tuple[tuple[int, int], ...]:
    """Return the instructions that an op belongs to."""
    location = locations.get(digest, OpLocation())
    return (*location.instructions, *location.part_of)


def _on_chain(
    dockerfile: Dockerfile,
    stage: Stage,
    graph: LlbGraph,
    locations: Mapping[str, OpLocation],
    end: OpOutput,
    ends: dict[int, PointOutput | None],
) -> dict[Point, PointOutput]:
    """Return the points of one stage on the chain that leads to its end."""
    chain = [end]
    while (edge := graph.parent(chain[-1])) is not None:
        chain.append(edge)
    chain.reverse()
    at, own = _base(stage, chain, ends)
    # Stages with the same base share the steps of its ONBUILD instructions: the engine may name only one.
    alike = {(other.index, 0) for other in dockerfile.stages if other.base == stage.base}
    triggers = [edge for edge in own if alike.intersection(_at(locations, edge.digest))]
    steps = [i.index for i in step_instructions(dockerfile, stage) if i.index]
    outputs = _step_outputs(stage, locations, [edge for edge in own if edge not in triggers], steps)
    if triggers:
        outputs[0] = triggers[-1]
    found: dict[Point, PointOutput] = {}
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
    stage: Stage, locations: Mapping[str, OpLocation], own: list[OpOutput], steps: list[int]
) -> dict[int, OpOutput]:
    """Return the output after each step of a stage, by the index of the instruction.

    Steps that the engine does not tell are found by their order, or show up with the next step.
    """
    located: dict[int, OpOutput] = {}
    for edge in own:
        for index, instruction in _at(locations, edge.digest):
            if index == stage.index and instruction >= max(located, default=1):
                located[instruction] = edge
    if len(own) == len(steps) and located.keys() <= set(steps):
        in_order = dict(zip(steps, own, strict=True))
        if all(in_order[index] == edge for index, edge in located.items()):
            return in_order
    if own and steps and steps[-1] not in located:
        located[steps[-1]] = own[-1]  # whatever it is called, the stage ends there
    return located
