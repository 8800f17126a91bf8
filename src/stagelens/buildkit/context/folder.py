"""Folders of a context, opened one by one so that no symlink is ever followed.

On Unix an open folder is a descriptor: lookups in it are unaffected by renames and by symlinks that replace
its path. Windows has no such descriptors; there a folder is its path, which must not be a reparse point
(symlink, junction) when it is opened.
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
# Internal attributes of macOS; fsutil leaves them out, too.
_PRIVATE_XATTRS = "com.apple."
_PROC = "/proc/self/fd"
_MAX_OPEN_FOLDERS = 32
# O_NONBLOCK: to open a named pipe that replaced a file must not hang.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class Name(NamedTuple):
    """A name in a folder: as bytes, as Python str, and whether it is a folder (not a symlink to one)."""

    raw: bytes
    text: str
    is_folder: bool


class OpenFolder(Protocol):
    """An open folder; every method raises OSError as the system does.

    Other calls of the system take this form: `os.CALL(folder.name(x), dir_fd=folder.descriptor)`.
    """

    @property
    def descriptor(self) -> int | None:
        """The open folder's descriptor, None if names are whole paths."""
        ...

    def name(self, name: str) -> str:
        """Return the name to use together with `descriptor`."""
        ...

    def names(self) -> list[Name]:
        """List the folder, sorted by bytes."""
        ...

    def status(self, name: str = "") -> os.stat_result:
        """Return the status of a name (of a symlink, not its target), or of the folder."""
        ...

    def target(self, name: str) -> bytes:
        """Return the target of a symlink, with '/'."""
        ...

    def xattrs(self, name: str = "") -> tuple[tuple[str, bytes], ...]:
        """Return extended attributes of a name or of the folder, () if the system has none."""
        ...

    def enter(self, name: str) -> OpenFolder:
        """Open a folder in this one; a symlink raises NotADirectoryError."""
        ...

    def read(self, name: str) -> int:
        """Return a descriptor to read a file; a symlink raises OSError."""
        ...

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        ...


def open_root(root: Path, *, descriptors: bool = HAS_DESCRIPTORS) -> OpenFolder:
    """Open the folder from which all paths are looked up.

    Parameters
    ----------
    root
        The folder; it may be a symlink.
    descriptors
        Whether to use descriptors.
    """
    path = os.path.realpath(root)
    if descriptors:
        return _Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    if not stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - consistent with the other calls
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    return _ByPath(path)


def open_below(root: OpenFolder, path: bytes) -> OpenFolder:
    """Open a folder below `root`, which the caller must close. Raises OSError as the system does.

    Parameters
    ----------
    root
        An open folder.
    path
        A path relative to it, b"" for itself.

    Raises
    ------
    FileNotFoundError
        If the path leads up or begins with '/', too.
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
        """Return the folder, which stays open until others replace it. Raises the errors of `open_below`."""
        folder = self._open.get(path)
        if folder is None:
            folder = self._open[path] = open_below(self._root, path)
            if len(self._open) > _MAX_OPEN_FOLDERS:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(path)
        return folder

    def close(self) -> None:
        """Close all folders and the root."""
        for folder in self._open.values():
            folder.close()
        self._open.clear()
        self._root.close()


def _sorted_names(location: int | str) -> list[Name]:
    with os.scandir(location) as found:
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
        # No call takes a folder and a name; the path of the descriptor is equivalent.
        location = f"{_PROC}/{self._fd}/{name}" if name else self._fd
        try:
            keys = os.listxattr(location, follow_symlinks=not name)
        except FileNotFoundError:
            return ()
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return ()
            raise
        return tuple(_values(location, keys, follow=not name)) if keys else ()

    def enter(self, name: str) -> OpenFolder:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            return _Descriptor(os.open(name, flags, dir_fd=self._fd))
        except OSError as error:
            if error.errno == errno.ELOOP:  # macOS's error for a symlink; Linux has ENOTDIR
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


def _values(location: int | str, keys: list[str], follow: bool) -> Iterator[tuple[str, bytes]]:
    for key in sorted(keys):
        if key.startswith(_PRIVATE_XATTRS):
            continue
        try:
            yield key, os.getxattr(location, key, follow_symlinks=follow)
        except OSError:
            continue  # listed but not readable: fsutil leaves it out, too


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
