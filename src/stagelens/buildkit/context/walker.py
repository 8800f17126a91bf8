"""Walk a build context in the engine's order, with the metadata of each path.

Order and filter are fsutil's (tonistiigi/fsutil: fs.go, filter.go, stat_unix.go): depth first, the names of a
folder in byte order, a folder before its contents. An excluded folder with included contents is announced
just before them.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stagelens.buildkit.context.folder import Name, OpenFolder, open_below, open_root
from stagelens.buildkit.context.patterns import Matcher
from stagelens.buildkit.context.symlinks import expand_followpaths
from stagelens.buildkit.errors import ContextError, unreadable_path_error

# Go's os.FileMode bits, as in the protocol. A socket becomes an empty regular file, like in fsutil.
GO_DIRECTORY = 1 << 31
GO_SYMLINK = 1 << 27
_GO_TYPE = {
    stat.S_IFDIR: GO_DIRECTORY,
    stat.S_IFLNK: GO_SYMLINK,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFCHR: (1 << 26) | (1 << 21),
    stat.S_IFREG: 0,
    stat.S_IFSOCK: 0,
}
_GO_IRREGULAR = 1 << 19
_GO_SPECIAL = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))
TYPE_BITS = (1 << 31) | (1 << 27) | (1 << 26) | (1 << 25) | (1 << 24) | (1 << 21) | (1 << 19)
# Open folders; a deeper tree closes the upper ones and reopens them on the way back.
_MAX_OPEN = 128


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """One path of a context.

    Attributes
    ----------
    path
        Relative to the context, with '/', in bytes as on disk.
    mode
        Type and permissions in Go's bits.
    size
        Bytes of content.
    mtime_ns
        The modification time.
    linkname
        A symlink's target; for a further name of a hard link, the first name announced.
    devmajor
        The device's major number.
    devminor
        The device's minor number.
    xattrs
        Extended attributes.
    uid
        The owner.
    gid
        The group.
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

    @property
    def is_regular(self) -> bool:
        """Whether the engine may request its content (fsutil's fileCanRequestData)."""
        return not self.mode & TYPE_BITS


@functools.cache
def go_mode(mode: int, *, windows: bool = os.name == "nt") -> int:
    """Convert a `st_mode` to Go's os.FileMode.

    Parameters
    ----------
    mode
        The mode of an `os.stat_result`.
    windows
        Whether permissions are 0755 or 0555, as with the docker CLI on Windows.
    """
    permissions = (mode & 0o777 | 0o111) & 0o755 if windows else mode & 0o777
    kind = _GO_TYPE.get(stat.S_IFMT(mode), _GO_IRREGULAR)
    return kind | permissions | sum(go for bit, go in _GO_SPECIAL if mode & bit)


def walk(
    root: Path,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    follow: Iterable[str] = (),
    keep_owner: bool = False,
) -> Generator[ContextEntry]:
    """Yield the entries below a context's folder; close the generator to stop early.

    `include`, `exclude` and `follow` are what BuildKit sends. Paths that vanish during the walk are left out.

    Parameters
    ----------
    root
        The context's folder, which is not announced itself.
    include
        Patterns to include; everything without any.
    exclude
        Patterns to exclude.
    follow
        Paths to include together with the targets of their symlinks, inside of `root`.
    keep_owner
        Whether to announce owners. By default they are 0, like with the docker CLI: a context does not carry
        the user's id into an image.

    Raises
    ------
    ContextError
        If `root` is not a folder, a folder cannot be read, or a pattern is invalid.
    """
    try:
        top = open_root(root)
    except OSError as error:
        raise ContextError(
            "The build context is not a readable folder.",
            where=str(root),
            why=error.strerror,
            remedy="pass the path of a folder",
        ) from error
    wanted = expand_followpaths(top, tuple(include), tuple(follow))
    included = Matcher(wanted) if wanted else None
    patterns = tuple(exclude)
    excluded = Matcher(patterns) if patterns else None
    return _Walker(top, included, excluded, keep_owner).run()


class _Level:
    """A folder on the way down: its remaining names, the matchers' states, and its postponed entry."""

    __slots__ = ("excluded", "folder", "included", "names", "pending", "prefix")

    def __init__(self, folder: OpenFolder, prefix: bytes, included: int, excluded: int) -> None:
        self.folder: OpenFolder | None = folder
        self.prefix = prefix
        self.included = included
        self.excluded = excluded
        self.names = iter(folder.names())
        self.pending: ContextEntry | None = None


