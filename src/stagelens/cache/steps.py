"""What each step's cache key is made of besides the contents of files: a Dockerfile read as BuildKit runs it.

BuildKit (frontend/dockerfile/dockerfile2llb) makes a step of every RUN, COPY, ADD and WORKDIR. A RUN's key
holds its command, shell, user and the whole environment, the ARGs so far included; that of the others holds
their words after variables are replaced; and each holds the step it begins from.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from stagelens.cache.flags import clean, known_flags, mounted_paths
from stagelens.cache.model import Base, Inputs, Key
from stagelens.dockerfile import (
    STEP_KEYWORDS,
    Dockerfile,
    Edge,
    Heredoc,
    Instruction,
    Stage,
    declared,
    expand,
    named_values,
    platform_arguments,
    split_blanks,
)

_EXPANDED = frozenset({"COPY", "ADD", "WORKDIR"})
_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_DEFAULT_SHELL = json.dumps(["/bin/sh", "-c"])
_REMOTE = re.compile(r"^(https?://|git@|ssh://|git://)")


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

    One of: `patterns` of the context with those that `exclude` leaves out; `stage`, by its index, whose last
    step is `step` (None where it has none); `image`, by name; or `remote`, an address.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    stage: int | None = None
    step: Key | None = None
    image: str | None = None
    remote: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step that BuildKit runs or takes from its cache; `key` is its stage's and instruction's index.

    `written` is the instruction as it is in the file, `text` what the cache knows of it: with variables
    replaced (not for RUN, whose shell does that), and without the names of stages and images that it takes
    files from. `parent` is the step it begins from, or None with `base`, an image's name (None for scratch).
    `settings` are the SHELL and USER that count for it, with the lines that set them. `triggers` are the
    ONBUILD instructions that ran before it, at its stage's begin.
    """

    key: Key
    line: int
    keyword: str
    written: str
    text: str
    parent: Key | None
    base: str | None
    variables: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    sources: tuple[Source, ...] = ()
    triggers: tuple[str, ...] = ()


@dataclass(slots=True)
class _State:
    """What holds at a point of a stage; it changes with each instruction that is read.

    Of an ENV and an ARG of one name the last one counts. `values` are those of `variables`, for words. A RUN
    keeps all variables: `kept` are those as they were last kept, until another one is set.
    """

    parent: Key | None = None
    base: str | None = None
    folder: str = "/"
    triggers: tuple[str, ...] = ()
    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
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

    def all_variables(self) -> Mapping[str, Variable]:
        """All of them, as they are now."""
        if self.kept is None:
            self.kept = dict(self.variables)
        return self.kept


def read_steps(inputs: Inputs) -> tuple[Step, ...]:
    """The steps of the stages that the target needs, in the order of the Dockerfile."""
    reader = _Reader(inputs)
    for index in inputs.dockerfile.needed(inputs.target):
        reader.read(inputs.dockerfile.stages[index])
    return tuple(reader.steps)


def context_sources(dockerfile: Dockerfile, build_args: Mapping[str, str], target: str | None) -> set[str]:
    """Every path or pattern of the context that the needed stages name."""
    inputs = Inputs(dockerfile, {}, {}, build_args, target)
    return {pattern for step in read_steps(inputs) for source in step.sources for pattern in source.patterns}


