"""Read a Dockerfile as the steps that BuildKit runs, with all inputs of their cache keys but file contents.

The key of a RUN holds its op and the whole environment, including the ARGs so far. The other keys hold just
their op, whose words are already expanded (see ops.py). Each key holds the keys of the steps it builds on.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from stagelens.cache.model import BuildInputs, InputImage, StepId
from stagelens.cache.ops import InstructionScope, Op, absolute_path, context_path, normalize_path, read_op
from stagelens.dockerfile import (
    STEP_KEYWORDS,
    Dockerfile,
    Instruction,
    Stage,
    StageEdge,
    arg_defaults,
    env_pairs,
    normalize_platform,
)

_MENTIONED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
# What BuildKit sets where an image sets no PATH.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEFAULT_SHELL = json.dumps(["/bin/sh", "-c"])


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that steps see.

    Attributes
    ----------
    value
        The value.
    line
        The line of the instruction that sets it; None for a value of the base image.
    build_arg
        Whether the value is a build argument rather than a value in the Dockerfile.
    """

    value: str
    line: int | None = None
    build_arg: bool = False


@dataclass(frozen=True, slots=True)
class StepSource:
    """An origin of files that a step uses, other than the step it builds on.

    The files are from a stage, from an image, from a URL, or else from the build context.

    Attributes
    ----------
    patterns
        The paths and patterns of the files.
    exclude
        The patterns of files that are left out.
    parents
        Whether the patterns belong to a `COPY --parents`.
    stage
        The index of the stage.
    steps
        The last steps of that stage.
    image
        The name of the image.
    url
        The URL or repository that an ADD or a build context downloads.
    pin
        What makes the download's content certain, such as a checksum; None if only the server knows it.
    context
        The name of the build context that has the files; "" for the main one.
    """

    patterns: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    parents: bool = False
    stage: int | None = None
    steps: tuple[StepId, ...] = ()
    image: str | None = None
    url: str | None = None
    pin: str | None = None
    context: str = ""

    @property
    def from_context(self) -> bool:
        """Whether the files are from a build context on this machine."""
        return self.stage is None and self.image is None and self.url is None


@dataclass(frozen=True, slots=True)
class CacheStep:
    """A step that BuildKit runs or takes from its cache.

    Attributes
    ----------
    key
        The indexes of the stage and the instruction.
    line
        The first line of the instruction.
    keyword
        The instruction's name in upper case.
    written
        The text of the instruction, whatever its layout.
    op
        The instruction as the cache sees it.
    parents
        The steps it builds on: one step, and each linked COPY after that.
    base
        The image it builds on, or "scratch"; None if it builds on a step.
    variables
        The variables that it sees: all for a RUN, else those that it mentions.
    settings
        The SHELL, USER and WORKDIR that the op may hold.
    sources
        The origins of files that it uses.
    linked
        Whether the engine creates it as a separate layer, on nothing.
    triggers
        The ONBUILD instructions that ran before it at the start of its stage, with the variables of each.
    platform
        The platform of its stage; None if it is unknown.
    """

    key: StepId
    line: int
    keyword: str
    written: str
    op: Op
    parents: tuple[StepId, ...]
    base: str | None
    variables: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=dict[str, Variable])
    sources: tuple[StepSource, ...] = ()
    linked: bool = False
    triggers: tuple[str, ...] = ()
    platform: str | None = None

    @property
    def source_steps(self) -> tuple[StepId, ...]:
        """The steps of other stages that it copies files from."""
        return tuple(key for source in self.sources for key in source.steps)

    def title(self, limit: int = 100) -> str:
        """Return the instruction in one line of at most `limit` characters."""
        text = " ".join(self.written.split())
        return text if len(text) <= limit else text[: limit - 1] + "…"


_SETTINGS = {"USER": Variable(""), "SHELL": Variable(_DEFAULT_SHELL), "WORKDIR": Variable("/")}


