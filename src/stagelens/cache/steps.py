"""What each step's cache key is made of besides the contents of files: a Dockerfile read as BuildKit runs it.

A RUN's key holds its op and the whole environment, the ARGs so far included; that of the others holds their
op, whose words have their variables replaced (see ops.py); and each holds the steps that it begins from.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from stagelens.cache import ops
from stagelens.cache.model import Base, Inputs, Key
from stagelens.dockerfile import (
    STEP_KEYWORDS,
    Dockerfile,
    Instruction,
    Stage,
    StageEdge,
    arg_defaults,
    env_pairs,
    platform_arguments,
)

_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_DEFAULT_SHELL = json.dumps(["/bin/sh", "-c"])


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that steps see: from an ARG or ENV in `line`, or from the base image (`line` is None).

    `build_arg` says that the value was given for this build rather than in the Dockerfile.
    """

    value: str
    line: int | None = None
    build_arg: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a step's files come from besides the step it begins from.

    Either `patterns` with those that `exclude` leaves out, of `stage`, by its index, which ends in `steps`;
    of `image`, by name; or of the context where both are None. Or `remote`, an address. `parents` says that
    the patterns are those of a COPY --parents.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    parents: bool = False
    stage: int | None = None
    steps: tuple[Key, ...] = ()
    image: str | None = None
    remote: str | None = None

    @property
    def of_context(self) -> bool:
        """Whether its files are the build context's."""
        return self.stage is None and self.image is None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that BuildKit runs or takes from its cache; `key` is its stage's and instruction's index.

    `written` is the instruction as it is in the file, `op` what the cache knows of it. It begins from `base`,
    an image's name or "scratch", or from a step; that and each `linked` COPY since then are its `parents`.
    That itself begins from scratch. `settings` are the SHELL, USER and WORKDIR that its op may hold,
    with the lines that set them. `by_content`: an engine may look only at what is in the files of what it
    begins from. `triggers` are the ONBUILD instructions that ran before it, at its stage's begin.
    """

    key: Key
    line: int
    keyword: str
    written: str
    op: str
    parents: tuple[Key, ...]
    base: str | None
    variables: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    sources: tuple[Source, ...] = ()
    linked: bool = False
    by_content: bool = False
    triggers: tuple[str, ...] = ()

    @property
    def taken_from(self) -> tuple[Key, ...]:
        """The steps of other stages that it takes files from."""
        return tuple(key for source in self.sources for key in source.steps)


_SETTINGS = {"USER": Variable(""), "SHELL": Variable(_DEFAULT_SHELL), "WORKDIR": Variable("/")}


@dataclass(slots=True)
class _State:
    """What holds at a point of a stage; it changes with each instruction that is read.

    Of an ENV and an ARG of one name the last one counts. `values` are those of `variables`, for words. A RUN
    keeps all variables: `kept` are those as they were last kept, until another one is set.
    """

    base: str | None = "scratch"
    parents: tuple[Key, ...] = ()
    triggers: tuple[str, ...] = ()
    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=lambda: _SETTINGS)
    values: dict[str, str] = field(default_factory=dict[str, str])
    kept: Mapping[str, Variable] | None = None

    def copy(self) -> _State:
        """The same for a stage that begins from here."""
        return replace(self, variables=dict(self.variables), values=dict(self.values))

    def set(self, name: str, variable: Variable) -> None:
        """What an ENV sets, or an ARG."""
        self.variables.pop(name, None)  # their order counts, by when each was last set
        self.variables[name] = variable
        self.values[name] = variable.value
        self.kept = None

    def put(self, setting: str, value: str, line: int) -> None:
        """What a USER, SHELL or WORKDIR sets."""
        self.settings = {**self.settings, setting: Variable(value, line)}

    def place(self, escape: str, network: str | None) -> ops.Place:
        """The same for one instruction's op."""
        user, shell, folder = (self.settings[name].value for name in ("USER", "SHELL", "WORKDIR"))
        words = cast("list[str]", json.loads(shell))
        return ops.Place(self.values, escape, folder, user, words, network or "default")

    def all_variables(self) -> Mapping[str, Variable]:
        """All of them, as they are now."""
        if self.kept is None:
            self.kept = dict(self.variables)
        return self.kept


