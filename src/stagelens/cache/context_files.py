"""The files of a build context: read them with their digests, select those of a step, compare two builds'.

Digests hold what BuildKit's content hash holds (cache/contenthash in moby/buildkit): type, permissions, link
target, content and extended attributes. Owners are always 0, and times do not count. A digest is computed
once for each state of a file, which device, inode, size and both times identify. A file that was just written
is read each time: one more write could leave the same times. Where the engine would use its copy of a file,
the digest is that of the copy (see `ContextCopy`).

Sources are matched as in BuildKit (tonistiigi/fsutil, copy): a pattern matches whole paths, a folder stands
for the files in it, and symlinks on the path to a source are followed inside of the context.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from stagelens.buildkit.context import (
    Contents,
    ContextEntry,
    FileVanished,
    Matcher,
    PatternError,
    load_ignore,
    walk,
)
from stagelens.buildkit.context.patterns import compile_glob, has_wildcards, replace_invalid_utf8
from stagelens.buildkit.context.walker import GO_DIRECTORY, GO_SYMLINK
from stagelens.builds.context_copy import ContextCopy, CopiedFile, counted_xattrs
from stagelens.cache.model import ChangeKind, ContextFile, FileChange, FileKind
from stagelens.cache.ops import split_parents
from stagelens.cache.steps import CacheStep, StepSource

MAX_DIGEST_BYTES = 512 * 1024**2
_MAX_DIGESTS = 200_000
_SETTLED_NS = 2_000_000_000
_GO_SPECIAL = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))
_MAX_LINKS = 40


class DigestCache:
    """A cache of digests by the stamp of the file's state; the least recently used ones are dropped."""

    def __init__(self) -> None:
        self._digests: OrderedDict[str, str] = OrderedDict()

    def add(self, files: Iterable[ContextFile]) -> None:
        """Add the digests of files that were read earlier."""
        for file in files:
            if file.stamp and file.digest and not file.stale:
                self._store(file.stamp, file.digest)

    def knows(self, stamp: str) -> bool:
        """Return whether the digest of a state is stored."""
        return stamp in self._digests

    def digest(self, contents: Contents, path: bytes, stamp: str) -> str | None:
        """Return the SHA-256 of a file's content; None if the file has vanished.

        Parameters
        ----------
        contents
            The open context.
        path
            The path in the context.
        stamp
            The state of the file; "" always reads the file.
        """
        if stamp and (digest := self._digests.get(stamp)):
            self._digests.move_to_end(stamp)
            return digest
        found = hashlib.sha256()
        try:
            for chunk in contents.read_chunks(path):
                found.update(chunk)
        except FileVanished:
            return None
        if stamp:
            self._store(stamp, found.hexdigest())
        return found.hexdigest()

    def _store(self, stamp: str, digest: str) -> None:
        self._digests[stamp] = digest
        if len(self._digests) > _MAX_DIGESTS:
            self._digests.popitem(last=False)


digest_cache = DigestCache()


def read_context_files(
    context: Path,
    dockerfile: str | Path,
    sources: Iterable[str],
    copy: ContextCopy | None = None,
    tree: str = "context",
) -> Mapping[str, ContextFile]:
    """Read the paths of a context that COPY, ADD and bind mounts can reach, without ignored ones.

    Parameters
    ----------
    context
        The folder of the context.
    dockerfile
        The path of the Dockerfile, absolute or from the context; an ignore file may be next to it.
    sources
        The paths and patterns that the Dockerfile names.
    copy
        The copies that the engine has from earlier builds; None if it has none.
    tree
        The name of the folder's tree in the session.

    Returns
    -------
    Mapping
        The files by path.

    Raises
    ------
    ContextError
        If the context cannot be read.
    PatternError
        If the engine refuses a pattern.
    """
    follow = tuple(sources)
    if not follow:
        return {}
    copied = copy.files(tree) if copy is not None else {}
    found, as_copied = dict[str, ContextFile](), dict[str, ContextFile]()
    with Contents(context) as contents:
        for entry in walk(context, exclude=load_ignore(context, dockerfile), follow=follow):
            path = os.fsdecode(entry.path)
            found[path] = as_copied[path] = file = _file(context, contents, entry, copied.get(path))
            if (kept := copied.get(path)) is not None and kept.is_reused(entry):
                as_copied[path] = _as_copied(file, kept)
            elif entry.is_regular and entry.linkname:
                # A further name of a file is always linked again, to the copy of the first one.
                as_copied[path] = _as_linked(file, as_copied.get(os.fsdecode(entry.linkname)))
    differ = any(file.stale for file in as_copied.values())
    return as_copied if not differ or (copy is not None and copy.exists()) else found