@dataclass(slots=True)
class _State:
    """The state at a position in a stage; each instruction updates it.

    The last ENV or ARG of a name wins. `values` has the values of `variables`. Every RUN stores all
    variables: `shared` is one copy for all of them until the next change. `environment` is that of the image,
    without ARGs, in the order of each variable's first assignment.
    """

    base: str | None = "scratch"
    base_source: StepSource | None = None
    platform: str | None = None
    parents: tuple[StepId, ...] = ()
    triggers: tuple[str, ...] = ()
    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])
    settings: Mapping[str, Variable] = field(default_factory=lambda: _SETTINGS)
    values: dict[str, str] = field(default_factory=dict[str, str])
    shared: Mapping[str, Variable] | None = None
    environment: dict[str, Variable] = field(default_factory=dict[str, Variable])

    def copy(self) -> _State:
        """Return a copy for a stage that builds on this one."""
        return replace(
            self,
            variables=dict(self.variables),
            values=dict(self.values),
            environment=dict(self.environment),
        )

    def begin_stage(self) -> None:
        """Set the variables of the image, as BuildKit does where a stage begins.

        In a stage upon another one they win over the ARGs there, and come after them.
        """
        self.environment.setdefault("PATH", Variable(DEFAULT_PATH))
        for name, variable in self.environment.items():
            self.set_variable(name, variable)

    def set_variable(self, name: str, variable: Variable) -> None:
        """Set a variable, as ENV and ARG do."""
        self.variables.pop(name, None)  # the order counts, by when each variable was last set
        self.variables[name] = variable
        self.values[name] = variable.value
        self.shared = None

    def set_setting(self, name: str, value: str, line: int) -> None:
        """Set a USER, SHELL or WORKDIR."""
        self.settings = {**self.settings, name: Variable(value, line)}

    def scope(self, escape: str, network: str | None, cache_ids: bool) -> InstructionScope:
        """Return the scope of the next instruction."""
        user, shell, workdir = (self.settings[name].value for name in ("USER", "SHELL", "WORKDIR"))
        words = cast("list[str]", json.loads(shell))
        return InstructionScope(self.values, escape, workdir, user, words, network or "default", cache_ids)

    def all_variables(self) -> Mapping[str, Variable]:
        """Return all variables as they are now."""
        if self.shared is None:
            self.shared = dict(self.variables)
        return self.shared


def read_steps(inputs: BuildInputs) -> tuple[CacheStep, ...]:
    """Return the steps of the stages that the target needs, in the order of the Dockerfile."""
    reader = _StepReader(inputs)
    for index in inputs.dockerfile.needed_stages(inputs.target):
        reader.read(inputs.dockerfile.stages[index])
    return tuple(reader.steps)


def context_sources(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    target: str | None,
    build_contexts: Mapping[str, str] | None = None,
) -> dict[str, set[str]]:
    """Return every path or pattern of each build context that the stages of a target name.

    Parameters
    ----------
    dockerfile
        The Dockerfile.
    build_args
        The build arguments.
    target
        The stage to build; None for the last one.
    build_contexts
        The addresses of the build contexts beside the main one, by name.

    Returns
    -------
    dict
        The paths and patterns by the name of the context; the main one's is "".
    """
    inputs = BuildInputs(dockerfile, {}, {}, build_args, target, build_contexts=build_contexts or {})
    found: defaultdict[str, set[str]] = defaultdict(set)
    for source in (source for step in read_steps(inputs) for source in step.sources):
        if source.from_context:
            patterns = map(context_path, source.patterns) if source.parents else source.patterns
            found[source.context].update(patterns)
    return dict(found)


