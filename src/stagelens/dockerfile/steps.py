"""The steps that BuildKit makes of instructions, and the instruction behind a vertex of a build.

BuildKit numbers the steps of a stage in toDispatchState (frontend/dockerfile/dockerfile2llb): a FROM counts
if its base is an image, then each RUN, COPY, ADD and WORKDIR.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from stagelens.dockerfile.defaults import normalize_image_name
from stagelens.dockerfile.expansion import expand
from stagelens.dockerfile.model import Dockerfile, Instruction, Stage
from stagelens.dockerfile.words import arg_defaults, env_pairs, split_whitespace

# BuildKit pads the step's number to the width of the total. A platform may be followed by the one that the
# step builds for (`linux/arm64->amd64`); a stage's name holds no slash.
_NAME = re.compile(
    r"\[(?:(?P<platform>[^\s/\]]+/[^\s\]]+) )?(?:(?P<label>[^\s/\]]+) )? *"
    r"(?P<n>\d+)/(?P<total>\d+)\] ?(?P<text>.*)",
    re.DOTALL,
)
_REPLACEABLE = re.compile(r"[$'\"\\`]")
# The instructions that become steps of a build.
STEP_KEYWORDS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})


def _numbered(stage: Stage) -> tuple[Instruction, ...]:
    """Return the instructions of a stage that BuildKit numbers, in order."""
    first = () if stage.base_stage is not None or stage.base.lower() == "scratch" else stage.instructions[:1]
    return (*first, *(i for i in stage.instructions[1:] if i.keyword in STEP_KEYWORDS))


def locate_vertex(dockerfile: Dockerfile, vertex_name: str) -> tuple[int, int] | None:
    """Find the instruction behind the name of a vertex.

    Parameters
    ----------
    dockerfile
        The Dockerfile of the build.
    vertex_name
        The name of a BuildKit vertex, such as `[build 2/3] RUN make`.

    Returns
    -------
    tuple or None
        The index of the stage and of the instruction; None for BuildKit's internal steps. An ONBUILD
        instruction of the base belongs to the FROM that runs it.
    """
    match = _NAME.match(vertex_name)
    if match is None:
        return None
    stages = stages_of_vertex(dockerfile, vertex_name)
    text = match["text"]
    if text.startswith("ONBUILD "):
        return (stages[0].index, 0) if stages else None
    text = text.removeprefix("LINK ")
    numbers = int(match["n"]), int(match["total"])
    if not stages:
        return _locate_by_text(dockerfile, numbers[0], text)
    # Stages may share a name.
    candidates = [found for s in stages if (found := _locate_in_stage(dockerfile, s, *numbers, text))]
    matching = (
        (stage, instruction)
        for stage, instruction in candidates
        if _matches(dockerfile.stages[stage].instructions[instruction], text)
    )
    return next(matching, candidates[0] if candidates else None)


def stages_of_vertex(dockerfile: Dockerfile, vertex_name: str) -> list[Stage]:
    """Return the stages that a vertex may belong to by its name: several if they share a label.

    Parameters
    ----------
    dockerfile
        The Dockerfile of the build.
    vertex_name
        The name of a BuildKit vertex.
    """
    match = _NAME.match(vertex_name)
    if match is None:
        return []
    if match["label"] is None:
        return list(dockerfile.stages) if len(dockerfile.stages) == 1 else []
    return [stage for stage in dockerfile.stages if stage.label == match["label"]]


def _locate_in_stage(
    dockerfile: Dockerfile, stage: Stage, number: int, total: int, text: str
) -> tuple[int, int] | None:
    steps = _numbered(stage)
    if dockerfile.build_context(stage.base) is not None:
        steps, total = steps[1:], total - 1  # counted in the total, but a context's vertex has no number
    first = int(bool(steps) and steps[0].keyword == "FROM")
    if number <= first:
        return stage.index, 0
    # ONBUILD triggers come first and shift the count; older BuildKits leave them out of the total.
    index = number - 1 - (total - len(steps) or count_triggers(dockerfile, stage))
    if index < first:
        return stage.index, 0
    instructions = [i for i in step_instructions(dockerfile, stage) if i.index or first]
    # The triggers of an image are unknown, so the text decides; the number decides among equal texts.
    matching = [i for i in range(first, len(instructions)) if _matches(instructions[i], text)]
    index = min(matching, key=lambda i: abs(i - index), default=index)
    if index < len(instructions) and text.upper().startswith(instructions[index].keyword):
        return stage.index, instructions[index].index
    return None


def _locate_by_text(dockerfile: Dockerfile, number: int, text: str) -> tuple[int, int] | None:
    """Find the step whose vertex has a stage name that this Dockerfile does not have.

    Where two builds run at once, BuildKit runs their common steps once, under the names of the first build.
    """

    def same(stage: Stage, instruction: Instruction) -> bool:
        if instruction.keyword == "FROM":
            return text.startswith("FROM ") and normalize_image_name(
                text[5:].split("@")[0]
            ) == normalize_image_name(stage.base)
        return _matches(instruction, text)

    found = [
        (abs(number - position), stage.index, instruction.index)
        for stage in dockerfile.stages
        for position, instruction in enumerate(step_instructions(dockerfile, stage), start=1)
        if same(stage, instruction)
    ]
    return min(found)[1:] if found else None


def step_instructions(dockerfile: Dockerfile, stage: Stage) -> list[Instruction]:
    """Return the instructions of a stage that BuildKit runs, in order.

    BuildKit numbers a WORKDIR that resolves to / but makes no step of it.
    """
    numbered = {instruction.index for instruction in _numbered(stage)}
    scoped = _with_scope(dockerfile, stage) if numbered else ()
    return [
        instruction
        for instruction, workdir, _ in scoped
        if instruction.index in numbered and (instruction.keyword != "WORKDIR" or workdir.strip("/"))
    ]


def copy_paths(dockerfile: Dockerfile, stage: Stage, instruction: Instruction) -> tuple[tuple[str, ...], str]:
    """Return the sources and the absolute destination of a COPY or ADD.

    Variables that the base image sets are unknown here and stay as written.

    Raises
    ------
    ValueError
        If the instruction is not in the stage.
    """
    for found, workdir, variables in _with_scope(dockerfile, stage):
        if found.index == instruction.index:
            words = found.words or split_whitespace(found.arguments)
            *sources, destination = (variables.expand(word) for word in words)
            return tuple(sources), posixpath.join(workdir, destination)
    raise ValueError("the instruction is in another stage")


def _with_scope(dockerfile: Dockerfile, stage: Stage) -> Iterator[tuple[Instruction, str, _Variables]]:
    """Yield each instruction of a stage with its working folder and variables, which later steps update."""
    chain = [stage]
    while (base := chain[-1].base_stage) is not None:
        chain.append(dockerfile.stages[base])
    workdir, variables = "/", _Variables(dockerfile)
    for link in reversed(chain):
        variables.begin_stage()
        for instruction in link.instructions:
            variables.define(instruction)
            if instruction.keyword == "WORKDIR":
                path = variables.expand(instruction.arguments)
                workdir = posixpath.normpath(posixpath.join(workdir, path))
            if link is stage:
                yield instruction, workdir, variables


class _Variables:
    """The variables of a chain of stages, as far as the Dockerfile defines them; the last ENV or ARG wins.

    Variables that a base image sets are unknown here and stay as written.
    """

    def __init__(self, dockerfile: Dockerfile) -> None:
        self._escape = dockerfile.escape
        self._build_args = dockerfile.build_args
        self._globals: dict[str, str] = {}
        self._values = dict(dockerfile.automatic_args)
        for instruction in dockerfile.global_args:
            self.define(instruction)
        # A stage sees them only after it declares them.
        self._globals, self._values = self._values, {}
        self._environment: dict[str, str] = {}

    def begin_stage(self) -> None:
        """Set the ENVs of the stage below again: they win over its ARGs."""
        self._values |= self._environment

    def define(self, instruction: Instruction) -> None:
        if instruction.keyword == "ENV":
            pairs = env_pairs(instruction.arguments, self._escape)
            expanded = [(name, self.expand(value)) for name, value in pairs]
            self._values.update(expanded)
            self._environment.update(expanded)
        elif instruction.keyword == "ARG":
            for name, default in arg_defaults(instruction.arguments, self._escape):
                if name in self._build_args:
                    self._values[name] = self._build_args[name]
                elif default is not None:
                    self._values[name] = self.expand(default)
                elif name in self._globals:
                    self._values[name] = self._globals[name]

    def expand(self, text: str) -> str:
        try:
            return expand(text, self._values, self._escape, keep_unknown=True)
        except ValueError:
            return text


def count_triggers(dockerfile: Dockerfile, stage: Stage) -> int:
    """Count the steps that a stage's FROM makes: those of ONBUILD instructions in the stage that it names."""
    if stage.base_stage is None:
        return 0
    triggers = (i for i in dockerfile.stages[stage.base_stage].instructions if i.keyword == "ONBUILD")
    return sum(trigger.arguments.split()[0].upper() in STEP_KEYWORDS for trigger in triggers)


def _matches(instruction: Instruction, text: str) -> bool:
    """Return whether a vertex's text may be an instruction's: equal up to what BuildKit may have replaced."""
    flags = (flag.text for flag in instruction.flags)
    written = " ".join([instruction.keyword, *flags, *instruction.arguments.split()])
    literal = _REPLACEABLE.split(written, maxsplit=1)
    return (" ".join(text.split()) + " ").startswith(literal[0] if len(literal) > 1 else written + " ")
