"""Compare a build with an earlier one, step by step: match their steps, and find the causes of differences.

Lines are added, removed and edited between builds, so steps are matched by their cache keys, then by stage
and text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache.context_files import compare_files, select_files, unnoticed_changes
from stagelens.cache.model import BuildInputs, BuildRecord, ContextFile, FileChange, StepId
from stagelens.cache.steps import LOCAL, CacheStep, StepSource, Variable, read_steps
from stagelens.dockerfile import Dockerfile, Stage, normalize_image_name

CauseKind = Literal[
    "no-cache",  # the cache was turned off for the build
    "first",  # no earlier build is recorded
    "engine",  # the earlier build ran on another engine
    "new",  # the earlier Dockerfile has no such instruction
    "unfinished",  # the earlier build did not reach the step
    "instruction",  # the text of the instruction
    "build-arg",  # the values of build arguments, by name
    "variable",  # the values of ARG and ENV in the Dockerfile or the base image, by name
    "variables",  # the order of the variables
    "setting",  # USER, SHELL or WORKDIR, by name
    "files",  # files of the context
    "base",  # the base image of the stage
    "context",  # the stage begins with a folder, which the engine never finds in its cache
    "triggers",  # the ONBUILD instructions of the base image or stage
    "image",  # an image that the step copies from
    "network",
    "platform",
    "order",  # the step follows a different step
    "input",  # the step that this one builds on
    "stage",  # files of another stage
    "remote",  # a download
    "dropped",  # no known difference: the engine no longer has the result
]

# The files that each step uses.
_StepFiles = Mapping[StepId, Mapping[str, ContextFile]]
# The cache key and the op of each step.
_Fingerprints = Mapping[StepId, tuple[Hashable, str]]


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason why a step cannot come from the cache.

    Attributes
    ----------
    kind
        What is different.
    names
        The names of build arguments, variables, settings, images or stages.
    changes
        The changed files of the context.
    line
        The line of the instruction that makes the difference, if it is another one.
    step
        The step that this one depends on.
    """

    kind: CauseKind
    names: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()
    line: int | None = None
    step: StepId | None = None


