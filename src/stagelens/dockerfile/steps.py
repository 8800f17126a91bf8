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
    if total == len(steps) and 1 <= number <= total:
        return stage.index, steps[number - 1].index
    # ONBUILD triggers of the base come first and shift the count: count from the end.
    from_end = total - number
    if from_end < len(steps):
        found = steps[len(steps) - 1 - from_end]
        if match["text"].upper().startswith(found.keyword) and found.keyword != "FROM":
            return stage.index, found.index
    if number == 1 and steps and steps[0].keyword == "FROM":
        return stage.index, 0
    return None