class _Walker:
    def __init__(
        self, top: OpenFolder, include: Matcher | None, exclude: Matcher | None, keep_owner: bool
    ) -> None:
        self._top = top
        self._include = include
        self._exclude = exclude
        self._keep_owner = keep_owner
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._levels: list[_Level] = []
        self._waiting = False

    def run(self) -> Generator[ContextEntry]:
        try:
            self._levels.append(_Level(self._top, b"", 0, 0))
            while self._levels:
                level = self._levels[-1]
                name = next(level.names, None)
                if name is None:
                    self._leave()
                    continue
                entry = self._visit(level, name)
                if entry is not None:
                    if self._waiting:
                        yield from self._postponed()
                    yield entry
        except OSError as error:
            raise unreadable_path_error(b"", error) from error
        finally:
            while self._levels:
                self._leave()
            self._top.close()

    def _visit(self, level: _Level, name: Name) -> ContextEntry | None:
        """Return the name's entry if it is to be announced; a folder becomes the next level."""
        path = level.prefix + name.raw
        kept, below, included, excluded = self._judge(path, level, name.is_folder)
        if not kept and not below:
            return None
        try:
            folder = self._folder(level)
            if below:
                entry = self._enter(folder, name, path, kept, included, excluded)
            else:
                entry = self._entry(folder, name, path)
        except (FileNotFoundError, NotADirectoryError):
            return None  # vanished or changed since the folder was listed
        except OSError as error:
            raise unreadable_path_error(path, error) from error
        return entry if kept else None

    def _judge(self, path: bytes, level: _Level, is_folder: bool) -> tuple[bool, bool, int, int]:
        """Return whether to announce the path, whether to look below it, and the matchers' states."""
        kept, below, included, excluded = True, is_folder, 0, 0
        if self._include is not None:
            kept, included = self._include.step(path, level.included)
            if not kept:
                below = is_folder and self._include.may_match_below(path, negated=False)
        if self._exclude is not None and (kept or below):
            out, excluded = self._exclude.step(path, level.excluded)
            if out:
                kept = False
                below = below and self._exclude.may_match_below(path, negated=True)
        return kept, below, included, excluded

    def _enter(
        self, folder: OpenFolder, name: Name, path: bytes, kept: bool, included: int, excluded: int
    ) -> ContextEntry | None:
        """Make the folder the next level; return its entry, None if it is unreadable and not announced."""
        try:
            inner = folder.enter(name.text)
            level = _Level(inner, path + b"/", included, excluded)
        except PermissionError:
            if kept:
                raise
            return None
        entry = self._described(path, inner.status(), b"", inner.xattrs())
        if not kept:
            level.pending = entry
            self._waiting = True
        self._levels.append(level)
        if len(self._levels) > _MAX_OPEN:
            far = self._levels[-_MAX_OPEN]
            if far.folder is not None and far.folder is not self._top:
                far.folder.close()
                far.folder = None
        return entry

    def _leave(self) -> None:
        folder = self._levels.pop().folder
        if folder is not None and folder is not self._top:
            folder.close()

    def _folder(self, level: _Level) -> OpenFolder:
        if level.folder is None:
            level.folder = open_below(self._top, level.prefix[:-1])
        return level.folder

    def _postponed(self) -> Iterator[ContextEntry]:
        """Yield the folders above that were postponed: they come before their contents."""
        for level in self._levels:
            if level.pending is not None:
                yield level.pending
                level.pending = None
        self._waiting = False

    def _entry(self, folder: OpenFolder, name: Name, path: bytes) -> ContextEntry:
        status = folder.status(name.text)
        link = b""
        if stat.S_ISLNK(status.st_mode):
            link = folder.target(name.text)
        elif status.st_nlink > 1:
            first = self._first_names.setdefault((status.st_dev, status.st_ino), path)
            link = b"" if first is path else first
        return self._described(path, status, link, folder.xattrs(name.text))

    def _described(
        self, path: bytes, status: os.stat_result, link: bytes, xattrs: tuple[tuple[str, bytes], ...]
    ) -> ContextEntry:
        major = minor = 0
        if device := getattr(status, "st_rdev", 0):
            major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
        mode = go_mode(status.st_mode)
        size = 0 if mode & GO_DIRECTORY else status.st_size
        uid, gid = (status.st_uid, status.st_gid) if self._keep_owner else (0, 0)
        return ContextEntry(path, mode, size, status.st_mtime_ns, link, major, minor, xattrs, uid, gid)
