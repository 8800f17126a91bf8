"""Two builds side by side, step by step: what is different about each step itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stagelens.cache.align import Marks, align, former_stages
from stagelens.cache.identity import Files, cache_keys, vertices
from stagelens.cache.model import BuildRecord, ContextFile, FileChange, Inputs, Key
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
        self._taken = _taken(after, self.steps)
        self._keys = cache_keys(after, self.steps, self._taken)
        self._former: dict[int, int] = {}
        self._pairs: dict[Key, Step] = {}
        self._finished: set[Key] = set()
        if before is not None:
            old = read_steps(before.inputs)
            self._old_taken = _taken(before.inputs, old)
            self._old_keys = cache_keys(before.inputs, old, self._old_taken)
            marks = _marks(old, self._old_keys), _marks(self.steps, self._keys)
            self._former = former_stages(before.inputs.dockerfile, after.dockerfile, *marks)
            self._pairs = align(self._former, old, self.steps)
            reached = vertices(old, before.trace)
            self._finished = {key for key, v in reached.items() if v.completed is not None and not v.error}
            # The cache knows nothing of places: what is the same in all is the same step.
            known = {self._old_keys[step.key]: step for step in old if step.key in self._finished}
            for key, found in self._keys.items():
                if found in known and not self._same(key, self._pairs.get(key)):
                    self._pairs[key] = known[found]

    def _same(self, key: Key, old: Step | None) -> bool:
        return old is not None and self._keys[key] == self._old_keys[old.key]

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
        found = [] if self._same(step.key, old) else self._differences(before, old, step)
        if before.platform and self.after.platform and before.platform != self.after.platform:
            found.append(Cause("platform"))
        return tuple(found)

    def _differences(self, before: Inputs, old: Step, new: Step) -> list[Cause]:
        found = _words(old, new)
        if old.op != new.op and before.network != self.after.network and new.keyword == "RUN":
            found.append(Cause("network"))
        found += [*self._files(old, new), *self._images(before, old, new)]
        found = found or self._stages(old, new)
        if not found and self._moved(old, new):
            found.append(Cause("order"))
        return found

    def triggers(self, step: Step) -> Cause:
        """What runs before the step without standing in its stage, and is not compared."""
        stage = self.after.dockerfile.stages[step.key[0]]
        return Cause("triggers", names=(stage.base,), line=stage.instructions[0].start_line)

    def taken(self, key: Key) -> Cause:
        """What is taken from a step of another stage is not what it was."""
        return Cause("stage", names=(self.after.dockerfile.stages[key[0]].label,), step=key)

    def _files(self, old: Step, new: Step) -> list[Cause]:
        theirs, ours = self._old_taken[old.key], self._taken[new.key]
        changed = changes(theirs, ours)
        if changed and _patterns(old) != _patterns(new):
            # Of other paths, only what both took is compared; the rest is the instruction's own doing.
            theirs, ours = _by_path(theirs), _by_path(ours)
            both = theirs.keys() & ours.keys()
            changed = changes({path: theirs[path] for path in both}, {path: ours[path] for path in both})
            if not changed and old.op == new.op:
                return [Cause("instruction")]
        return [Cause("files", changes=changed)] if changed else []

    def _stages(self, old: Step, new: Step) -> list[Cause]:
        """Whether it takes other files from stages, whose names do not count; they are compared alone."""
        taken = [source for source in new.sources if source.stage is not None]
        former = [source for source in old.sources if source.stage is not None]
        if len(taken) == len(former) and all(map(self._same_origin, former, taken)):
            return []
        if old.op != new.op:
            return [Cause("instruction")]
        labels = [self.after.dockerfile.stages[s.stage].label for s in taken if s.stage is not None]
        return [Cause("stage", names=tuple(dict.fromkeys(labels)))]

    def _same_origin(self, old: Source, new: Source) -> bool:
        """Whether it is of the same stage, and of the same end of it unless that has a step which tells."""
        if new.stage is None or (self._former.get(new.stage), new.patterns) != (old.stage, old.patterns):
            return False
        told = any(not self._same(key, self._pairs.get(key)) for key in new.steps)
        ends = [self._keys[key] for key in new.steps], [self._old_keys[key] for key in old.steps]
        return new.exclude == old.exclude and (told or ends[0] == ends[1])

    def _images(self, before: Inputs, old: Step, new: Step) -> list[Cause]:
        found: list[Cause] = []
        if old.base and new.base and old.linked == new.linked and self._other(before, old.base, new.base):
            line = self.after.dockerfile.stages[new.key[0]].instructions[0].start_line
            found.append(Cause("base", names=(new.base,), line=line))
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
        """Whether the step begins from others than it did; a new one before it tells that by itself."""
        if any(parent not in self._pairs for parent in new.parents):
            return False
        former = [self._old_keys[self._pairs[parent].key] for parent in new.parents]
        below = [self._old_keys[parent] for parent in old.parents]
        return former != below or (new.base is None) != (old.base is None)


def _taken(inputs: Inputs, steps: Sequence[Step]) -> Files:
    return {step.key: files_of(step, inputs.files) for step in steps}


def _marks(steps: Sequence[Step], keys: Mapping[Key, Hashable]) -> Marks:
    return {step.key: (keys[step.key], step.op) for step in steps}


def _patterns(step: Step) -> list[tuple[str, ...]]:
    return [source.patterns for source in step.sources if source.of_context]


def _by_path(files: Mapping[str, ContextFile]) -> dict[str, ContextFile]:
    return {file.path: file for file in files.values()}


def _words(old: Step, new: Step) -> list[Cause]:
    edited = (old.op, old.linked) != (new.op, new.linked)
    if not edited and new.keyword != "RUN":
        return []
    found: list[Cause] = []
    if edited and old.written != new.written:
        found.append(Cause("instruction"))
    names = _different(old.variables, new.variables)
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
    if old.op != new.op:
        for name in _different(old.settings, new.settings):
            if name in old.settings and name in new.settings:
                found.append(Cause("setting", names=(name,), line=new.settings[name].line))
    return found


def _given(step: Step, name: str) -> bool:
    return name in step.variables and step.variables[name].build_arg


def _different(old: Mapping[str, Variable], new: Mapping[str, Variable]) -> list[str]:
    """Names that have another value now, or none any more."""

    def value(variables: Mapping[str, Variable], name: str) -> str | None:
        return variables[name].value if name in variables else None

    return sorted(n for n in old.keys() | new.keys() if value(old, n) != value(new, n))
