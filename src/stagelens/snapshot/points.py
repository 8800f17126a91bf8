"""The places to look at: after each instruction that may change files, in each stage that a build needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stagelens.dockerfile import Dockerfile, Stage

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})


@dataclass(frozen=True, slots=True)
class Point:
    """A place to look: after `instruction` of `stage` (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class Copied:
    """What a COPY takes, and where it puts that: paths from the root."""

    sources: tuple[str, ...]
    destination: str


def points(stage: Stage) -> list[Point]:
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
        point = points(dockerfile.stages[stage.base_stage])[-1]
    return point


def listed_points(dockerfile: Dockerfile, stages: Iterable[int]) -> dict[Point, Point | None]:
    """For each point of these stages the one to list: an image is listed once, scratch (None) not at all."""
    images: dict[tuple[str, str], Point] = {}
    found: dict[Point, Point | None] = {}
    for point in (point for index in stages for point in points(dockerfile.stages[index])):
        source = source_point(dockerfile, point)
        if source is not None and source.instruction == 0:
            stage = dockerfile.stages[source.stage]
            source = images.setdefault((stage.base, stage.platform or ""), source)
        found[point] = source
    return found
