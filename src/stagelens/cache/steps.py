"""What each step's cache key is made of besides the contents of files: a Dockerfile read as BuildKit runs it.

BuildKit (frontend/dockerfile/dockerfile2llb) makes a step of every RUN, COPY, ADD and WORKDIR. A RUN's key
holds its command, shell, user and the whole environment, the ARGs so far included; that of the others holds
their words after variables are replaced; and each holds the step it begins from.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from stagelens.cache.model import Base, Inputs, Key
from stagelens.dockerfile import Dockerfile, Flag, Instruction, Stage, expand, split_words

STEP_KEYWORDS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})
_EXPANDED = frozenset({"COPY", "ADD", "WORKDIR"})
_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
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

    `written` is the instruction as it is in the file, `text` the same with variables replaced (not for RUN,
    whose shell does that). `parent` is the step it begins from, or None with `base`, an image's name (None
    for scratch). `settings` are the SHELL and USER it runs with, with the lines that set them.
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


@dataclass(frozen=True, slots=True)
class _End:
    """The state at the end of a stage, or at a point in it."""

    parent: Key | None
    base: str | None
    environment: Mapping[str, Variable]
    arguments: Mapping[str, Variable]
    settings: Mapping[str, Variable]
    folder: str = "/"

    @property
    def variables(self) -> dict[str, Variable]:
        """ENV wins over ARG."""
        return {**self.arguments, **self.environment}


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
        self._globals: dict[str, Variable] = {}
        for instruction in inputs.dockerfile.global_args:
            self._declare(instruction, self._globals, {})
        self._ends: dict[int, _End] = {}
        self.steps: list[Step] = []

    def read(self, stage: Stage) -> None:
        state = self._begin(stage)
        for instruction in stage.instructions[1:]:
            if instruction.keyword in STEP_KEYWORDS:
                state = self._step(stage, instruction, state)
            else:
                state = self._setting(instruction, state)
        self._ends[stage.index] = state

    def _begin(self, stage: Stage) -> _End:
        if stage.base_stage is not None:
            return self._ends[stage.base_stage]
        if stage.base.lower() == "scratch":
            return _End(None, None, {}, {}, {})
        base = self._inputs.bases.get(stage.base) or Base(stage.base, "")
        environment = {name: Variable(value) for name, value in base.environment.items()}
        settings = {"USER": Variable(base.user), "SHELL": Variable(base.shell)}
        return _End(None, stage.base, environment, {}, settings, base.folder)

    def _step(self, stage: Stage, instruction: Instruction, state: _End) -> _End:
        step = Step(
            key=(stage.index, instruction.index),
            line=instruction.start_line,
            keyword=instruction.keyword,
            written=_written(instruction),
            text=self._text(instruction, state),
            parent=state.parent,
            base=state.base,
            variables=self._seen(instruction, state),
            settings=state.settings if instruction.keyword == "RUN" else {},
            sources=tuple(self._sources(stage, instruction, state)),
        )
        self.steps.append(step)
        folder = state.folder
        if instruction.keyword == "WORKDIR":
            folder = posixpath.join(folder, self._expanded(instruction.arguments, state))
        return replace(state, parent=step.key, folder=folder)

    def _setting(self, instruction: Instruction, state: _End) -> _End:
        match instruction.keyword:
            case "ENV":
                environment = dict(state.environment)
                for name, value in _pairs(instruction.arguments, self._escape):
                    environment[name] = Variable(self._expanded(value, state), instruction.start_line)
                return replace(state, environment=environment)
            case "ARG":
                arguments = dict(state.arguments)
                self._declare(instruction, arguments, state.variables)
                return replace(state, arguments=arguments)
            case "USER" | "SHELL":
                value = self._expanded(instruction.arguments, state)
                changed = {instruction.keyword: Variable(value, instruction.start_line)}
                return replace(state, settings={**state.settings, **changed})
            case _:
                return state

    def _declare(
        self, instruction: Instruction, found: dict[str, Variable], known: Mapping[str, Variable]
    ) -> None:
        given = self._inputs.build_args
        for word in split_words(instruction.arguments, self._escape):
            name, has_default, default = word.partition("=")
            if name in given:
                found[name] = Variable(given[name], instruction.start_line, build_arg=True)
            elif has_default:
                value = _expand(default, {**known, **found}, self._escape)
                found[name] = Variable(value, instruction.start_line)
            elif name in self._globals:
                found[name] = self._globals[name]

    def _expanded(self, text: str, state: _End) -> str:
        return _expand(text, state.variables, self._escape)

    def _text(self, instruction: Instruction, state: _End) -> str:
        if instruction.keyword not in _EXPANDED:
            return _written(instruction)
        flags = [f"--{f.name}={self._expanded(f.value or '', state)}" for f in instruction.flags]
        if instruction.keyword == "WORKDIR":
            return posixpath.join(state.folder, self._expanded(instruction.arguments, state))
        *sources, target = self._words(instruction, state)
        named = [source if _REMOTE.match(source) else _clean(source) for source in sources]
        if not target.startswith("/"):
            target = posixpath.join(state.folder, target)
        bodies = [heredoc.content for heredoc in instruction.heredocs]
        return "\n".join([" ".join([instruction.keyword, *sorted(flags), *named, target]), *bodies])

    def _words(self, instruction: Instruction, state: _End) -> list[str]:
        words = instruction.words or split_words(instruction.arguments, self._escape)
        return [self._expanded(word, state) for word in words]

    def _seen(self, instruction: Instruction, state: _End) -> Mapping[str, Variable]:
        if instruction.keyword == "RUN":
            return state.variables
        mentioned = set(_MENTIONED.findall(instruction.source))
        return {name: value for name, value in state.variables.items() if name in mentioned}

    def _sources(self, stage: Stage, instruction: Instruction, state: _End) -> Iterator[Source]:
        edges = [
            edge
            for edge in self._inputs.dockerfile.edges
            if edge.target == stage.index and edge.instruction == instruction.index and edge.kind != "from"
        ]
        for edge in edges:
            if isinstance(edge.source, int):
                end = self._ends[edge.source]
                yield Source(stage=edge.source, step=end.parent, image=end.base if not end.parent else None)
            else:
                yield Source(image=edge.source)
        if instruction.keyword == "RUN":
            patterns = tuple(_clean(path) for flag in instruction.flags if (path := _mounted(flag)))
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
            yield Source(patterns=tuple(_clean(name) for name in local), exclude=exclude)


def _written(instruction: Instruction) -> str:
    """The instruction's own words, whatever the layout of its lines."""
    flags = [
        f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}") for flag in instruction.flags
    ]
    first = " ".join([instruction.keyword, *flags, instruction.arguments])
    return "\n".join([first, *(heredoc.content for heredoc in instruction.heredocs)])


def _mounted(flag: Flag) -> str | None:
    """The path of the context that a RUN --mount takes: a bind mount that names no stage."""
    if flag.name != "mount":
        return None
    pairs = [part.partition("=") for part in (flag.value or "").split(",")]
    options = {name.strip().lower(): value for name, _, value in pairs}
    if options.get("type", "bind") != "bind" or "from" in options:
        return None
    return options.get("source") or options.get("src") or "."


def _clean(path: str) -> str:
    """A path of the context from its root, without a slash at either end; "." is the root itself."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def _expand(text: str, variables: Mapping[str, Variable], escape: str) -> str:
    try:
        return expand(text, {name: variable.value for name, variable in variables.items()}, escape)
    except ValueError:
        return text


def _pairs(arguments: str, escape: str) -> list[tuple[str, str]]:
    """The names and values of an ENV, in either of its two forms."""
    words = split_words(arguments, escape)
    if words and "=" not in words[0]:
        name, _, value = arguments.partition(" ")
        return [(name, value.strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]
