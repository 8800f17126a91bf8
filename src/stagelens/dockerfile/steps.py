"""Which instruction a BuildKit vertex runs, from its name such as `[build 2/3] RUN make`.

BuildKit numbers the steps of a stage in toDispatchState (frontend/dockerfile/dockerfile2llb): a FROM counts
when its base is an image, then each RUN, COPY, ADD and WORKDIR.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from stagelens.dockerfile.expand import expand
from stagelens.dockerfile.model import Dockerfile, Instruction, Stage
from stagelens.dockerfile.platforms import platform_arguments
from stagelens.dockerfile.reference import full_name
from stagelens.dockerfile.words import declared, named_values, split_blanks

_NAME = re.compile(
    r"^\[(?:(?P<platform>[a-z]+/[a-z0-9/]+) )?(?:(?P<label>\S+) )?(?P<n>\d+)/(?P<total>\d+)\] ?(?P<text>.*)$",
    re.DOTALL,
)
_REPLACED = re.compile(r"[$'\"\\`<]")
# What BuildKit makes a step of.
STEP_KEYWORDS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})


def _counted(stage: Stage) -> tuple[Instruction, ...]:
    """The instructions of a stage that count in its steps' total, in order."""
    first = () if stage.base_stage is not None or stage.base.lower() == "scratch" else stage.instructions[:1]
    return (*first, *(i for i in stage.instructions[1:] if i.keyword in STEP_KEYWORDS))


def locate(dockerfile: Dockerfile, vertex_name: str) -> tuple[int, int] | None:
    """Indexes of the stage and the instruction behind a vertex's name; None for BuildKit's own steps."""
    match = _NAME.match(vertex_name)
    if match is None:
        return None
    label = match["label"]
    if label is None:
        stages = dockerfile.stages if len(dockerfile.stages) == 1 else ()
    else:
        stages = [s for s in dockerfile.stages if s.label == label]
    numbers = int(match["n"]), int(match["total"])
    if not stages:
        return _in_another_build(dockerfile, numbers[0], match["text"])
    # Stages may share a name.
    places = [place for s in stages if (place := _place(dockerfile, s, *numbers, match["text"]))]
    reads = (p for p in places if _reads(dockerfile.stages[p[0]].instructions[p[1]], match["text"]))
    return next(reads, places[0] if places else None)


def _place(
    dockerfile: Dockerfile, stage: Stage, number: int, total: int, text: str
) -> tuple[int, int] | None:
    steps = _counted(stage)
    first = int(bool(steps) and steps[0].keyword == "FROM")
    if number <= first:
        return stage.index, 0
    # ONBUILD triggers come first and shift the count; older BuildKits leave them out of the total.
    place = number - 1 - (total - len(steps) or _triggers(dockerfile, stage))
    if place < first:
        return None
    numbered = step_instructions(dockerfile, stage)
    # The numbers alone do not tell what an image brings; of steps that read alike, they tell which it is.
    alike = [at for at in range(first, len(numbered)) if _reads(numbered[at], text)]
    place = min(alike, key=lambda at: abs(at - place), default=place)
    if place < len(numbered) and text.upper().startswith(numbered[place].keyword):
        return stage.index, numbered[place].index
    return None


def _in_another_build(dockerfile: Dockerfile, number: int, text: str) -> tuple[int, int] | None:
    """The step under a name that is none of ours.

    BuildKit runs once what two builds at a time have in common, and calls it as the first of them does.
    """

    def same(stage: Stage, instruction: Instruction) -> bool:
        if instruction.keyword == "FROM":
            return text.startswith("FROM ") and full_name(text[5:].split("@")[0]) == full_name(stage.base)
        return _reads(instruction, text)

    found = [
        (abs(number - place), stage.index, instruction.index)
        for stage in dockerfile.stages
        for place, instruction in enumerate(step_instructions(dockerfile, stage), start=1)
        if same(stage, instruction)
    ]
    return min(found)[1:] if found else None