def read_steps(inputs: Inputs) -> tuple[Step, ...]:
    """The steps of the stages that the target needs, in the order of the Dockerfile."""
    reader = _Reader(inputs)
    for index in inputs.dockerfile.needed_stages(inputs.target):
        reader.read(inputs.dockerfile.stages[index])
    return tuple(reader.steps)


def context_sources(dockerfile: Dockerfile, build_args: Mapping[str, str], target: str | None) -> set[str]:
    """Every path or pattern of the context that the needed stages name."""
    inputs = Inputs(dockerfile, {}, {}, build_args, target)
    found = (source for step in read_steps(inputs) for source in step.sources if source.of_context)
    return {
        ops.reach(pattern) if source.parents else pattern for source in found for pattern in source.patterns
    }


def base_names(dockerfile: Dockerfile, target: str | None) -> tuple[str, ...]:
    """The images that the needed stages begin from or take files from, as the Dockerfile names them."""
    needed = dockerfile.needed_stages(target)
    names = [edge.source for edge in dockerfile.edges if edge.target in needed]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


class _Reader:
    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._escape = inputs.dockerfile.escape
        before = _State()
        for name, value in platform_arguments(inputs.platform).items():
            before.set(name, Variable(value))
        for instruction in inputs.dockerfile.global_args:
            self._declare(instruction, before, {})
        self._globals = before.variables
        self._edges: defaultdict[Key, list[StageEdge]] = defaultdict(list)
        for edge in inputs.dockerfile.edges:
            if edge.kind != "from":
                self._edges[edge.target, edge.instruction].append(edge)
        self._ends: dict[int, _State] = {}
        self.steps: list[Step] = []

    def read(self, stage: Stage) -> None:
        state = self._begin(stage)
        for instruction in stage.instructions[1:]:
            if instruction.keyword == "WORKDIR":
                place = self._place(state)
                written = place.expanded(instruction.arguments)
                folder = ops.rooted(place.folder, written)
                # BuildKit makes no step of one that leads to the root, which is always there.
                if folder != "/":
                    self._step(stage, instruction, state)
                # A RUN is in the folder as it is written, if from the root.
                seen = written if written.startswith("/") else folder
                state.put("WORKDIR", seen, instruction.start_line)
            elif instruction.keyword in STEP_KEYWORDS:
                self._step(stage, instruction, state)
            else:
                self._setting(instruction, state)
        self._ends[stage.index] = state

    def _begin(self, stage: Stage) -> _State:
        if stage.base_stage is not None:
            state = self._ends[stage.base_stage].copy()
            base = self._inputs.dockerfile.stages[stage.base_stage]
            state.triggers = tuple(i.arguments for i in base.instructions if i.keyword == "ONBUILD")
            return state
        if stage.base.lower() == "scratch":
            return _State()
        base = self._inputs.bases.get(stage.base) or Base(stage.base, "")
        settings = {
            "USER": Variable(base.user),
            "SHELL": Variable(base.shell if base.shell not in ("", "[]") else _DEFAULT_SHELL),
            "WORKDIR": Variable(base.folder),
        }
        state = _State(base=stage.base, settings=settings, triggers=base.triggers)
        for name, value in base.environment.items():
            state.set(name, Variable(value))
        return state

    def _step(self, stage: Stage, instruction: Instruction, state: _State) -> None:
        # Nothing is laid upon nothing: that is a COPY like another.
        linked = (
            self._inputs.merges and _is_linked(instruction) and bool(state.parents or state.base != "scratch")
        )
        place = self._place(state)
        step = Step(
            key=(stage.index, instruction.index),
            line=instruction.start_line,
            keyword=instruction.keyword,
            written=_written(instruction),
            op=ops.op(instruction, place),
            parents=() if linked else state.parents,
            base="scratch" if linked else state.base,
            linked=linked,
            variables=self._seen(instruction, state),
            settings=_settings(instruction, place, state),
            sources=tuple(self._sources(stage, instruction, place)),
            by_content=ops.by_content(instruction),
            triggers=state.triggers,
        )
        self.steps.append(step)
        state.triggers = ()
        if linked:
            state.parents = (*state.parents, step.key)
        else:
            state.parents, state.base = (step.key,), None

    def _place(self, state: _State) -> ops.Place:
        return state.place(self._escape, self._inputs.network)

    def _setting(self, instruction: Instruction, state: _State) -> None:
        line = instruction.start_line
        match instruction.keyword:
            case "ENV":
                pairs = env_pairs(instruction.arguments, self._escape)
                # Each sees what was before this ENV.
                for name, value in [(name, self._expanded(value, state)) for name, value in pairs]:
                    state.set(name, Variable(value, line))
            case "ARG":
                self._declare(instruction, state, self._globals)
            case "USER":
                state.put("USER", self._expanded(instruction.arguments, state), line)
            case "SHELL":
                state.put("SHELL", json.dumps(instruction.words), line)
            case _:
                pass

    def _declare(
        self, instruction: Instruction, state: _State, before_stages: Mapping[str, Variable]
    ) -> None:
        given, line = self._inputs.build_args, instruction.start_line
        for name, default in arg_defaults(instruction.arguments, self._escape):
            if name in given:
                state.set(name, Variable(given[name], line, build_arg=True))
            elif default is not None:
                state.set(name, Variable(self._expanded(default, state), line))
            elif name in before_stages:
                state.set(name, before_stages[name])

    def _expanded(self, text: str, state: _State) -> str:
        return self._place(state).expanded(text)

    def _seen(self, instruction: Instruction, state: _State) -> Mapping[str, Variable]:
        if instruction.keyword == "RUN":
            return state.all_variables()
        mentioned = dict.fromkeys(_MENTIONED.findall(instruction.source))
        return {name: state.variables[name] for name in mentioned if name in state.variables}

    def _sources(self, stage: Stage, instruction: Instruction, place: ops.Place) -> Iterator[Source]:
        edges = iter(self._edges.get((stage.index, instruction.index), ()))
        if instruction.keyword == "RUN":
            for mount in ops.mounts(instruction):
                source = Source(patterns=(ops.clean(mount.get("source", "")),))
                if mount.get("from"):
                    yield self._taken_from(next(edges), source)
                elif mount.get("type", "bind") == "bind":
                    yield source
        elif instruction.keyword != "WORKDIR":
            taken = ops.sources(instruction, place)
            yield from (Source(remote=name) for name in taken if ops.is_remote(name))
            parents = ops.is_set(instruction, "parents")
            local = [name if parents else ops.clean(name) for name in taken if not ops.is_remote(name)]
            exclude = tuple(
                place.expanded(f.value) for f in instruction.flags if f.name == "exclude" and f.value
            )
            source = Source(tuple(local), exclude, parents)
            edge = next(edges, None)
            if edge is not None:
                yield self._taken_from(edge, source)
            elif local:
                yield source

    def _taken_from(self, edge: StageEdge, source: Source) -> Source:
        if isinstance(edge.source, str):
            return replace(source, image=edge.source)
        end = self._ends[edge.source]
        image = None if end.base == "scratch" else end.base
        return replace(source, stage=edge.source, steps=end.parents, image=image)


def _is_linked(instruction: Instruction) -> bool:
    """Whether a COPY is to stand beside what is below it; BuildKit does not heed that with --chmod."""
    return ops.is_set(instruction, "link") and not instruction.flag("chmod")


def _written(instruction: Instruction) -> str:
    """The instruction's own words, whatever the layout of its lines."""
    flags = [flag.text for flag in instruction.flags]
    listed = None if instruction.words is None else json.dumps(instruction.words, ensure_ascii=False)
    first = " ".join([instruction.keyword, *flags, listed or instruction.arguments])
    return "\n".join([first, *(heredoc.content for heredoc in instruction.heredocs)])


def _settings(instruction: Instruction, place: ops.Place, state: _State) -> Mapping[str, Variable]:
    """Those that an op may hold: the folder that a WORKDIR makes belongs to the USER."""
    if instruction.keyword == "RUN":
        shell = instruction.words is None or instruction.heredocs
        names = ("USER", "WORKDIR", "SHELL") if shell else ("USER", "WORKDIR")
    else:
        relative = not ops.target(instruction, place).startswith("/")
        names = ("USER",) if instruction.keyword == "WORKDIR" else ()
        names = (*names, "WORKDIR") if relative else names
    return {name: state.settings[name] for name in names}