class BuildComparison:
    """An earlier build next to the inputs of a later one.

    Parameters
    ----------
    before
        The earlier build; None if there is none, which makes every step new.
    after
        The inputs of the later build.
    """

    def __init__(self, before: BuildRecord | None, after: BuildInputs) -> None:
        self.before = before
        self.after = after
        self.steps = read_steps(after)
        self._by_key = {step.key: step for step in self.steps}
        self._files = _select_all(after, self.steps)
        # A platform that one of the builds does not know is not compared.
        self._platforms = before is not None and bool(before.inputs.platform and after.platform)
        self._keys = _cache_keys(after, self.steps, self._files, self._platforms)
        self._stage_matches: dict[int, int] = {}
        self._matches: dict[StepId, CacheStep] = {}
        self._finished: set[StepId] = set()
        if before is not None:
            old_steps = read_steps(before.inputs)
            self._old_files = _select_all(before.inputs, old_steps)
            self._old_keys = _cache_keys(before.inputs, old_steps, self._old_files, self._platforms)
            self._stage_matches = _match_stages(
                before.inputs.dockerfile,
                after.dockerfile,
                _fingerprints(old_steps, self._old_keys),
                _fingerprints(self.steps, self._keys),
            )
            self._matches = match_steps(self._stage_matches, old_steps, self.steps)
            self._finished = {step.key for step in old_steps}
            if before.trace.failed:
                reached = step_vertices(old_steps, before.trace)
                self._finished = {k for k, v in reached.items() if v.completed is not None and not v.error}
            # The cache ignores positions: an equal key is the same step wherever it is.
            by_cache_key = {self._old_keys[s.key]: s for s in old_steps if s.key in self._finished}
            for key, cache_key in self._keys.items():
                if cache_key in by_cache_key and not self._is_same(key, self._matches.get(key)):
                    self._matches[key] = by_cache_key[cache_key]

    def step(self, key: StepId) -> CacheStep:
        """Return a step of the later build."""
        return self._by_key[key]

    def direct_causes(self, step: CacheStep) -> tuple[Cause, ...]:
        """Return what is different about the step itself, apart from the steps that it depends on."""
        if self.before is None:
            return (Cause("first"),)
        before = self.before.inputs
        if before.engine != self.after.engine:
            return (Cause("engine"),)
        old = self._matches.get(step.key)
        if old is None:
            return (Cause("new"),)
        if old.key not in self._finished:
            return (Cause("unfinished"),)
        found = [] if self._is_same(step.key, old) else self._differences(before, old, step)
        if step.base is not None and step.base.startswith(LOCAL):
            found.append(Cause("context", names=(step.base.removeprefix(LOCAL),)))
        return tuple(found)

    def unnoticed_changes(self, step: CacheStep) -> tuple[FileChange, ...]:
        """Return the changes of the files that a step uses that the engine does not notice."""
        return unnoticed_changes(self._files[step.key].values())

    def triggers_cause(self, step: CacheStep) -> Cause:
        """Return the cause for ONBUILD instructions, which run before the step and are not compared."""
        stage = self.after.dockerfile.stages[step.key[0]]
        return Cause("triggers", names=(stage.base,), line=stage.instructions[0].start_line)

    def stage_cause(self, key: StepId) -> Cause:
        """Return the cause for files that a changed step of another stage provides."""
        return Cause("stage", names=(self.after.dockerfile.stages[key[0]].label,), step=key)

    def _is_same(self, key: StepId, old: CacheStep | None) -> bool:
        return old is not None and self._keys[key] == self._old_keys[old.key]

    def _differences(self, before: BuildInputs, old: CacheStep, new: CacheStep) -> list[Cause]:
        found = _text_causes(old, new)
        if old.op.text != new.op.text and before.network != self.after.network and new.keyword == "RUN":
            found.append(Cause("network"))
        found += [*self._file_causes(old, new), *self._image_causes(before, old, new)]
        found += [*_remote_causes(old, new), *self._platform_causes(before, old, new)]
        found = found or self._stage_causes(old, new)
        if not found and self._moved(old, new):
            found.append(Cause("order"))
        return found

    def _file_causes(self, old: CacheStep, new: CacheStep) -> list[Cause]:
        old_files, new_files = self._old_files[old.key], self._files[new.key]
        changed = compare_files(old_files, new_files)
        if changed and _patterns(old) != _patterns(new):
            # The instruction now names other paths: compare only the files that both select.
            old_files, new_files = _by_path(old_files), _by_path(new_files)
            both = old_files.keys() & new_files.keys()
            changed = compare_files({p: old_files[p] for p in both}, {p: new_files[p] for p in both})
            if not changed and old.op.text == new.op.text:
                return [Cause("instruction")]
        return [Cause("files", changes=changed)] if changed else []

    def _stage_causes(self, old: CacheStep, new: CacheStep) -> list[Cause]:
        """Return a cause if the step copies other files from stages; the names of stages do not count."""
        sources = [source for source in new.sources if source.stage is not None]
        old_sources = [source for source in old.sources if source.stage is not None]
        if len(sources) == len(old_sources) and all(map(self._has_same_origin, old_sources, sources)):
            return []
        if old.op.text != new.op.text:
            return [Cause("instruction")]
        labels = [self.after.dockerfile.stages[s.stage].label for s in sources if s.stage is not None]
        return [Cause("stage", names=tuple(dict.fromkeys(labels)))]

    def _has_same_origin(self, old: StepSource, new: StepSource) -> bool:
        """Return whether both are the same stage with the same end, or with a changed step."""
        if new.stage is None or self._stage_matches.get(new.stage) != old.stage:
            return False
        if new.patterns != old.patterns or new.exclude != old.exclude:
            return False
        explained = any(not self._is_same(key, self._matches.get(key)) for key in new.steps)
        new_end, old_end = [self._keys[key] for key in new.steps], [self._old_keys[key] for key in old.steps]
        return explained or new_end == old_end

    def _image_causes(self, before: BuildInputs, old: CacheStep, new: CacheStep) -> list[Cause]:
        found: list[Cause] = []
        if old.base and new.base and old.linked == new.linked and self._differs(before, old.base, new.base):
            line = self.after.dockerfile.stages[new.key[0]].instructions[0].start_line
            found.append(Cause("base", names=(new.base,), line=line))
        if new.triggers != old.triggers:
            found.append(self.triggers_cause(new))
        images = [source.image for source in new.sources if source.image]
        old_images = [source.image for source in old.sources if source.image]
        for image, old_image in zip(images, old_images, strict=False):
            if self._differs(before, old_image, image):
                found.append(Cause("image", names=(image,)))
        return found

    def _platform_causes(self, before: BuildInputs, old: CacheStep, new: CacheStep) -> list[Cause]:
        """Return a cause if the step is for another platform: a RUN, or what has files of an image."""
        on_image = new.base not in (None, "scratch") and not new.linked
        own = old.platform != new.platform and (new.keyword == "RUN" or on_image)
        copied = any(source.image for source in new.sources) and before.platform != self.after.platform
        return [Cause("platform")] if self._platforms and (own or copied) else []

    def _differs(self, before: BuildInputs, old_name: str, new_name: str) -> bool:
        old, new = before.images.get(old_name), self.after.images.get(new_name)
        if old is None or new is None or not old.layers or not new.layers:
            return old_name != new_name
        return old.layers != new.layers

    def _moved(self, old: CacheStep, new: CacheStep) -> bool:
        """Return whether the step builds on other steps; a new step before it explains more than that."""
        if any(parent not in self._matches for parent in new.parents):
            return False
        matched = [self._old_keys[self._matches[parent].key] for parent in new.parents]
        old_parents = [self._old_keys[parent] for parent in old.parents]
        return matched != old_parents or (new.base is None) != (old.base is None)


