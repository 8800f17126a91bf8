"""Two builds side by side, step by step: what is different about each step itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

from stagelens.build import BuildTrace, Vertex
from stagelens.cache.align import align, former_stages
from stagelens.cache.model import BuildRecord, FileChange, Inputs, Key
from stagelens.cache.steps import Source, Step, Variable, read_steps
from stagelens.cache.taken import changes, files_of

CauseKind = Literal[
    "no-cache",  # the build was told not to use the cache
    "first",  # no earlier build is known
    "engine",  # the earlier build was on another engine
    "new",  # the earlier Dockerfile has no such instruction
    "unfinished",  # the earlier build did not get so far
    "instruction",  # its own words
    "build-arg",  # values given for the build, by name
    "variable",  # values of ARG and ENV in the Dockerfile or the base image, by name
    "variables",  # the order that they are set in
    "setting",  # USER, SHELL or WORKDIR, by name
    "files",  # what it takes from the context
    "base",  # the image that its stage begins from
    "triggers",  # the ONBUILD instructions of what its stage begins from
    "image",  # an image that it takes files from
    "network",
    "platform",
    "order",  # it follows another step than before
    "input",  # the step that it begins from
    "stage",  # what it takes from another stage
    "remote",  # what it downloads
    "dropped",  # nothing that is known: the engine has the result no more
]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a step cannot come from the cache.

    `names` are of arguments, variables, settings or images; `changes` the context's files; `line` is where
    another instruction makes the difference; `step` the step that this one depends on.
    """

    kind: CauseKind
    names: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    line: int | None = None
    step: Key | None = None


class Comparison:
    """An earlier build and what a later one is made from; without an earlier one everything is new."""

    def __init__(self, before: BuildRecord | None, after: Inputs) -> None:
        self.before = before
        self.after = after
        self.steps = read_steps(after)
        self._by_key = {step.key: step for step in self.steps}
        self._former: dict[int, int] = {}
        self._pairs: dict[Key, Step] = {}
        self._finished: set[Key] = set()
        if before is not None:
            old = read_steps(before.inputs)
            self._former = former_stages(before.inputs.dockerfile, after.dockerfile)
            self._pairs = align(self._former, old, self.steps)
            reached = vertices(old, before.trace)
            self._finished = {key for key, v in reached.items() if v.completed is not None and not v.error}

    def step(self, key: Key) -> Step:
        """The later build's step of that key."""
        return self._by_key[key]

    def direct(self, step: Step) -> tuple[Cause, ...]:
        """What is different about the step itself, whatever became of the steps that it depends on."""
        if self.before is None:
            return (Cause("first"),)
        before = self.before.inputs
        if before.engine != self.after.engine:
            return (Cause("engine"),)
        old = self._pairs.get(step.key)
        if old is None:
            return (Cause("new"),)
        if old.key not in self._finished:
            return (Cause("unfinished"),)
        found = [*_words(old, step), *self._files(before, old, step), *self._images(before, old, step)]
        found = found or self._stages(old, step)
        if before.platform and self.after.platform and before.platform != self.after.platform:
            found.append(Cause("platform"))
        if before.network != self.after.network and step.keyword == "RUN":
            found.append(Cause("network"))
        if not found and self._moved(old, step):
            found.append(Cause("order"))
        return tuple(found)

    def triggers(self, step: Step) -> Cause:
        """What runs before the step without standing in its stage, and is not compared."""
        stage = self.after.dockerfile.stages[step.key[0]]
        return Cause("triggers", names=(stage.base,), line=stage.instructions[0].start_line)

    def _files(self, before: Inputs, old: Step, new: Step) -> list[Cause]:
        changed = changes(files_of(old, before.files), files_of(new, self.after.files))
        return [Cause("files", changes=changed)] if changed else []

    def _stages(self, old: Step, new: Step) -> list[Cause]:
        """Whether it takes files from other stages; their names do not count, and they are compared alone."""
        ours = [source.stage for source in new.sources]
        theirs = [source.stage for source in old.sources]
        if [None if stage is None else self._former.get(stage, -1) for stage in ours] == theirs:
            return []
        if old.written != new.written:
            return [Cause("instruction")]
        labels = [self.after.dockerfile.stages[stage].label for stage in ours if stage is not None]
        return [Cause("stage", names=tuple(labels))]

    def _images(self, before: Inputs, old: Step, new: Step) -> list[Cause]:
        found: list[Cause] = []
        if new.parent is None and (old.parent is not None or self._other(before, old.base, new.base)):
            line = self.after.dockerfile.stages[new.key[0]].instructions[0].start_line
            found.append(Cause("base", names=(new.base or "scratch",), line=line))
        if new.triggers != old.triggers:
            found.append(self.triggers(new))
        images = [source.image for source in new.sources if source.image]
        former = [source.image for source in old.sources if source.image]
        for image, other in zip(images, former, strict=False):
            if self._other(before, other, image):
                found.append(Cause("image", names=(image,)))
        return found

    def _other(self, before: Inputs, old: str | None, new: str | None) -> bool:
        if old is None or new is None:
            return old != new
        was, now = before.bases.get(old), self.after.bases.get(new)
        if was is None or now is None or not was.files or not now.files:
            return old != new
        return was.files != now.files

    def _moved(self, old: Step, new: Step) -> bool:
        """Whether the step begins from another step than it did; a new one before it tells that by itself."""
        if new.parent is None or new.parent not in self._pairs:
            return False
        return old.parent is None or self._pairs[new.parent].key != old.parent