def image_names(
    dockerfile: Dockerfile, target: str | None, build_contexts: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the names of the images that the stages of a target start from or copy from.

    Parameters
    ----------
    dockerfile
        The Dockerfile.
    target
        The stage to build; None for the last one.
    build_contexts
        The addresses of the build contexts beside the main one: an image among them goes by its address.
    """
    needed = dockerfile.needed_stages(target)
    names = [edge.source for edge in dockerfile.edges if edge.target in needed]
    addresses = [_address(dockerfile, name, build_contexts or {}) for name in names if isinstance(name, str)]
    return tuple(dict.fromkeys(name for name in addresses if _is_image(name)))


LOCAL = "local:"  # begins the address of a folder (see BuildContext)


def _address(dockerfile: Dockerfile, source: str, build_contexts: Mapping[str, str]) -> str:
    """Return the address of the build context that a name stands for, or the name of an image."""
    return build_contexts.get(dockerfile.build_context(source) or "", source)


def _is_image(address: str) -> bool:
    scheme, separator, _ = address.partition("://")
    return not address.startswith((LOCAL, "git@")) and (not separator or scheme == "docker-image")


class _StepReader:
    def __init__(self, inputs: BuildInputs) -> None:
        self._inputs = inputs
        self._escape = inputs.dockerfile.escape
        before = _State()
        for name, value in inputs.dockerfile.automatic_args.items():
            before.set_variable(name, Variable(value))
        for instruction in inputs.dockerfile.global_args:
            self._declare(instruction, before, {})
        self._globals = before.variables
        self._edges: defaultdict[StepId, list[StageEdge]] = defaultdict(list)
        for edge in inputs.dockerfile.edges:
            if edge.kind != "from":
                self._edges[edge.target, edge.instruction].append(edge)
        self._ends: dict[int, _State] = {}
        self.steps: list[CacheStep] = []

    def read(self, stage: Stage) -> None:
        state = self._begin(stage)
        for instruction in stage.instructions[1:]:
            if instruction.keyword == "WORKDIR":
                self._workdir(stage, instruction, state)
            elif instruction.keyword in STEP_KEYWORDS:
                self._add_step(stage, instruction, read_op(instruction, self._scope(state)), state)
            else:
                self._read_setting(instruction, state)
        self._ends[stage.index] = state

    def _begin(self, stage: Stage) -> _State:
        if stage.base_stage is not None:
            state = self._ends[stage.base_stage].copy()
            base = self._inputs.dockerfile.stages[stage.base_stage]
            state.begin_stage()
            triggers = [i.arguments for i in base.instructions if i.keyword == "ONBUILD"]
            state.triggers = self._with_variables(triggers, state)
            return state
        if stage.base.lower() == "scratch":
            state = _State(platform=self._inputs.platform)
            state.begin_stage()
            return state
        base = _address(self._inputs.dockerfile, stage.base, self._inputs.build_contexts)
        image = self._inputs.images.get(base) or InputImage(base, "")
        settings = {
            "USER": Variable(image.user),
            "SHELL": Variable(image.shell if image.shell not in ("", "[]") else _DEFAULT_SHELL),
            "WORKDIR": Variable(image.workdir),
        }
        environment = {name: Variable(value) for name, value in image.environment.items()}
        state = _State(base=base, settings=settings, environment=environment)
        state.platform = normalize_platform(stage.platform) if stage.platform else self._inputs.platform
        if not _is_image(base):
            state.base_source = self._with_origin(StepSource(patterns=(".",)), stage.base)
        state.begin_stage()
        state.triggers = self._with_variables(image.triggers, state)
        return state

    def _with_variables(self, triggers: Iterable[str], state: _State) -> tuple[str, ...]:
        """Return ONBUILD instructions with the variables that they see: a RUN sees all of them."""
        scope = replace(self._scope(state), variables=dict(state.values))
        found: list[str] = []
        for trigger in triggers:
            keyword, arguments = (*trigger.split(None, 1), "", "")[:2]
            pairs = arg_defaults(arguments, self._escape) if keyword.upper() == "ARG" else []
            given = {name: self._inputs.build_args.get(name, default) for name, default in pairs}
            values = {name: scope.expand(value) for name, value in given.items() if value is not None}
            scope = replace(scope, variables={**scope.variables, **values})
            seen = json.dumps([*scope.variables.items()]) if keyword.upper() == "RUN" else ""
            found.append(f"{trigger} {seen}" if seen else scope.expand(trigger))
        return tuple(found)

    def _workdir(self, stage: Stage, instruction: Instruction, state: _State) -> None:
        scope = self._scope(state)
        op = read_op(instruction, scope)
        workdir = absolute_path(scope.workdir, op.target)
        # BuildKit makes no step of a WORKDIR that resolves to the root, which always exists.
        if workdir != "/":
            self._add_step(stage, instruction, op, state)
        # A RUN sees an absolute path as written, not normalized.
        seen = op.target if op.target.startswith("/") else workdir
        state.set_setting("WORKDIR", seen, instruction.start_line)

    def _add_step(self, stage: Stage, instruction: Instruction, op: Op, state: _State) -> None:
        # On an empty base there is nothing to link to: that is an ordinary COPY.
        on_files = bool(state.parents or state.base != "scratch")
        linked = self._inputs.merge_op and op.linked and on_files
        step = CacheStep(
            key=(stage.index, instruction.index),
            line=instruction.start_line,
            keyword=instruction.keyword,
            written=_written(instruction),
            op=op,
            parents=() if linked else state.parents,
            base="scratch" if linked else state.base,
            linked=linked,
            variables=_seen_variables(instruction, state),
            settings=_seen_settings(instruction, op, state),
            sources=(*_base_sources(state, linked), *self._sources(stage, instruction, op)),
            triggers=state.triggers,
            platform=state.platform,
        )
        self.steps.append(step)
        state.triggers = ()
        if linked:
            state.parents = (*state.parents, step.key)
        else:
            state.parents, state.base = (step.key,), None

    def _scope(self, state: _State) -> InstructionScope:
        return state.scope(self._escape, self._inputs.network, self._inputs.cache_ids)

    def _read_setting(self, instruction: Instruction, state: _State) -> None:
        line = instruction.start_line
        match instruction.keyword:
            case "ENV":
                scope = self._scope(state)
                pairs = env_pairs(instruction.arguments, self._escape)
                # Each value sees the variables from before this ENV.
                for name, value in [(name, scope.expand(value)) for name, value in pairs]:
                    state.environment[name] = Variable(value, line)
                    state.set_variable(name, state.environment[name])
            case "ARG":
                self._declare(instruction, state, self._globals)
            case "USER":
                state.set_setting("USER", self._scope(state).expand(instruction.arguments), line)
            case "SHELL":
                state.set_setting("SHELL", json.dumps(instruction.words), line)
            case _:
                pass

    def _declare(self, instruction: Instruction, state: _State, global_args: Mapping[str, Variable]) -> None:
        build_args, line, scope = self._inputs.build_args, instruction.start_line, self._scope(state)
        for name, default in arg_defaults(instruction.arguments, self._escape):
            if name in build_args:
                state.set_variable(name, Variable(build_args[name], line, build_arg=True))
            elif default is not None:
                state.set_variable(name, Variable(scope.expand(default), line))
            elif name in global_args:
                state.set_variable(name, global_args[name])

    def _sources(self, stage: Stage, instruction: Instruction, op: Op) -> Iterator[StepSource]:
        edges = iter(self._edges.get((stage.index, instruction.index), ()))
        for mount in op.mounts:
            source = StepSource(patterns=(normalize_path(mount.get("source", "")),))
            if mount.get("from"):
                yield self._with_origin(source, next(edges).source)
            elif mount.get("type", "bind") == "bind":
                yield source
        yield from (StepSource(url=download.url, pin=download.pin) for download in op.downloads)
        source = StepSource(op.sources, op.exclude, op.parents)
        edge = next(edges, None)
        if edge is not None:
            yield self._with_origin(source, edge.source)
        elif op.sources:
            yield source

    def _with_origin(self, source: StepSource, origin: int | str) -> StepSource:
        if isinstance(origin, str):
            address = _address(self._inputs.dockerfile, origin, self._inputs.build_contexts)
            if address.startswith(LOCAL):
                return replace(source, context=self._inputs.dockerfile.build_context(origin) or "")
            return replace(source, image=address) if _is_image(address) else replace(source, url=address)
        end = self._ends[origin]
        if end.base_source is not None and not end.parents:
            return replace(end.base_source, patterns=source.patterns, exclude=source.exclude)
        image = None if end.base == "scratch" else end.base
        return replace(source, stage=origin, steps=end.parents, image=image)


def _base_sources(state: _State, linked: bool) -> tuple[StepSource, ...]:
    """Return the build context that a stage begins with, for the first step upon it."""
    on_context = state.base_source is not None and state.base is not None and not linked
    return (state.base_source,) if on_context and state.base_source is not None else ()


def _written(instruction: Instruction) -> str:
    flags = [flag.text for flag in instruction.flags]
    listed = None if instruction.words is None else json.dumps(instruction.words, ensure_ascii=False)
    first = " ".join([instruction.keyword, *flags, listed or instruction.arguments])
    return "\n".join([first, *(heredoc.content for heredoc in instruction.heredocs)])


def _seen_variables(instruction: Instruction, state: _State) -> Mapping[str, Variable]:
    if instruction.keyword == "RUN":
        return state.all_variables()
    mentioned = dict.fromkeys(_MENTIONED.findall(instruction.source))
    return {name: state.variables[name] for name in mentioned if name in state.variables}


def _seen_settings(instruction: Instruction, op: Op, state: _State) -> Mapping[str, Variable]:
    """Return the settings that an op may hold: a folder that WORKDIR creates belongs to the USER."""
    if instruction.keyword == "RUN":
        shell = instruction.words is None or instruction.heredocs
        names = ("USER", "WORKDIR", "SHELL") if shell else ("USER", "WORKDIR")
    else:
        names = ("USER",) if instruction.keyword == "WORKDIR" else ()
        names = names if op.target.startswith("/") else (*names, "WORKDIR")
    return {name: state.settings[name] for name in names}