def update_files(
    files: Mapping[str, ContextFile], copy: ContextCopy, tree: str = "context"
) -> dict[str, ContextFile]:
    """Return the files of a build as the engine has them after the build.

    Parameters
    ----------
    files
        The files as they were read before the build.
    copy
        The engine's copies after the build.
    tree
        The name of the folder's tree in the session.
    """
    copied = copy.files(tree)
    return {path: _as_received(file, copied.get(path)) for path, file in files.items()}


def select_files(
    step: CacheStep,
    files: Mapping[str, ContextFile],
    context_files: Mapping[str, Mapping[str, ContextFile]] | None = None,
) -> dict[str, ContextFile]:
    """Return the files of build contexts that a step uses, each by the name that the cache key holds.

    The name is the index of the source and the path below the source. The location of the source does not
    count, nor does the route of a symlink.

    Parameters
    ----------
    step
        The step.
    files
        The paths of the main context.
    context_files
        The paths of the other contexts, by their names.
    """
    found: dict[str, ContextFile] = {}
    patterns = (
        (pattern, source) for source in step.sources if source.from_context for pattern in source.patterns
    )
    for index, (pattern, source) in enumerate(patterns):
        tree = (context_files or {}).get(source.context, {}) if source.context else files
        selected = _with_parents(pattern, source, tree) if source.parents else _plain(pattern, source, tree)
        if source.context:
            selected = ((n, replace(f, path=f"{source.context}:{f.path}")) for n, f in selected)
        found.update((f"{index}/{name}", file) for name, file in selected)
    return found


def compare_files(
    before: Mapping[str, ContextFile], after: Mapping[str, ContextFile]
) -> tuple[FileChange, ...]:
    """Return what changed between two selections of files, in the order of their paths."""
    found: dict[str, FileChange] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        kind = _change(old, new)
        if kind is not None and (file := new or old) is not None:
            found[file.path] = FileChange(file.path, kind)
    return tuple(found[path] for path in sorted(found))


def unnoticed_changes(files: Iterable[ContextFile]) -> tuple[FileChange, ...]:
    """Return what changed about files without the engine's notice, in the order of their paths."""
    changes = {file.path: FileChange(file.path, file.stale) for file in files if file.stale}
    return tuple(changes[path] for path in sorted(changes))


def _as_copied(file: ContextFile, copied: CopiedFile) -> ContextFile:
    """Return a file with the state that the engine's copy has."""
    mode = 0 if file.kind == "link" else _permissions(copied.mode)
    old = replace(file, mode=mode, xattrs=copied.xattrs)
    if copied.digest is not None:
        old = replace(old, digest=copied.digest)
    # A large file is not read, so it is not known to differ.
    changed = None if file.kind == "file" and file.digest is None else _change(old, file)
    return replace(old, stale=changed)


def _as_received(file: ContextFile, copied: CopiedFile | None) -> ContextFile:
    if copied is None or not (file.stale or (file.kind == "file" and file.digest is None)):
        return file
    received = _as_copied(file, copied)
    return replace(received, stale=file.stale if received == file else None)


def _as_linked(file: ContextFile, first: ContextFile | None) -> ContextFile:
    if first is None:
        return file
    return replace(file, digest=first.digest, xattrs=first.xattrs, stale=first.stale)


def _permissions(go_mode: int) -> int:
    return (go_mode & 0o777) | sum(bit for go, bit in _GO_SPECIAL if go_mode & go)