def step_vertices(steps: Sequence[CacheStep], trace: BuildTrace) -> dict[StepId, Vertex]:
    """Return the vertex of each step that the build reached.

    BuildKit runs equal steps of several stages once. Where the engine does not tell which steps a vertex
    belongs to, it has the name of one of them.
    """

    def image(name: str | None) -> str | None:
        return name and normalize_image_name(name)

    def origin(step: CacheStep) -> Hashable:
        sources = tuple((s.patterns, s.exclude, image(s.image), s.context, s.url) for s in step.sources)
        return image(step.base), step.platform, sources

    identities = _identities(steps, origin)
    found = {key: vertex for key in identities if (vertex := trace.vertex(*key)) is not None}
    by_identity = {identities[key]: vertex for key, vertex in found.items()}
    shared = {key: by_identity[identity] for key, identity in identities.items() if identity in by_identity}
    return shared | found


def match_steps(
    stage_matches: Mapping[int, int], old: Sequence[CacheStep], new: Sequence[CacheStep]
) -> dict[StepId, CacheStep]:
    """Match steps of two builds by their stage and text; an edited step matches its earlier version.

    Parameters
    ----------
    stage_matches
        The index of the earlier stage for each later one.
    old, new
        The steps of the earlier and of the later build.

    Returns
    -------
    dict
        The earlier step for each later one that has one.
    """
    old_stages, new_stages = _by_stage(old), _by_stage(new)
    matches: dict[StepId, CacheStep] = {}
    for stage, steps in new_stages.items():
        old_steps = old_stages.get(stage_matches.get(stage, -1), [])
        matches |= {steps[i].key: old_steps[j] for i, j in _match_positions(old_steps, steps)}
    return matches


