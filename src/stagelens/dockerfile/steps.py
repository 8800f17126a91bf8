"""Which instruction a BuildKit vertex runs, from its name such as `[build 2/3] RUN make`.

BuildKit numbers the steps of a stage in toDispatchState (frontend/dockerfile/dockerfile2llb): a FROM counts
when its base is an image, then each RUN, COPY, ADD and WORKDIR.
"""

from __future__ import annotations

import posixpath
import re

from stagelens.dockerfile.model import Dockerfile, Instruction, Stage

_NAME = re.compile(
    r"^\[(?:(?P<platform>[a-z]+/[a-z0-9/]+) )?(?:(?P<label>\S+) )?(?P<n>\d+)/(?P<total>\d+)\] ?(?P<text>.*)$",
    re.DOTALL,
)
_REPLACED = re.compile(r"[$'\"\\`<]")
_COUNTED = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})


def _counted(stage: Stage) -> tuple[Instruction, ...]:
    """The instructions of a stage that count in its steps' total, in order."""
    first = () if stage.base_stage is not None or stage.base.lower() == "scratch" else stage.instructions[:1]
    return (*first, *(i for i in stage.instructions[1:] if i.keyword in _COUNTED))


def locate(dockerfile: Dockerfile, vertex_name: str) -> tuple[int, int] | None:
    """Indexes of the stage and the instruction behind a vertex's name; None for BuildKit's own steps."""
    match = _NAME.match(vertex_name)
    if match is None:
        return None
    label = match["label"]
    if label is None:
        stage = dockerfile.stages[-1] if len(dockerfile.stages) == 1 else None
    else:
        stage = next((s for s in dockerfile.stages if s.label.lower() == label.lower()), None)
    if stage is None:
        return None
    steps = _counted(stage)
    number, total = int(match["n"]), int(match["total"])
    first = int(bool(steps) and steps[0].keyword == "FROM")
    if number <= first:
        return stage.index, 0
    # ONBUILD triggers come first and shift the count; older BuildKits leave them out of the total.
    place = number - 1 - (total - len(steps) or _triggers(dockerfile, stage))
    if place < first:
        return None
    numbered = step_instructions(dockerfile, stage)
    # The numbers alone do not tell what an image brings; of steps that read alike, they tell which it is.
    alike = [at for at in range(first, len(numbered)) if _reads(numbered[at], match["text"])]
    place = min(alike, key=lambda at: abs(at - place), default=place)
    if place < len(numbered) and match["text"].upper().startswith(numbered[place].keyword):
        return stage.index, numbered[place].index
    return None


def step_instructions(dockerfile: Dockerfile, stage: Stage) -> list[Instruction]:
    """The instructions of a stage that BuildKit runs, in order: a WORKDIR that leads to / is only counted."""
    chain = [stage]
    while (base := chain[-1].base_stage) is not None:
        chain.append(dockerfile.stages[base])
    folder = "/"
    found: list[Instruction] = []
    for link in reversed(chain):
        found = []
        for instruction in _counted(link):
            if instruction.keyword == "WORKDIR":
                folder = posixpath.normpath(posixpath.join(folder, instruction.arguments.strip("'\"")))
            if instruction.keyword != "WORKDIR" or folder.strip("/"):
                found.append(instruction)
    return found


def _triggers(dockerfile: Dockerfile, stage: Stage) -> int:
    """How many steps the stage that this one begins from adds to it."""
    if stage.base_stage is None:
        return 0
    triggers = (i for i in dockerfile.stages[stage.base_stage].instructions if i.keyword == "ONBUILD")
    return sum(trigger.arguments.split()[0].upper() in _COUNTED for trigger in triggers)


def _reads(instruction: Instruction, text: str) -> bool:
    """Whether a vertex's text may be an instruction's: alike up to what BuildKit may have replaced."""
    flags = (f"--{f.name}" if f.value is None else f"--{f.name}={f.value}" for f in instruction.flags)
    written = " ".join([instruction.keyword, *flags, *instruction.arguments.split()])
    literal = _REPLACED.split(written, maxsplit=1)
    return (" ".join(text.split()) + " ").startswith(literal[0] if len(literal) > 1 else written + " ")
