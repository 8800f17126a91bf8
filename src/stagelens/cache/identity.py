"""What makes two steps one to BuildKit: parts of one build's graph, or keys of the cache of all builds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from stagelens.builds import BuildTrace, Vertex
from stagelens.cache.model import ContextFile, Inputs, Key
from stagelens.cache.steps import Source, Step
from stagelens.dockerfile import normalize_image_name

Files = Mapping[Key, Mapping[str, ContextFile]]


def cache_keys(inputs: Inputs, steps: Sequence[Step], files: Files) -> dict[Key, Hashable]:
    """For each step what stands for all that its result hangs on; `files` are those that each takes.

    What a step takes from other steps and images counts by where it comes from: its content is not known.
    """

    def taken(step: Step, source: Source) -> Hashable:
        if not source.of_context:
            return source.patterns, source.exclude, image(source.image)
        return source.remote

    def image(name: str | None) -> Hashable:
        base = inputs.bases.get(name) if name is not None else None
        return base.files if base is not None and base.files else name

    def own(step: Step) -> Hashable:
        entries = frozenset((name, _seen(file)) for name, file in files[step.key].items())
        return entries, image(step.base), tuple(taken(step, source) for source in step.sources)

    return _identities(steps, own)


def vertices(steps: Sequence[Step], trace: BuildTrace) -> dict[Key, Vertex]:
    """The vertex of each step, for steps that the build reached.

    BuildKit runs equal steps of several stages once, under the name of one of them.
    """

    def own(step: Step) -> Hashable:
        sources = tuple((s.patterns, s.exclude, image(s.image), s.remote) for s in step.sources)
        return image(step.base), sources

    def image(name: str | None) -> str | None:
        return name and normalize_image_name(name)

    identities = _identities(steps, own)
    named: dict[Hashable, Vertex] = {}
    for key, identity in identities.items():
        if (vertex := trace.vertex(*key)) is not None:
            named[identity] = vertex
    return {key: named[identity] for key, identity in identities.items() if identity in named}


def _identities(steps: Sequence[Step], own: Callable[[Step], Hashable]) -> dict[Key, Hashable]:
    """`own` tells of a step what is neither its op nor a step that it hangs on."""
    found: dict[Key, Hashable] = {}
    for step in steps:
        variables = tuple((n, v.value) for n, v in step.variables.items()) if step.keyword == "RUN" else ()
        parents = tuple(found[key] for key in step.parents)
        sources = tuple(tuple(found[key] for key in source.steps) for source in step.sources)
        # A hash in place of the nested tuples: their length would double with each step.
        found[step.key] = hash((step.op, variables, step.triggers, parents, sources, own(step)))
    return found


def _seen(file: ContextFile) -> Hashable:
    """What counts of a file; of one that is too large to read, its state on the disk."""
    mode = None if file.kind == "dir" else file.mode
    unread = file.stamp if file.kind == "file" and file.digest is None else ""
    return file.kind, mode, file.size, file.digest, file.target, unread
