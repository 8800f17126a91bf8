"""A Dockerfile that lists files: the original, plus a stage for each point, plus stages that list them.

Each point is a stage that repeats its stage's text up to that instruction. BuildKit's cache keys hold no
stage names, so every such step is answered from the cache of the real build, and a step that two points
share runs once. A listing's own step reads the same whatever the stages are called and wherever they stand,
so it too comes from the cache until the files change. The originals stay at the top, so that names, indexes
and ARGs mean what they meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from stagelens.dockerfile import Dockerfile, Instruction, Stage, split_words
from stagelens.dockerfile.lines import continuation
from stagelens.snapshot.listing import list_command

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})
# How many points one step lists. A container's start costs as much as listing some 15,000 files, so the first
# look is cheaper with more in one; an edit lists anew what stands in one step with it, and what follows.
TOGETHER = 4
_NAME = "stagelens"  # BuildKit of Engine 20.10 allows no underscore in a stage's name


@dataclass(frozen=True, slots=True)
class Point:
    """A place to look: after `instruction` of `stage` (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build and to which stage, and in which folder of the result each point's listing lies.

    A point without any file has the folder "".
    """

    text: str
    target: str
    folders: dict[Point, str]


def points(stage: Stage) -> list[Point]:
    """The instructions of a stage after which its files may differ."""
    return [Point(stage.index, i.index) for i in stage.instructions if i.keyword in _CHANGES_FILES]


def source_point(dockerfile: Dockerfile, point: Point) -> Point | None:
    """Where the files of `point` come from if its FROM names an earlier stage, else itself.

    None where there are no files at all (FROM scratch).
    """
    stage = dockerfile.stages[point.stage]
    if point.instruction:
        return point
    if stage.base_stage is None:
        return None if stage.base.lower() == "scratch" else point
    return source_point(dockerfile, points(dockerfile.stages[stage.base_stage])[-1])


def plan(dockerfile: Dockerfile, stages: tuple[int, ...], probe_image: str) -> Plan:
    """The probe's Dockerfile for the stages with these indexes; `probe_image` brings sh, find and stat."""
    name = _free_name(dockerfile)
    folders: dict[Point, str] = {}
    bases: dict[tuple[str, str], str] = {}
    parts: list[str] = []
    for index in stages:
        stage = dockerfile.stages[index]
        own: list[Point] = []
        for point in points(stage):
            source = source_point(dockerfile, point)
            if source is None:
                folders[point] = ""
            elif source != point:
                folders[point] = folders[source]
            elif point.instruction:
                own.append(point)
            else:
                # An image is listed once, however many stages begin with it.
                key = (stage.base, stage.platform or "")
                if key not in bases:
                    bases[key] = f"{len(parts)}/0"
                    parts.append(_lister(dockerfile, [point], f"{name}{len(parts)}", probe_image))
                folders[point] = bases[key]
        for start in range(0, len(own), TOGETHER):
            group = own[start : start + TOGETHER]
            folders |= {point: f"{len(parts)}/{place}" for place, point in enumerate(group)}
            parts.append(_lister(dockerfile, group, f"{name}{len(parts)}", probe_image))
    copies = [f"COPY --from={name}{number}list /o/ /{number}/" for number in range(len(parts))]
    result = "\n".join([f"FROM scratch AS {name}result", *copies])
    return Plan("\n".join([_original(dockerfile), *parts, result, ""]), f"{name}result", folders)


def single(dockerfile: Dockerfile, point: Point, probe_image: str, command: str) -> Plan:
    """A probe that runs `command` with the files of one point at /m; what it puts in /o is the result."""
    name = _free_name(dockerfile)
    parts = [
        _prefix(dockerfile, point, f"{name}point"),
        f"FROM {probe_image} AS {name}run\n"
        f"RUN --mount=type=bind,from={name}point,target=/m mkdir /o && {command}",
        f"FROM scratch AS {name}result\nCOPY --from={name}run /o/ /",
    ]
    return Plan("\n".join([_original(dockerfile), *parts, ""]), f"{name}result", {})


def _free_name(dockerfile: Dockerfile) -> str:
    """What our stages' names begin with: no stage of the original's does."""
    name = _NAME
    while any(stage.label.startswith(name) for stage in dockerfile.stages):
        name += "x"
    return name


def _lister(dockerfile: Dockerfile, group: list[Point], name: str, probe_image: str) -> str:
    prefixes = [_prefix(dockerfile, point, f"{name}x{place}") for place, point in enumerate(group)]
    mounts = [f"--mount=type=bind,from={name}x{n},target=/m/{n}" for n in range(len(group))]
    script = " && ".join(list_command(f"/m/{n}", f"/o/{n}") for n in range(len(group)))
    lister = f"FROM {probe_image} AS {name}list\nRUN {' '.join(mounts)} {script}"
    return "\n".join([*prefixes, lister])


def _prefix(dockerfile: Dockerfile, point: Point, name: str) -> str:
    stage = dockerfile.stages[point.stage]
    first = stage.instructions[0]
    flags = "".join(f"--{flag.name}={flag.value} " for flag in first.flags)
    base = split_words(first.arguments, dockerfile.escape)[0]
    body = [_whole(dockerfile, i) for i in stage.instructions[1 : point.instruction + 1]]
    return "\n".join([f"FROM {flags}{base} AS {name}", *body])


def _original(dockerfile: Dockerfile) -> str:
    """The file's text up to its last instruction's end."""
    last = dockerfile.stages[-1].instructions[-1]
    lines = dockerfile.text.split("\n")[: last.start_line - 1]
    return "\n".join([*lines, _whole(dockerfile, last)])


def _whole(dockerfile: Dockerfile, instruction: Instruction) -> str:
    """An instruction's text that ends where it ends: at the end of a file, a continuation may have none."""
    lines = instruction.source.split("\n")
    if instruction.heredocs:
        return instruction.source
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    lines[-1] = continuation(dockerfile.escape).sub("", lines[-1].rstrip("\r"))
    return "\n".join(lines)
