"""Folders of a context, opened one by one so that no symlink is ever followed.

On Unix a folder is a descriptor: whatever is renamed or swapped for a link meanwhile, a name looked up in
it is looked up there. Windows has no such descriptors; there a folder is its path, and is checked to be no
reparse point (symlink, junction) when it is opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd and hasattr(os, "O_NOFOLLOW")
# macOS keeps its own notes there; fsutil leaves them out as well.
_PRIVATE_XATTRS = "com.apple."
_PROC = "/proc/self/fd"
_KEPT_FOLDERS = 32
# O_NONBLOCK: opening a named pipe that took a file's place must not hang.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class Name(NamedTuple):
    """A name in a folder: as bytes, as Python's str, and whether it is a folder (no symlink to one)."""

    raw: bytes
    text: str
    is_folder: bool


class OpenFolder(Protocol):
    """An open folder; every method raises OSError as the system does.

    For the system's calls that have no method here: `os.CALL(folder.name(x), dir_fd=folder.descriptor)`.
    """

    @property
    def descriptor(self) -> int | None:
        """The open folder, None where names are whole paths."""
        ...

    def name(self, name: str) -> str:
        """What to call a name in it, together with `descriptor`."""
        ...

    def names(self) -> list[Name]:
        """What is in it, sorted by bytes."""
        ...

    def status(self, name: str = "") -> os.stat_result:
        """Of a name in it (a link itself, not its target), or of the folder."""
        ...

    def target(self, name: str) -> bytes:
        """What the symlink says, with '/'."""
        ...

    def xattrs(self, name: str = "") -> tuple[tuple[str, bytes], ...]:
        """Extended attributes of a name in it, or of the folder; () where the system has none."""
        ...

    def enter(self, name: str) -> OpenFolder:
        """Open a folder in it; a symlink raises NotADirectoryError."""
        ...

    def read(self, name: str) -> int:
        """A descriptor to read a file with; a symlink raises OSError."""
        ...

    def close(self) -> None:
        """Give the descriptor back; calling it again does nothing."""
        ...


def open_root(root: Path, *, descriptors: bool = HAS_DESCRIPTORS) -> OpenFolder:
    """The folder that everything is looked up from; `root` itself may be a symlink."""
    path = os.path.realpath(root)
    if descriptors:
        return _Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    if not stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - the same call as everywhere here
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return _ByPath(path)


def open_below(root: OpenFolder, path: bytes) -> OpenFolder:
    """The folder `path` below `root` (b"" is root itself), opened anew: the caller closes it.

    Raises OSError as the system does, and FileNotFoundError for a path that leads up or begins with '/'.
    """
    parts = path.split(b"/") if path else []
    if b".." in parts or b"" in parts:
        raise FileNotFoundError(errno.ENOENT, "not a path below the context", path)
    folder = root.enter(".")
    for part in parts:
        try:
            inner = folder.enter(os.fsdecode(part))
        finally:
            folder.close()
        folder = inner
    return folder


class OpenFolders:
    """A cache of open folders by path: requests for the files of one folder arrive in a row."""

    def __init__(self, root: OpenFolder) -> None:
        self._root = root
        self._open: OrderedDict[bytes, OpenFolder] = OrderedDict()

    def get(self, path: bytes) -> OpenFolder:
        """The folder `path`, open until others were asked for; raises as `open_below`."""
        folder = self._open.get(path)
        if folder is None:
            folder = self._open[path] = open_below(self._root, path)
            if len(self._open) > _KEPT_FOLDERS:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(path)
        return folder

    def close(self) -> None:
        """Close them, and the root."""
        for folder in self._open.values():
            folder.close()
        self._open.clear()
        self._root.close()


def _sorted_names(place: int | str) -> list[Name]:
    with os.scandir(place) as found:
        names = [Name(os.fsencode(one.name), one.name, one.is_dir(follow_symlinks=False)) for one in found]
    names.sort()
    return names


class _Descriptor:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def descriptor(self) -> int:
        return self._fd

    def name(self, name: str) -> str:
        return name

    def names(self) -> list[Name]:
        return _sorted_names(self._fd)

    def status(self, name: str = "") -> os.stat_result:
        if not name:
            return os.fstat(self._fd)
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def target(self, name: str) -> bytes:
        return os.fsencode(os.readlink(name, dir_fd=self._fd))

    def xattrs(self, name: str = "") -> tuple[tuple[str, bytes], ...]:
        if not hasattr(os, "listxattr"):
            return ()
        # There is no call that takes a folder and a name; the descriptor's own path comes to the same.
        place = f"{_PROC}/{self._fd}/{name}" if name else self._fd
        try:
            keys = os.listxattr(place, follow_symlinks=not name)
        except FileNotFoundError:
            return ()
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return ()
            raise
        return tuple(_values(place, keys, follow=not name)) if keys else ()

    def enter(self, name: str) -> OpenFolder:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            return _Descriptor(os.open(name, flags, dir_fd=self._fd))
        except OSError as error:
            if error.errno == errno.ELOOP:  # what macOS says of a symlink; Linux says ENOTDIR
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from error
            raise

    def read(self, name: str) -> int:
        return os.open(name, _READ | os.O_NOFOLLOW, dir_fd=self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def _values(place: int | str, keys: list[str], follow: bool) -> Iterator[tuple[str, bytes]]:
    for key in sorted(keys):
        if key.startswith(_PRIVATE_XATTRS):
            continue
        try:
            yield key, os.getxattr(place, key, follow_symlinks=follow)
        except OSError:
            continue  # listed, but not ours to read: fsutil leaves it out as well


class _ByPath:
    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def descriptor(self) -> None:
        return None

    def name(self, name: str) -> str:
        return os.path.join(self._path, name)  # noqa: PTH118 - hot, and names are plain str

    def names(self) -> list[Name]:
        return _sorted_names(self._path)

    def status(self, name: str = "") -> os.stat_result:
        return os.lstat(self.name(name) if name else self._path)

    def target(self, name: str) -> bytes:
        return os.fsencode(os.readlink(self.name(name))).replace(os.fsencode(os.sep), b"/")  # noqa: PTH115

    def xattrs(self, name: str = "") -> tuple[tuple[str, bytes], ...]:
        return ()

    def enter(self, name: str) -> OpenFolder:
        status = self.status(name)
        if not stat.S_ISDIR(status.st_mode) or getattr(status, "st_reparse_tag", 0):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return _ByPath(self.name(name))

    def read(self, name: str) -> int:
        if stat.S_ISLNK(self.status(name).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        return os.open(self.name(name), _READ)

    def close(self) -> None:
        pass