def vertices(steps: tuple[Step, ...], trace: BuildTrace) -> dict[Key, Vertex]:
    """The vertex of each step, for steps that the build reached.

    BuildKit runs equal steps of several stages once, under the name of one of them.
    """
    found: dict[Key, Vertex] = {}
    named: dict[Hashable, Vertex] = {}
    identities: dict[Key, Hashable] = {}
    for step in steps:
        identities[step.key] = _identity(step, identities)
        vertex = trace.vertex(*step.key)
        if vertex is not None:
            named[identities[step.key]] = vertex
    for step in steps:
        vertex = named.get(identities[step.key])
        if vertex is not None:
            found[step.key] = vertex
    return found


def _identity(step: Step, identities: dict[Key, Hashable]) -> Hashable:
    def of(source: Source) -> Hashable:
        place = identities.get(source.step) if source.step else None
        return source.patterns, source.exclude, place, source.image, source.remote

    variables = tuple(sorted((name, v.value) for name, v in step.variables.items()))
    settings = tuple(sorted((name, v.value) for name, v in step.settings.items()))
    parent = identities[step.parent] if step.parent else step.base
    # A hash in place of the nested tuples: their length would double with each step.
    return hash((step.text, variables, settings, parent, tuple(of(source) for source in step.sources)))


def _words(old: Step, new: Step) -> list[Cause]:
    found: list[Cause] = []
    names = _different(old.variables, new.variables)
    if old.text == new.text and new.keyword != "RUN":
        names = []
    elif old.text != new.text and old.written != new.written:
        found.append(Cause("instruction"))
    given = tuple(n for n in names if _given(old, n) or _given(new, n))
    if given:
        found.append(Cause("build-arg", names=given))
    for name in names:
        if name not in given:
            variable = new.variables.get(name) or old.variables[name]
            line = variable.line if name in new.variables else None
            found.append(Cause("variable", names=(name,), line=line))
    if new.keyword == "RUN" and not names and list(old.variables) != list(new.variables):
        found.append(Cause("variables"))
    for name in _different(old.settings, new.settings):
        line = new.settings[name].line if name in new.settings else None
        found.append(Cause("setting", names=(name,), line=line))
    if not found and old.text != new.text:
        found.append(Cause("setting", names=("WORKDIR",)))
    return found


def _given(step: Step, name: str) -> bool:
    return name in step.variables and step.variables[name].build_arg


def _different(old: Mapping[str, Variable], new: Mapping[str, Variable]) -> list[str]:
    """Names that have another value now, or none any more."""

    def value(variables: Mapping[str, Variable], name: str) -> str | None:
        return variables[name].value if name in variables else None

    return sorted(n for n in old.keys() | new.keys() if value(old, n) != value(new, n))
