"""A Dockerfile that lists files: the original, plus a stage for each point, plus stages that list them.

Each point is a stage that repeats its stage's text up to that instruction. BuildKit's cache keys hold no
stage names, so every such step is answered from the cache of the real build, and a step that two points
share runs once. The originals stay at the top, so that names, indexes and ARGs mean what they meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from stagelens.dockerfile import Dockerfile, Instruction, Stage, split_words
from stagelens.snapshot.listing import list_command

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})
_NAME = "stagelens"  # BuildKit of Engine 20.10 allows no underscore in a stage's name
RESULT = f"{_NAME}result"


@dataclass(frozen=True, slots=True)
class Point:
    """A place to look: after `instruction` of `stage` (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build, and where each point's listing lies in the result: a folder's name, "" for no files."""

    text: str
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
    folders: dict[Point, str] = {}
    parts: list[str] = []
    bases: dict[tuple[str, ...], str] = {}
    results: list[str] = []
    for index in stages:
        stage = dockerfile.stages[index]
        mounts: list[tuple[str, str]] = []
        for point in points(stage):
            source = source_point(dockerfile, point)
            if source is None:
                folders[point] = ""
            elif source != point:
                folders[point] = folders[source]
            elif point.instruction == 0:
                folders[point] = _base(stage, bases, parts, results, probe_image)
            else:
                name = f"{_NAME}{point.stage}x{point.instruction}"
                parts.append(_prefix(stage, point.instruction, name, dockerfile.escape))
                mounts.append((name, name))
                folders[point] = name
        if mounts:
            _lister(f"{_NAME}list{index}", mounts, parts, results, probe_image)
    copies = [f"COPY --from={name} /o/ /" for name in results]
    parts.append("\n".join([f"FROM scratch AS {RESULT}", *copies]))
    return Plan("\n".join([dockerfile.text.rstrip("\n"), *parts, ""]), folders)


def single(dockerfile: Dockerfile, point: Point, probe_image: str, command: str) -> str:
    """A probe that runs `command` with the files of one point at /m/0; what it puts in /o is the result."""
    name = f"{_NAME}point"
    stage = dockerfile.stages[point.stage]
    parts = [
        _prefix(stage, point.instruction, name, dockerfile.escape),
        f"FROM {probe_image} AS {_NAME}run\n"
        f"RUN --mount=type=bind,from={name},target=/m/0 mkdir /o && {command}",
        f"FROM scratch AS {RESULT}\nCOPY --from={_NAME}run /o/ /",
    ]
    return "\n".join([dockerfile.text.rstrip("\n"), *parts, ""])


def _base(
    stage: Stage, bases: dict[tuple[str, ...], str], parts: list[str], results: list[str], probe_image: str
) -> str:
    """An image is listed once, however many stages begin with it, and apart from what is done on it."""
    key = (stage.base, stage.platform or "")
    if key not in bases:
        name = bases[key] = f"{_NAME}base{len(bases)}"
        parts.append(_prefix(stage, 0, name, "\\"))
        # Always the same folder name: the step is then the same for every project on this base.
        _lister(f"{_NAME}listbase{len(bases) - 1}", [(name, "base")], parts, results, probe_image)
        parts[-1] += f" && mv /o/base /o/{name}" if len(bases) > 1 else ""
        bases[key] = name if len(bases) > 1 else "base"
    return bases[key]


def _lister(
    name: str, mounts: list[tuple[str, str]], parts: list[str], results: list[str], probe_image: str
) -> None:
    flags = [f"--mount=type=bind,from={source},target=/m/{folder}" for source, folder in mounts]
    script = " && ".join(list_command(f"/m/{folder}", f"/o/{folder}") for _, folder in mounts)
    parts.append(f"FROM {probe_image} AS {name}\nRUN {' '.join(flags)} {script}")
    results.append(name)


def _prefix(stage: Stage, instruction: int, name: str, escape: str) -> str:
    first = stage.instructions[0]
    flags = "".join(f"--{flag.name}={flag.value} " for flag in first.flags)
    base = split_words(first.arguments, escape)[0]
    body = [_source(i) for i in stage.instructions[1 : instruction + 1]]
    return "\n".join([f"FROM {flags}{base} AS {name}", *body])


def _source(instruction: Instruction) -> str:
    return instruction.source