def _cache_keys(
    inputs: BuildInputs, steps: Sequence[CacheStep], files: _StepFiles, platforms: bool
) -> dict[StepId, Hashable]:
    """Return a stand-in for the cache key of each step.

    Files of other steps and of images count by their origin, because their content is unknown.
    """

    def image(name: str | None) -> Hashable:
        known = inputs.images.get(name) if name is not None else None
        return known.layers if known is not None and known.layers else name

    def source_key(source: StepSource) -> Hashable:
        if source.from_context:
            return None
        platform = inputs.platform if source.image and platforms else None
        return source.patterns, source.exclude, image(source.image), platform, source.pin or source.url

    def origin(step: CacheStep) -> Hashable:
        entries = frozenset((name, _file_key(file)) for name, file in files[step.key].items())
        on_platform = platforms and (step.keyword == "RUN" or step.base not in (None, "scratch"))
        platform = step.platform if on_platform else None
        return entries, image(step.base), platform, tuple(map(source_key, step.sources))

    return _identities(steps, origin)


def _identities(
    steps: Sequence[CacheStep], origin: Callable[[CacheStep], Hashable]
) -> dict[StepId, Hashable]:
    """Combine the op of each step, the identities of the steps it depends on, and `origin` for all else."""
    found: dict[StepId, Hashable] = {}
    for step in steps:
        variables = tuple((n, v.value) for n, v in step.variables.items()) if step.keyword == "RUN" else ()
        parents = tuple(found[key] for key in step.parents)
        sources = tuple(tuple(found[key] for key in source.steps) for source in step.sources)
        # A hash instead of nested tuples, whose size would double with each step.
        found[step.key] = hash((step.op.text, variables, step.triggers, parents, sources, origin(step)))
    return found


def _file_key(file: ContextFile) -> Hashable:
    unread = file.stamp if file.kind == "file" and file.digest is None else ""
    return file.kind, file.mode, file.size, file.digest, file.target, file.xattrs, unread


def _fingerprints(steps: Sequence[CacheStep], keys: Mapping[StepId, Hashable]) -> _Fingerprints:
    return {step.key: (keys[step.key], step.op.text) for step in steps}


def _select_all(inputs: BuildInputs, steps: Sequence[CacheStep]) -> _StepFiles:
    return {step.key: select_files(step, inputs.files, inputs.context_files) for step in steps}


def _patterns(step: CacheStep) -> list[tuple[str, ...]]:
    return [source.patterns for source in step.sources if source.from_context]


def _by_path(files: Mapping[str, ContextFile]) -> dict[str, ContextFile]:
    return {file.path: file for file in files.values()}


def _text_causes(old: CacheStep, new: CacheStep) -> list[Cause]:
    edited = (old.op.text, old.linked) != (new.op.text, new.linked) or _is_repinned(old, new)
    if not edited and new.keyword != "RUN":
        return []
    found: list[Cause] = []
    if edited and old.written != new.written:
        found.append(Cause("instruction"))
    names = _changed_names(old.variables, new.variables)
    build_args = tuple(n for n in names if _is_build_arg(old, n) or _is_build_arg(new, n))
    if build_args:
        found.append(Cause("build-arg", names=build_args))
    for name in names:
        if name not in build_args:
            variable = new.variables.get(name) or old.variables[name]
            line = variable.line if name in new.variables else None
            found.append(Cause("variable", names=(name,), line=line))
    if new.keyword == "RUN" and not names and list(old.variables) != list(new.variables):
        found.append(Cause("variables"))
    if old.op.text != new.op.text:
        for name in _changed_names(old.settings, new.settings):
            if name in old.settings and name in new.settings:
                found.append(Cause("setting", names=(name,), line=new.settings[name].line))
    return found


def _downloads(old: CacheStep, new: CacheStep) -> list[tuple[StepSource, StepSource]]:
    """Return the downloads of two steps in pairs."""
    before, after = ([source for source in step.sources if source.url] for step in (old, new))
    return list(zip(before, after, strict=False))


def _is_repinned(old: CacheStep, new: CacheStep) -> bool:
    """Return whether a checksum makes certain that a download has other content."""
    return any(a.pin != b.pin and _are_checksums(a, b) for a, b in _downloads(old, new))


