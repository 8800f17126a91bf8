"""A Dockerfile that lists files: the original, plus a stage for each point, plus stages that list them.

Each point is a stage that repeats its stage's text up to that instruction. BuildKit's cache keys hold no
stage names, so every such step is answered from the cache of the real build, and a step that two points
share runs once. The originals stay at the top, so that names, indexes and ARGs mean what they meant.

A listing's step runs *on* the point, in a repetition of it, and mounts the same point to list it: what is
both a step's root and a mount has its key from the steps that made it, where any other mount is hashed,
content by content, which costs far more than to list it (solver/llbsolver/ops/exec.go,
NoContentBasedHash). The tools are mounted too, since a point may have none.

Such a key does not tell two runs of the same steps apart (`--no-cache`). So each listing says of which
snapshot it is, and for each chain of stages a step that is never cached says which ones there are now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stagelens.dockerfile import Dockerfile, Instruction, Stage, split_words
from stagelens.dockerfile.lines import continuation
from stagelens.snapshot.listing import list_command

_CHANGES_FILES = frozenset({"FROM", "RUN", "COPY", "ADD", "WORKDIR"})
_PLACE = "/.stagelens"  # in the points' own trees, whatever these hold
_BUSYBOX = f"{_PLACE}/tools/env {_PLACE}/tools/busybox"
# A busybox that needs a loader is started by it, since a point may have none: `env` is that loader, and else
# busybox's own applet of that name, which runs its arguments just so.
_TOOLS = (
    "RUN mkdir /tools && cp /bin/busybox /tools/busybox"
    " && { cp /lib/ld-musl-*.so.1 /tools/env 2> /dev/null || cp /bin/busybox /tools/env; }"
)
_NAME = "stagelens"  # BuildKit of Engine 20.10 allows no underscore in a stage's name


@dataclass(frozen=True, slots=True)
class Point:
    """A place to look: after `instruction` of `stage` (indexes)."""

    stage: int
    instruction: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build and to which stage, and in which folder of the result each point's listing lies.

    `tips` has for each of these points the folder in which the last snapshot of its chain is told; `steps`
    for each folder the stage whose last step made it.
    """

    text: str
    target: str
    folders: dict[Point, str]
    tips: dict[Point, str]
    steps: dict[str, str]


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


def text_digest(dockerfile: Dockerfile, point: Point) -> str:
    """What stands for a stage's text up to a point, wherever the stage stands and whatever it is called."""
    return hashlib.sha256(_prefix(dockerfile, point, "").encode("utf-8", "surrogateescape")).hexdigest()


def plan(
    dockerfile: Dockerfile,
    wanted: Mapping[Point, str],
    tips: Mapping[Point, Point],
    probe_image: str,
    now: str,
    *,
    new: Collection[Point] = (),
    offline: bool = False,
) -> Plan:
    """The probe's Dockerfile for the points `wanted`, each with words that its listing's key holds besides.

    `tips` says for each of them, and for others that are to be told of, the last point of its chain; `now` is
    new each time. Those in `new` are taken to be listed for the first time, and then tell of themselves.
    `probe_image` brings busybox.
    `offline` steps have no network, which spares the engine a part of their costs; old engines know none.
    """
    name = _free_name(dockerfile)
    parts = [f"FROM {probe_image} AS {name}tools\n{_TOOLS}"]
    folders: dict[Point, str] = {}
    last: dict[Point, str] = {}
    for point, mark in wanted.items():
        folders[point] = str(len(folders))
        script = f"{list_command(f'{_PLACE}/files', f'{_PLACE}/out', _BUSYBOX)} && {_mounts(mark)}"
        parts.append(_step(dockerfile, point, name, f"{name}{folders[point]}", script, offline=offline))
    for tip in dict.fromkeys(tips.values()):
        if tip in new and tip in folders:
            last[tip] = folders[tip]
            continue
        last[tip] = f"tip{len(last)}"
        # Each has words of its own: of two that are the same step, BuildKit tells one alone.
        script = f"{_BUSYBOX} mkdir -p {_PLACE}/out && {_mounts(now + last[tip])}"
        own = f"{name}{last[tip]}"
        parts.append(_step(dockerfile, tip, name, own, script, files=False, offline=offline))
    steps = {folder: f"{name}{folder}run" for folder in (*folders.values(), *last.values())}
    copies = [f"COPY --from={step} {_PLACE}/out/ /{folder}/" for folder, step in steps.items()]
    result = "\n".join([f"FROM scratch AS {name}result", *copies])
    text = "\n".join([_original(dockerfile), *parts, result, ""])
    return Plan(text, f"{name}result", folders, {point: last[tip] for point, tip in tips.items()}, steps)


def single(dockerfile: Dockerfile, point: Point, probe_image: str, command: str, mark: str = "") -> Plan:
    """A probe that runs `command` in the files of one point; what it puts in "$O" is the result.

    `command` may run applets with $B; `mark` is what its key holds besides.
    """
    name = _free_name(dockerfile)
    script = f": {mark}; B='{_BUSYBOX}' O={_PLACE}/out && $B mkdir -p $O && cd {_PLACE}/files && {command}"
    parts = [
        f"FROM {probe_image} AS {name}tools\n{_TOOLS}",
        _step(dockerfile, point, name, f"{name}point", script),
        f"FROM scratch AS {name}result\nCOPY --from={name}pointrun {_PLACE}/out/ /",
    ]
    return Plan("\n".join([_original(dockerfile), *parts, ""]), f"{name}result", {}, {}, {})


def tips_of(dockerfile: Dockerfile, stages: Sequence[int]) -> dict[int, Point]:
    """For each stage the last point of a chain of stages that goes through all of it."""
    found: dict[int, Point] = {}
    for index in sorted(stages, reverse=True):
        stage = dockerfile.stages[index]
        tip = found.setdefault(index, points(stage)[-1])
        if stage.base_stage is not None:
            found.setdefault(stage.base_stage, tip)
    return found


def _free_name(dockerfile: Dockerfile) -> str:
    """What our stages' names begin with: no stage of the original's does."""
    name = _NAME
    while any(stage.label.startswith(name) for stage in dockerfile.stages):
        name += "x"
    return name


def _step(
    dockerfile: Dockerfile,
    point: Point,
    name: str,
    own: str,
    script: str,
    *,
    files: bool = True,
    offline: bool = False,
) -> str:
    """Stages that run a script on a point, as root, in / and without its variables for the loader.

    The point may hold anything at our place, a pipe that nobody reads from, say.
    """
    script = f"{_BUSYBOX} rm -rf {_PLACE}/out && {script}"
    mounts = [f"--mount=type=bind,from={name}tools,source=/tools,target={_PLACE}/tools"]
    if offline:
        mounts.append("--network=none")
    if files:
        mounts.append(f"--mount=type=bind,from={own},target={_PLACE}/files")
    command = json.dumps([*_BUSYBOX.split(), "sh", "-c", script])
    step = f"USER 0:0\nWORKDIR /\nENV LD_PRELOAD= LD_LIBRARY_PATH=\nRUN {' '.join(mounts)} {command}"
    before = [_prefix(dockerfile, point, own)] if files else []
    return "\n".join([*before, _prefix(dockerfile, point, f"{own}run"), step])


def _mounts(mark: str) -> str:
    return f": {mark}; {_BUSYBOX} cat /proc/self/mounts > {_PLACE}/out/mounts"


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