def _file(context: Path, contents: Contents, entry: ContextEntry, copied: CopiedFile | None) -> ContextFile:
    path = os.fsdecode(entry.path)
    xattrs = counted_xattrs(entry)
    if not entry.is_regular:
        kind: FileKind = "dir" if entry.mode & GO_DIRECTORY else "other"
        if entry.mode & GO_SYMLINK:
            # The permissions of a link have no effect, and differ between systems.
            return ContextFile(path, "link", 0, 0, target=os.fsdecode(entry.linkname), xattrs=xattrs)
        return ContextFile(path, kind, _permissions(entry.mode), 0, xattrs=xattrs)
    large = entry.size > MAX_DIGEST_BYTES
    stamp = _stamp(context / path, even_if_fresh=large)
    # The digest of a large file is known from its transfer, and computed only where it decides.
    decides = copied is not None and copied.size == entry.size and not copied.is_reused(entry)
    read = not large or decides or digest_cache.knows(stamp)
    digest = digest_cache.digest(contents, entry.path, stamp) if read else None
    return ContextFile(path, "file", _permissions(entry.mode), entry.size, digest, xattrs=xattrs, stamp=stamp)


def _stamp(path: Path, *, even_if_fresh: bool) -> str:
    """Identify the state of a file; "" if it is so fresh that a change could leave the same stamp."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    latest = max(found.st_mtime_ns, found.st_ctime_ns)
    if not even_if_fresh and abs(time.time_ns() - latest) < _SETTLED_NS:
        return ""
    times = f"{found.st_mtime_ns}-{found.st_ctime_ns}"
    return f"{found.st_dev}-{found.st_ino}-{found.st_size}-{times}"


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
        return "content"  # too large to compare, but its times changed, so it was written
    if old.mode != new.mode:
        return "mode"
    return "xattrs" if old.xattrs != new.xattrs else None


def _plain(
    pattern: str, source: StepSource, files: Mapping[str, ContextFile]
) -> Iterator[tuple[str, ContextFile]]:
    for name, root in _roots(pattern, files):
        excluded = _matcher(source.exclude)
        below = "" if root == "." else root + "/"
        itself = files.get(root)
        # COPY copies the content of a folder, not the folder.
        if itself and itself.kind != "dir" and not (excluded and excluded.matches(_bytes(itself.path))):
            yield name, itself
        for path, file in files.items():
            inside = path.startswith(below) and path != root
            if inside and not (excluded and excluded.matches(_bytes(path[len(below) :]))):
                yield posixpath.join(name, path[len(below) :]), file


def _with_parents(
    pattern: str, source: StepSource, files: Mapping[str, ContextFile]
) -> Iterator[tuple[str, ContextFile]]:
    """Yield the files of a `COPY --parents`: those below its folder that match its pattern."""
    folder, below_pattern = split_parents(pattern)
    included, excluded = _matcher((below_pattern,)), _matcher(source.exclude)
    for _, root in _roots(folder, files):
        below = "" if root == "." else root + "/"
        inside = ((path[len(below) :], file) for path, file in files.items() if path.startswith(below))
        for name, file in inside:
            matched = below_pattern == "." or (included is not None and included.matches(_bytes(name)))
            if file.kind != "dir" and matched and not (excluded and excluded.matches(_bytes(name))):
                yield name, file


def _roots(pattern: str, files: Mapping[str, ContextFile]) -> Iterator[tuple[str, str]]:
    """Yield each path that a pattern matches: its parts from the first wildcard on, and its resolved path."""
    if not has_wildcards(pattern):
        yield "", _resolve(pattern, files)
        return
    try:
        expression = compile_glob(pattern)
    except PatternError:
        return
    above = pattern[: next(i for i in range(len(pattern)) if has_wildcards(pattern[: i + 1]))].rfind("/") + 1
    for path in files:
        if expression.fullmatch(replace_invalid_utf8(path)):
            yield path[above:], _resolve(path, files)


def _resolve(path: str, files: Mapping[str, ContextFile]) -> str:
    """Follow every symlink in a path, inside of the context."""
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