def step_instructions(dockerfile: Dockerfile, stage: Stage) -> list[Instruction]:
    """The instructions of a stage that BuildKit runs, in order: a WORKDIR that leads to / is only counted."""
    counted = {instruction.index for instruction in _counted(stage)}
    followed = _followed(dockerfile, stage) if counted else ()
    return [
        instruction
        for instruction, folder, _ in followed
        if instruction.index in counted and (instruction.keyword != "WORKDIR" or folder.strip("/"))
    ]


def copied_words(
    dockerfile: Dockerfile, stage: Stage, instruction: Instruction
) -> tuple[tuple[str, ...], str]:
    """A COPY's sources and, as an absolute path, its destination, as far as the Dockerfile tells."""
    for found, folder, variables in _followed(dockerfile, stage):
        if found.index == instruction.index:
            words = found.words or split_blanks(found.arguments)
            *sources, destination = (variables.expanded(word) for word in words)
            return tuple(sources), posixpath.join(folder, destination)
    raise ValueError("the instruction is of another stage")


def _followed(dockerfile: Dockerfile, stage: Stage) -> Iterator[tuple[Instruction, str, _Variables]]:
    """A stage's instructions, each with the folder and the variables that hold then; these change later."""
    chain = [stage]
    while (base := chain[-1].base_stage) is not None:
        chain.append(dockerfile.stages[base])
    folder, variables = "/", _Variables(dockerfile)
    for link in reversed(chain):
        for instruction in link.instructions:
            variables.define(instruction)
            if instruction.keyword == "WORKDIR":
                place = variables.expanded(instruction.arguments)
                folder = posixpath.normpath(posixpath.join(folder, place))
            if link is stage:
                yield instruction, folder, variables


class _Variables:
    """What the words of a chain of stages see, as far as the Dockerfile tells: of ENV and ARG the last one.

    What a base image sets is not known here, and stays as it is written.
    """

    def __init__(self, dockerfile: Dockerfile) -> None:
        self._escape = dockerfile.escape
        self._given = dockerfile.build_args
        self._globals: dict[str, str] = {}
        self._values = platform_arguments()
        for instruction in dockerfile.global_args:
            self.define(instruction)
        # They hold in a stage only where it asks for them.
        self._globals, self._values = self._values, {}

    def define(self, instruction: Instruction) -> None:
        if instruction.keyword == "ENV":
            pairs = named_values(instruction.arguments, self._escape)
            self._values.update([(name, self.expanded(value)) for name, value in pairs])
        elif instruction.keyword == "ARG":
            for name, default in declared(instruction.arguments, self._escape):
                if name in self._given:
                    self._values[name] = self._given[name]
                elif default is not None:
                    self._values[name] = self.expanded(default)
                elif name in self._globals:
                    self._values[name] = self._globals[name]

    def expanded(self, text: str) -> str:
        try:
            return expand(text, self._values, self._escape, keep=True)
        except ValueError:
            return text


def _triggers(dockerfile: Dockerfile, stage: Stage) -> int:
    """How many steps the stage that this one begins from adds to it."""
    if stage.base_stage is None:
        return 0
    triggers = (i for i in dockerfile.stages[stage.base_stage].instructions if i.keyword == "ONBUILD")
    return sum(trigger.arguments.split()[0].upper() in STEP_KEYWORDS for trigger in triggers)


def _reads(instruction: Instruction, text: str) -> bool:
    """Whether a vertex's text may be an instruction's: alike up to what BuildKit may have replaced."""
    flags = (flag.text for flag in instruction.flags)
    written = " ".join([instruction.keyword, *flags, *instruction.arguments.split()])
    literal = _REPLACED.split(written, maxsplit=1)
    return (" ".join(text.split()) + " ").startswith(literal[0] if len(literal) > 1 else written + " ")
