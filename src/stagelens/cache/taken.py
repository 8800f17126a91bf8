"""Which files of the context a step takes, and how they differ from what it took before.

Sources are matched as BuildKit does it (tonistiigi/fsutil, copy): a pattern names whole paths, a folder
stands for what is in it, and symlinks on the way to a source are followed inside of the context.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from stagelens.buildkit.context import Matcher, PatternError
from stagelens.buildkit.context.glob import compile_glob, has_wildcards, readable
from stagelens.cache.model import ChangeKind, ContextFile, FileChange
from stagelens.cache.steps import Source, Step

_MAX_LINKS = 40


def files_of(step: Step, files: Mapping[str, ContextFile]) -> dict[str, ContextFile]:
    """The context's files that the step takes, by path as the step names it: a link there is only its way."""
    found: dict[str, ContextFile] = {}
    for source in step.sources:
        for pattern in source.patterns:
            found.update(_taken(pattern, source, files))
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


def _roots(pattern: str, files: Mapping[str, ContextFile]) -> Iterator[tuple[str, str]]:
    """The paths that a pattern names, and what each leads to."""
    if pattern == ".":
        yield "", "."
        return
    names: Iterable[str] = [pattern]
    if has_wildcards(pattern):
        try:
            expression = compile_glob(pattern)
        except PatternError:
            return
        names = [path for path in files if expression.fullmatch(readable(path))]
    for name in names:
        yield name, _resolved(name, files)


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
