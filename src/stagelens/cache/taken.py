"""Which files of the context a step takes, and how they differ from what it took before.

Sources are matched as BuildKit does it (tonistiigi/fsutil, copy): a pattern names whole paths, a folder
stands for what is in it, and symlinks on the way to a source are followed inside of the context.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from stagelens.buildkit.context import Matcher, PatternError
from stagelens.buildkit.context.patterns import compile_glob, has_wildcards, replace_invalid_utf8
from stagelens.cache.model import ChangeKind, ContextFile, FileChange
from stagelens.cache.ops import pivot
from stagelens.cache.steps import Source, Step

_MAX_LINKS = 40


def files_of(step: Step, files: Mapping[str, ContextFile]) -> dict[str, ContextFile]:
    """The context's files that the step takes, each by what the cache knows it as.

    That is the source's place among the step's and the path below it: where the source itself is counts no
    more than the way of a link.
    """
    found: dict[str, ContextFile] = {}
    patterns = (
        (pattern, source) for source in step.sources if source.of_context for pattern in source.patterns
    )
    for place, (pattern, source) in enumerate(patterns):
        taken = _kept(pattern, source, files) if source.parents else _taken(pattern, source, files)
        found.update((f"{place}/{name}", file) for name, file in taken)
    return found


def changes(before: Mapping[str, ContextFile], after: Mapping[str, ContextFile]) -> tuple[FileChange, ...]:
    """How the second differs from the first, by the files' own paths."""
    found: dict[str, FileChange] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        kind = _change(old, new)
        if kind is not None and (file := new or old) is not None:
            found[file.path] = FileChange(file.path, kind)
    return tuple(found[path] for path in sorted(found))


def _change(old: ContextFile | None, new: ContextFile | None) -> ChangeKind | None:
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.kind != new.kind:
        return "kind"
    if old.target != new.target:
        return "target"
    if (old.size, old.digest) != (new.size, new.digest):
        return "content"
    if old.kind == "file" and old.digest is None and old.stamp != new.stamp:
        return "content"  # too large to compare: its times have changed, so it was written
    # An engine that keeps a context takes over a folder's new permissions, and hashes it as it was: what it
    # receives for a folder that is there already is no change (diskwriter.go of tonistiigi/fsutil).
    return "mode" if old.mode != new.mode and new.kind != "dir" else None


def _taken(
    pattern: str, source: Source, files: Mapping[str, ContextFile]
) -> Iterator[tuple[str, ContextFile]]:
    for name, root in _roots(pattern, files):
        excluded = _matcher(source.exclude)
        below = "" if root == "." else root + "/"
        own = files.get(root)
        # Of a folder only what is in it is copied.
        if own is not None and own.kind != "dir" and not (excluded and excluded.matches(_bytes(own.path))):
            yield name, own
        for path, file in files.items():
            inside = path.startswith(below) and path != root
            if inside and not (excluded and excluded.matches(_bytes(path[len(below) :]))):
                yield posixpath.join(name, path[len(below) :]), file


def _kept(
    pattern: str, source: Source, files: Mapping[str, ContextFile]
) -> Iterator[tuple[str, ContextFile]]:
    """What a COPY --parents takes: the paths below its folder that its pattern and no exclusion matches."""
    folder, kept = pivot(pattern)
    wanted, excluded = _matcher((kept,)), _matcher(source.exclude)
    for _, root in _roots(folder, files):
        below = "" if root == "." else root + "/"
        inside = ((path[len(below) :], file) for path, file in files.items() if path.startswith(below))
        for name, file in inside:
            matched = kept == "." or (wanted is not None and wanted.matches(_bytes(name)))
            if file.kind != "dir" and matched and not (excluded and excluded.matches(_bytes(name))):
                yield name, file


def _roots(pattern: str, files: Mapping[str, ContextFile]) -> Iterator[tuple[str, str]]:
    """The paths that a pattern names, by their parts that it has wildcards for, and what each leads to."""
    if not has_wildcards(pattern):
        yield "", _resolved(pattern, files)
        return
    try:
        expression = compile_glob(pattern)
    except PatternError:
        return
    above = pattern[: next(i for i in range(len(pattern)) if has_wildcards(pattern[: i + 1]))].rfind("/") + 1
    for path in files:
        if expression.fullmatch(replace_invalid_utf8(path)):
            yield path[above:], _resolved(path, files)


def _resolved(path: str, files: Mapping[str, ContextFile]) -> str:
    """The path with every symlink in it followed, inside of the context."""
    for _ in range(_MAX_LINKS):
        parts = path.split("/")
        for index in range(1, len(parts) + 1):
            file = files.get("/".join(parts[:index]))
            if file is not None and file.kind == "link":
                rest = parts[index:]
                folder = "/".join(parts[: index - 1])
                target = posixpath.join("/", folder, file.target, *rest)
                path = posixpath.normpath(target).lstrip("/") or "."
                break
        else:
            return path
    return path


def _matcher(patterns: tuple[str, ...]) -> Matcher | None:
    try:
        return Matcher(patterns) if patterns else None
    except PatternError:
        return None


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
