"""The paths of a build context in the order that the engine expects, each with its metadata.

Order and filter are fsutil's (tonistiigi/fsutil, walker.go and filter.go): depth first, the names of a
folder in byte order, a folder before what is in it; a folder that is left out but has something included
below it is announced just before that.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stagelens.buildkit.context.errors import ContextError
from stagelens.buildkit.context.patterns import Matcher

# Go's os.FileMode bits, which the wire uses.
_GO_TYPE = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFCHR: (1 << 26) | (1 << 21),
    stat.S_IFREG: 0,
}
_GO_SPECIAL = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
_MAX_LINKS = 255


@dataclass(frozen=True, slots=True)
class Entry:
    """One path. `path` is relative with '/', in bytes as on disk; `mode` has Go's bits; times in ns.

    `linkname` is a symlink's target, or for a further name of a file with several the first one announced.
    Owners are 0: like the docker CLI, a context does not carry the builder's own user into the image.
    """

    path: bytes
    mode: int
    size: int
    mtime_ns: int
    linkname: bytes = b""
    devmajor: int = 0
    devminor: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    uid: int = 0
    gid: int = 0


def walk(
    root: Path,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    follow: Iterable[str] = (),
) -> Iterator[Entry]:
    """Yield the context's entries below `root` (not root itself).

    `include`, `exclude` and `follow` are what BuildKit sends; `follow` names are included together with
    what symlinks in them lead to, inside `root`.

    Raises
    ------
    ContextError: `root` is no folder, a folder cannot be read, or a pattern is bad.
    """
    if not root.is_dir():
        raise ContextError("The build context is not a folder.", where=str(root))
    wanted = [*include, *follow_links(root, follow)]
    return _Walker(root, Matcher(wanted), Matcher(list(exclude))).run()


_State = tuple[tuple[bool, ...] | None, tuple[bool, ...] | None]


class _Walker:
    def __init__(self, root: Path, include: Matcher, exclude: Matcher) -> None:
        self._root = os.fsencode(root)
        self._include = include
        self._exclude = exclude
        self._first_names: dict[tuple[int, int], bytes] = {}
        # Folders on the way down that were not announced yet.
        self._waiting: list[tuple[bytes, os.stat_result]] = []

    def run(self) -> Iterator[Entry]:
        stack: list[tuple[Iterator[os.DirEntry[bytes]], bytes, _State]] = [
            (self._list(b""), b"", (None, None))
        ]
        while stack:
            names, folder, state = stack[-1]
            found = next(names, None)
            if found is None:
                stack.pop()
                if self._waiting and self._waiting[-1][0] == folder:
                    self._waiting.pop()
                continue
            path = folder + b"/" + found.name if folder else found.name
            try:
                status = found.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # vanished since the folder was read
            kept, below, state = self._judge(os.fsdecode(path), state, stat.S_ISDIR(status.st_mode))
            if kept and not stat.S_ISSOCK(status.st_mode):
                for parent, parent_status in self._waiting:
                    yield self._entry(parent, parent_status)
                self._waiting.clear()
                yield self._entry(path, status)
            if below:
                if not kept:
                    self._waiting.append((path, status))
                stack.append((self._list(path), path, state))

    def _judge(self, path: str, state: _State, is_folder: bool) -> tuple[bool, bool, _State]:
        """Whether the path is announced, whether to look below it, and the matchers' answers for that."""
        kept, below = True, is_folder
        included, excluded = state
        if self._include:
            kept, included = self._include.match(path, included)
            below = is_folder and (kept or self._include.may_match_below(path, negated=False))
        if self._exclude:
            out, excluded = self._exclude.match(path, excluded)
            if out:
                kept = False
                below = below and self._exclude.may_match_below(path, negated=True)
        return kept, below, (included, excluded)

    def _list(self, folder: bytes) -> Iterator[os.DirEntry[bytes]]:
        place = os.path.join(self._root, folder) if folder else self._root  # noqa: PTH118 - bytes
        try:
            with os.scandir(place) as names:
                return iter(sorted(names, key=lambda name: name.name))
        except (FileNotFoundError, NotADirectoryError):
            return iter(())
        except OSError as error:
            raise ContextError(
                "A folder of the build context cannot be read.",
                where=os.fsdecode(place),
                why=error.strerror,
                remedy="exclude it in .dockerignore, or make it readable",
            ) from error

    def _entry(self, path: bytes, status: os.stat_result) -> Entry:
        kind = stat.S_IFMT(status.st_mode)
        mode = _GO_TYPE.get(kind, 1 << 19) | (status.st_mode & 0o777)
        for bit, go_bit in _GO_SPECIAL:
            if status.st_mode & bit:
                mode |= go_bit
        place = os.path.join(self._root, path)  # noqa: PTH118 - bytes
        size, link = (status.st_size, b"") if kind == stat.S_IFREG else (0, b"")
        if kind == stat.S_IFLNK:
            try:
                link = os.readlink(place)  # noqa: PTH115 - bytes
            except OSError:
                link = b""
        elif kind == stat.S_IFREG and status.st_nlink > 1:
            first = self._first_names.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                size, link = 0, first
        device = status.st_rdev if kind in (stat.S_IFBLK, stat.S_IFCHR) else 0
        return Entry(
            path=path,
            mode=mode,
            size=size,
            mtime_ns=status.st_mtime_ns,
            linkname=link,
            devmajor=os.major(device) if device else 0,
            devminor=os.minor(device) if device else 0,
            xattrs=_xattrs(place),
        )


def _xattrs(place: bytes) -> tuple[tuple[str, bytes], ...]:
    if not hasattr(os, "listxattr"):
        return ()
    try:
        names = os.listxattr(place, follow_symlinks=False)
        return tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in names)
    except OSError:
        return ()


def follow_links(root: Path, paths: Iterable[str]) -> Sequence[str]:
    """The paths, and every path that symlinks on the way lead to inside `root` (fsutil's FollowLinks)."""
    found: dict[str, None] = {}
    todo = [posixpath.normpath("/" + path).lstrip("/") for path in paths]
    while todo and len(found) < _MAX_LINKS * 100:
        path = todo.pop()
        if path in found:
            continue
        found[path] = None
        todo += _targets(root, path)
    return [path for path in found if path] if "" not in found else []


def _targets(root: Path, path: str) -> list[str]:
    """What symlinks among the components of `path` point to, with the rest of the path appended."""
    parts = path.split("/")
    for index in range(1, len(parts) + 1):
        here = "/".join(parts[:index])
        if any(character in parts[index - 1] for character in "*?["):
            folder = root / "/".join(parts[: index - 1])
            matcher = Matcher([parts[index - 1]])
            try:
                names = [name for name in os.listdir(folder) if matcher.match(name)[0]]  # noqa: PTH208
            except OSError:
                return []
            links = [name for name in names if (folder / name).is_symlink()]
            return ["/".join([*parts[: index - 1], name, *parts[index:]]) for name in links]
        if (root / here).is_symlink():
            target = str((root / here).readlink())
            base = "/" if target.startswith("/") else "/" + "/".join(parts[: index - 1])
            resolved = posixpath.normpath(posixpath.join(base, target)).lstrip("/")
            return ["/".join(part for part in (resolved, *parts[index:]) if part)]
    return []