def base_names(dockerfile: Dockerfile, target: str | None) -> tuple[str, ...]:
    """The images that the needed stages begin from or take files from, as the Dockerfile names them."""
    needed = dockerfile.needed(target)
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
        self._edges: defaultdict[Key, list[Edge]] = defaultdict(list)
        for edge in inputs.dockerfile.edges:
            if edge.kind != "from":
                self._edges[edge.target, edge.instruction].append(edge)
        self._ends: dict[int, _State] = {}
        self.steps: list[Step] = []

    def read(self, stage: Stage) -> None:
        state = self._begin(stage)
        for instruction in stage.instructions[1:]:
            if instruction.keyword == "WORKDIR":
                folder = posixpath.join(state.folder, self._expanded(instruction.arguments, state))
                # BuildKit makes no step of one that leads to the root, which is always there.
                if posixpath.normpath(folder).strip("/"):
                    self._step(stage, instruction, state)
                state.folder = folder
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
            return _State(settings={"SHELL": Variable(_DEFAULT_SHELL)})
        base = self._inputs.bases.get(stage.base) or Base(stage.base, "")
        settings = {
            "USER": Variable(base.user),
            "SHELL": Variable(base.shell if base.shell not in ("", "[]") else _DEFAULT_SHELL),
        }
        state = _State(base=stage.base, folder=base.folder, settings=settings, triggers=base.triggers)
        for name, value in base.environment.items():
            state.set(name, Variable(value))
        return state

    def _step(self, stage: Stage, instruction: Instruction, state: _State) -> None:
        step = Step(
            key=(stage.index, instruction.index),
            line=instruction.start_line,
            keyword=instruction.keyword,
            written=_written(instruction),
            text=self._text(instruction, state),
            parent=state.parent,
            base=state.base,
            variables=self._seen(instruction, state),
            settings=_settings(instruction, state),
            sources=tuple(self._sources(stage, instruction, state)),
            triggers=state.triggers,
        )
        self.steps.append(step)
        state.triggers = ()
        state.parent = step.key

    def _setting(self, instruction: Instruction, state: _State) -> None:
        line = instruction.start_line
        match instruction.keyword:
            case "ENV":
                pairs = named_values(instruction.arguments, self._escape)
                # Each sees what was before this ENV.
                for name, value in [(name, self._expanded(value, state)) for name, value in pairs]:
                    state.set(name, Variable(value, line))
            case "ARG":
                self._declare(instruction, state, self._globals)
            case "USER":
                value = self._expanded(instruction.arguments, state)
                state.settings = {**state.settings, "USER": Variable(value, line)}
            case "SHELL":
                value = json.dumps(instruction.words)
                state.settings = {**state.settings, "SHELL": Variable(value, line)}
            case _:
                pass

    def _declare(
        self, instruction: Instruction, state: _State, before_stages: Mapping[str, Variable]
    ) -> None:
        given, line = self._inputs.build_args, instruction.start_line
        for name, default in declared(instruction.arguments, self._escape):
            if name in given:
                state.set(name, Variable(given[name], line, build_arg=True))
            elif default is not None:
                state.set(name, Variable(self._expanded(default, state), line))
            elif name in before_stages:
                state.set(name, before_stages[name])

    def _expanded(self, text: str, state: _State) -> str:
        try:
            return expand(text, state.values, self._escape)
        except ValueError:
            return text

    def _text(self, instruction: Instruction, state: _State) -> str:
        if instruction.keyword not in _EXPANDED:
            bodies = tuple(replace(heredoc, content=heredoc.body) for heredoc in instruction.heredocs)
            return _written(replace(instruction, flags=known_flags(instruction), heredocs=bodies))
        flags = [f"--{f.name}={self._expanded(f.value or '', state)}" for f in known_flags(instruction)]
        if instruction.keyword == "WORKDIR":
            return posixpath.join(state.folder, self._expanded(instruction.arguments, state))
        *sources, target = self._words(instruction, state)
        taken = [source if _REMOTE.match(source) else clean(source) for source in sources]
        place = _destination(state.folder, target)
        bodies = [self._body(heredoc, state) for heredoc in instruction.heredocs]
        return "\n".join([" ".join([instruction.keyword, *sorted(flags), *taken, place]), *bodies])

    def _body(self, heredoc: Heredoc, state: _State) -> str:
        """A COPY's here-document as the file that it becomes."""
        try:
            return expand(heredoc.body, state.values, quotes="") if heredoc.expand else heredoc.body
        except ValueError:
            return heredoc.body

    def _words(self, instruction: Instruction, state: _State) -> list[str]:
        words = instruction.words or split_blanks(instruction.arguments)
        return [self._expanded(word, state) for word in words]

    def _seen(self, instruction: Instruction, state: _State) -> Mapping[str, Variable]:
        if instruction.keyword == "RUN":
            return state.all_variables()
        mentioned = dict.fromkeys(_MENTIONED.findall(instruction.source))
        return {name: state.variables[name] for name in mentioned if name in state.variables}

    def _sources(self, stage: Stage, instruction: Instruction, state: _State) -> Iterator[Source]:
        edges = self._edges.get((stage.index, instruction.index), [])
        for edge in edges:
            if isinstance(edge.source, int):
                end = self._ends[edge.source]
                yield Source(stage=edge.source, step=end.parent, image=end.base if not end.parent else None)
            else:
                yield Source(image=edge.source)
        if instruction.keyword == "RUN":
            patterns = tuple(map(clean, mounted_paths(instruction)))
            if patterns:
                yield Source(patterns=patterns)
        if edges or instruction.keyword not in ("COPY", "ADD"):
            return
        names = self._words(instruction, state)[:-1]
        bodies = {f"<<{mark}{heredoc.name}" for heredoc in instruction.heredocs for mark in ("", "-")}
        local = [name for name in names if not _REMOTE.match(name) and name not in bodies]
        yield from (Source(remote=name) for name in names if _REMOTE.match(name))
        if local:
            exclude = tuple(f.value for f in instruction.flags if f.name == "exclude" and f.value)
            yield Source(patterns=tuple(map(clean, local)), exclude=exclude)


def _written(instruction: Instruction) -> str:
    """The instruction's own words, whatever the layout of its lines."""
    flags = [flag.text for flag in instruction.flags]
    listed = None if instruction.words is None else json.dumps(instruction.words, ensure_ascii=False)
    first = " ".join([instruction.keyword, *flags, listed or instruction.arguments])
    return "\n".join([first, *(heredoc.content for heredoc in instruction.heredocs)])


def _destination(folder: str, target: str) -> str:
    """Where a COPY puts things, from the root; a slash at its end says that it is a folder."""
    place = posixpath.normpath("/" + posixpath.join(folder, target).lstrip("/"))
    is_folder = target.endswith("/") or target in (".", "")
    return f"{place}/" if is_folder and place != "/" else place


def _settings(instruction: Instruction, state: _State) -> Mapping[str, Variable]:
    """Those that count for a step: the folder that a WORKDIR makes belongs to the USER."""
    shell = instruction.keyword == "RUN" and (instruction.words is None or instruction.heredocs)
    names = {"RUN": ("USER", "SHELL") if shell else ("USER",), "WORKDIR": ("USER",)}
    wanted = names.get(instruction.keyword, ())
    return {name: value for name, value in state.settings.items() if name in wanted}
