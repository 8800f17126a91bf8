"""Which instruction a BuildKit vertex runs, from its name such as `[build 2/3] RUN make`.

BuildKit numbers the steps of a stage in toDispatchState (frontend/dockerfile/dockerfile2llb): a FROM counts
when its base is an image, then each RUN, COPY, ADD and WORKDIR.
"""

from __future__ import annotations

import re

from stagelens.dockerfile.model import Dockerfile, Instruction, Stage

_NAME = re.compile(
    r"^\[(?:(?P<platform>[a-z]+/[a-z0-9/]+) )?(?:(?P<label>\S+) )?(?P<n>\d+)/(?P<total>\d+)\] ?(?P<text>.*)$",
    re.DOTALL,
)
_REPLACED = re.compile(r"[$'\"\\`<]")
_COUNTED = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})


def vertex_instructions(stage: Stage) -> tuple[Instruction, ...]:
    """The instructions of a stage that BuildKit makes numbered steps of, in order."""
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
    steps = vertex_instructions(stage)
    number, total = int(match["n"]), int(match["total"])
    first = int(bool(steps) and steps[0].keyword == "FROM")
    if number <= first:
        return stage.index, 0
    # ONBUILD triggers of the base come first and shift the count. Older BuildKits leave them out of the total.
    place = number - 1 - (total - len(steps) or _triggers(dockerfile, stage))
    if first and total == len(steps):
        # What an image brings is known by the numbers alone only in the newer ones.
        earlier = range(min(place, len(steps) - 1), 0, -1)
        place = next((at for at in earlier if _reads(steps[at], match["text"])), place)
    if first <= place < len(steps) and match["text"].upper().startswith(steps[place].keyword):
        return stage.index, steps[place].index
    return None


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