def _are_checksums(old: StepSource, new: StepSource) -> bool:
    """Return whether both pins hold checksums; two commits may hold the same files."""
    return all(source.pin and not source.pin.startswith("git ") for source in (old, new))


def _remote_causes(old: CacheStep, new: CacheStep) -> list[Cause]:
    """Return a cause for each download from another address whose content is unknown."""
    pairs = [(a, b) for a, b in _downloads(old, new) if not _are_checksums(a, b)]
    changed = [b.url or "" for a, b in pairs if (a.pin or a.url) != (b.pin or b.url)]
    return [Cause("remote", names=(url,)) for url in changed]


def _is_build_arg(step: CacheStep, name: str) -> bool:
    return name in step.variables and step.variables[name].build_arg


def _changed_names(old: Mapping[str, Variable], new: Mapping[str, Variable]) -> list[str]:
    def value(variables: Mapping[str, Variable], name: str) -> str | None:
        return variables[name].value if name in variables else None

    return sorted(n for n in old.keys() | new.keys() if value(old, n) != value(new, n))


def _match_stages(
    before: Dockerfile, after: Dockerfile, old: _Fingerprints, new: _Fingerprints
) -> dict[int, int]:
    """Return the index of the earlier stage for each later one.

    That is the stage that most of its steps were in, because names do not count for the cache; else the stage
    with its name; else one with the same instructions; else one of those that are left, from the end.
    """
    found = _match_stages_by_steps(before, after, old, new)
    for trait in (_name, _body, _any):
        candidates: defaultdict[Hashable, list[int]] = defaultdict(list)
        used = set[int]() if trait is _name else set(found.values())
        for stage in before.stages:
            if stage.index not in used:
                candidates[trait(stage)].append(stage.index)
        for stage in reversed(after.stages):
            key = trait(stage)
            if stage.index not in found and key is not None and candidates[key]:
                found[stage.index] = candidates[key].pop()
    return found


def _match_stages_by_steps(
    before: Dockerfile, after: Dockerfile, old: _Fingerprints, new: _Fingerprints
) -> dict[int, int]:
    stages: defaultdict[Hashable, set[int]] = defaultdict(set)
    for (stage, _), fingerprints in old.items():
        for fingerprint in fingerprints:
            stages[fingerprint].add(stage)
    shared: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for (stage, _), fingerprints in new.items():
        for fingerprint in fingerprints:
            shared[stage].update(stages.get(fingerprint, ()))
    return {
        stage: max(counts, key=lambda n: (counts[n], before.stages[n].name == after.stages[stage].name))
        for stage, counts in shared.items()
        if counts
    }


def _name(stage: Stage) -> Hashable:
    return stage.name


def _body(stage: Stage) -> Hashable:
    return tuple(instruction.source for instruction in stage.instructions[1:])


def _any(stage: Stage) -> Hashable:
    return ""


def _by_stage(steps: Sequence[CacheStep]) -> Mapping[int, list[CacheStep]]:
    found: defaultdict[int, list[CacheStep]] = defaultdict(list)
    for step in steps:
        found[step.key[0]].append(step)
    return found


def _match_positions(old: Sequence[CacheStep], new: Sequence[CacheStep]) -> list[tuple[int, int]]:
    """Return pairs of positions (new, old) of equal steps, and of edited steps between them."""
    matcher = SequenceMatcher(None, [s.written for s in old], [s.written for s in new], autojunk=False)
    found: list[tuple[int, int]] = []
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            found += [(b + n, a + n) for n in range(a_end - a)]
        elif kind == "replace":
            found += _match_edited(old, new, range(a, a_end), range(b, b_end))
    return found


def _match_edited(
    old: Sequence[CacheStep], new: Sequence[CacheStep], old_range: range, new_range: range
) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    waiting = list(old_range)
    for i in new_range:
        match = next((j for j in waiting if old[j].keyword == new[i].keyword), None)
        if match is not None:
            found.append((i, match))
            waiting = [j for j in waiting if j > match]
    return found
