"""The files of a build context as the engine sees them, with their contents' digests.

What counts is what BuildKit's content hash counts (cache/contenthash in moby/buildkit): type, permissions,
link target and content; owners are all 0, and times do not count. A digest is computed once for a state of
a file: device, inode, size, and both times stand for it, unless it was written so shortly before that a
further write could have the same times.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from stagelens.buildkit.context import Contents, ContextEntry, FileVanished, load_ignore, walk
from stagelens.buildkit.context.walker import GO_DIRECTORY, GO_SYMLINK
from stagelens.cache.model import ContextFile, FileKind

MAX_DIGEST_BYTES = 512 * 1024**2
_MAX_KNOWN = 200_000
_SETTLED_NS = 2_000_000_000
_GO_SPECIAL = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))


class Digests:
    """Digests by the stamp of the file's state, those used last kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()

    def learn(self, files: Iterable[ContextFile]) -> None:
        """Take over what an earlier manifest knew."""
        for file in files:
            if file.stamp and file.digest:
                self._keep(file.stamp, file.digest)

    def digest(self, contents: Contents, path: bytes, stamp: str) -> str | None:
        """The content's SHA-256; None where the file has gone."""
        if stamp and (known := self._known.get(stamp)):
            self._known.move_to_end(stamp)
            return known
        found = hashlib.sha256()
        try:
            for chunk in contents.read_chunks(path):
                found.update(chunk)
        except FileVanished:
            return None
        if stamp:
            self._keep(stamp, found.hexdigest())
        return found.hexdigest()

    def _keep(self, stamp: str, digest: str) -> None:
        self._known[stamp] = digest
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


digests = Digests()


def read_manifest(context: Path, dockerfile: str | Path, sources: Iterable[str]) -> Mapping[str, ContextFile]:
    """The context's paths that `sources` (paths or patterns of COPY and ADD) can reach, without the ignored.

    `dockerfile` is its path, from the context or an absolute one: what is ignored may be said beside it.

    Raises
    ------
    ContextError: the context cannot be read. PatternError: a pattern that the engine refuses.
    """
    wanted = tuple(sources)
    if not wanted:
        return {}
    found: dict[str, ContextFile] = {}
    with Contents(context) as contents:
        for entry in walk(context, exclude=load_ignore(context, dockerfile), follow=wanted):
            file = _file(context, contents, entry)
            found[file.path] = file
    return found


def _file(context: Path, contents: Contents, entry: ContextEntry) -> ContextFile:
    path = os.fsdecode(entry.path)
    mode = (entry.mode & 0o777) | sum(bit for go, bit in _GO_SPECIAL if entry.mode & go)
    if not entry.is_regular:
        kind: FileKind = "dir" if entry.mode & GO_DIRECTORY else "other"
        if entry.mode & GO_SYMLINK:
            # A link's own permissions mean nothing, and differ between systems.
            return ContextFile(path, "link", 0, 0, target=os.fsdecode(entry.linkname))
        return ContextFile(path, kind, mode, 0)
    large = entry.size > MAX_DIGEST_BYTES
    stamp = _stamp(context / path, even_if_fresh=large)
    digest = None if large else digests.digest(contents, entry.path, stamp)
    return ContextFile(path, "file", mode, entry.size, digest, stamp=stamp)


def _stamp(path: Path, *, even_if_fresh: bool) -> str:
    """What stands for the file's present state, or "" where it could still change without a trace."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    latest = max(found.st_mtime_ns, found.st_ctime_ns)
    if not even_if_fresh and abs(time.time_ns() - latest) < _SETTLED_NS:
        return ""
    times = f"{found.st_mtime_ns}-{found.st_ctime_ns}"
    return f"{found.st_dev}-{found.st_ino}-{found.st_size}-{times}"
