"""The contents of files, read so that nothing outside of the context can be reached.

A file may change between its announcement and the engine's request. fsutil's sender opens it at the request
and sends it to its end; a file that it cannot open arrives empty, without an error. The receiver does not
compare the size with the announced one, so a file that grew or shrank arrives with its current size, and is
requested again next time because its modification time differs. This module differs in two points: a file
that vanished or cannot be read is an error, not an empty file in an image; and data that is appended during
the read is left for the next time, so that a writer cannot prolong the read forever.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from stagelens.buildkit.context.folder import OpenFolders, open_root
from stagelens.buildkit.context.symlinks import resolve_symlinks
from stagelens.buildkit.errors import ContextError, FileVanished, unreadable_path_error

CHUNK_BYTES = 256 * 1024


class Contents:
    """An open context whose files several threads may read; use it as a context manager, or call `close`.

    The most recent folders stay open, since the engine requests the files of a folder one after the other.

    Parameters
    ----------
    root
        The context's folder.

    Raises
    ------
    ContextError
        If `root` is not a folder.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._root = open_root(root)
        except OSError as error:
            raise unreadable_path_error(os.fsencode(root), error) from error
        self._folders = OpenFolders(self._root)
        self._lock = threading.Lock()

    def __enter__(self) -> Contents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folders; files that are being read stay open until their end."""
        with self._lock:
            self._folders.close()

    def resolve_file(self, path: str) -> bytes | None:
        """Return the regular file that a path is or links to inside of the root, None if there is none.

        Parameters
        ----------
        path
            A path relative to the root.
        """
        found = resolve_symlinks(self._root, path)
        if found is None:
            return None
        above, _, name = found.rpartition(b"/")
        with self._lock, suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISREG(self._folders.get(above).status(os.fsdecode(name)).st_mode):
                return found
        return None

    def read_chunks(self, path: bytes) -> Generator[bytes]:
        """Yield the content of a regular file in chunks of at most CHUNK_BYTES; close the generator to stop.

        Parameters
        ----------
        path
            A path relative to the root.

        Raises
        ------
        ContextError
            If the file vanished, cannot be read, or is no longer a regular file.
        """
        with self.open_file(path) as (descriptor, size):
            yield from read_up_to(descriptor, size, path)

    @contextmanager
    def open_file(self, path: bytes) -> Generator[tuple[int, int]]:
        """Open a regular file, and yield its descriptor and current size.

        As in the walk, a socket counts as an empty file; its descriptor is -1.

        Parameters
        ----------
        path
            A path relative to the root.

        Raises
        ------
        ContextError
            If the file vanished, cannot be read, or is no longer a regular file.
        """
        try:
            descriptor = self._open(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _vanished(path) from error
        except OSError as error:
            raise (
                _changed(path) if error.errno == errno.ELOOP else unreadable_path_error(path, error)
            ) from error
        if descriptor < 0:
            yield descriptor, 0
            return
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _changed(path)
            yield descriptor, status.st_size
        finally:
            os.close(descriptor)

    def _open(self, path: bytes) -> int:
        above, _, name = path.rpartition(b"/")
        text = os.fsdecode(name)
        with self._lock:  # another thread could close the folder
            folder = self._folders.get(above)
            try:
                return folder.read(text)
            except OSError as error:
                if error.errno == errno.ENXIO and stat.S_ISSOCK(folder.status(text).st_mode):
                    return -1
                raise


def read_up_to(descriptor: int, size: int, path: bytes) -> Iterator[bytes]:
    """Yield at most `size` bytes in chunks of at most CHUNK_BYTES, less if the file has become shorter.

    Parameters
    ----------
    descriptor
        The open file.
    size
        The most bytes to read.
    path
        The file's path, for errors.
    """
    while size > 0:
        try:
            chunk = os.read(descriptor, min(size, CHUNK_BYTES))
        except OSError as error:
            raise unreadable_path_error(path, error) from error
        if not chunk:
            return
        size -= len(chunk)
        yield chunk


def _vanished(path: bytes) -> ContextError:
    return FileVanished(
        "A file of the build context vanished during the build.",
        where=os.fsdecode(path),
        why="it existed when the context was listed",
        remedy="build again; exclude temporary files in .dockerignore",
    )


def _changed(path: bytes) -> ContextError:
    return ContextError(
        "A file of the build context is no longer a regular file.",
        where=os.fsdecode(path),
        why="it was one when the context was listed, and changed during the build",
        remedy="build again; exclude temporary files in .dockerignore",
    )
