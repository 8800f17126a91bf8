"""A file's bytes, read so that nothing outside of the context can be reached.

What happens to a file between its announcement and the engine's request: fsutil's sender opens it then and
sends what it reads, up to the end; a file that it cannot open arrives empty, without a word. The receiver
compares nothing with the announced size, so a file that grew or shrank arrives as it is by then, and is
asked for again next time, since its modification time has changed. Here it is the same, but for two points:
a file that vanished or cannot be read is an error and not an empty file in an image, and what is appended
while we read is left for the next time, so that no writer can keep us forever.
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
    """Opens files below `root`; may be used from several threads, and is to be closed.

    The folders used last stay open, since the engine asks for the files of a folder one after the other.
    """

    def __init__(self, root: Path) -> None:
        """Open `root`. Raises ContextError where it is no folder."""
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
        """The regular file that `path` is or links to inside of the root; None where there is none."""
        found = resolve_symlinks(self._root, path)
        if found is None:
            return None
        above, _, name = found.rpartition(b"/")
        with self._lock, suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISREG(self._folders.get(above).status(os.fsdecode(name)).st_mode):
                return found
        return None

    def read_chunks(self, path: bytes) -> Generator[bytes]:
        """What the regular file `path` holds, at most CHUNK_BYTES at a time; close it to stop early.

        Raises
        ------
        ContextError: it vanished, cannot be read, or is no regular file any more.
        """
        with self.open_file(path) as (descriptor, size):
            yield from read_up_to(descriptor, size, path)

    @contextmanager
    def open_file(self, path: bytes) -> Generator[tuple[int, int]]:
        """A descriptor of the regular file `path` and its size by now. Raises ContextError as `chunks`.

        A socket counts as an empty file, as it does in the walk; its descriptor is -1.
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
        with self._lock:  # no other thread may close the folder meanwhile
            folder = self._folders.get(above)
            try:
                return folder.read(text)
            except OSError as error:
                if error.errno == errno.ENXIO and stat.S_ISSOCK(folder.status(text).st_mode):
                    return -1
                raise


def read_content(root: Path, path: bytes) -> Iterator[bytes]:
    """Chunks of one regular file below `root`; see `Contents.read_chunks`, which is for many."""
    with Contents(root) as contents:
        yield from contents.read_chunks(path)


def read_up_to(descriptor: int, size: int, path: bytes) -> Iterator[bytes]:
    """At most `size` bytes in chunks of at most CHUNK_BYTES; less where the file has become shorter."""
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
        why="it was there when the context was listed",
        remedy="build again; exclude files that come and go in .dockerignore",
    )


def _changed(path: bytes) -> ContextError:
    return ContextError(
        "A file of the build context became something else during the build.",
        where=os.fsdecode(path),
        why="it was a regular file when the context was listed, and is none now",
        remedy="build again; exclude files that come and go in .dockerignore",
    )
