"""A file's bytes, read so that nothing outside of the context can be reached."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from stagelens.buildkit.context.errors import ContextError

CHUNK_BYTES = 256 * 1024
# Windows has no O_NOFOLLOW and no folder descriptors; there a plain open must do.
_SAFE_OPEN = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def read_content(root: Path, path: bytes) -> Iterator[bytes]:
    """Chunks of at most `CHUNK_BYTES` of the regular file `path` below `root`.

    No component may be a symlink by now: a file that somebody swaps for a link during the transfer is
    refused and not followed. A file that grew is sent whole, as the docker CLI does.

    Raises
    ------
    ContextError: the file vanished, cannot be read, or is no regular file any more.
    """
    try:
        descriptor = _open(root, path)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        raise ContextError(
            "A file of the build context vanished during the build."
            if gone
            else "A file of the build context cannot be read.",
            where=os.fsdecode(path),
            why=error.strerror,
            remedy="build again" if gone else "exclude it in .dockerignore, or make it readable",
        ) from error
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContextError("A file of the build context changed its kind.", where=os.fsdecode(path))
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _open(root: Path, path: bytes) -> int:
    # O_NONBLOCK: opening a named pipe that took the file's place must not hang.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not _SAFE_OPEN:
        return os.open(os.path.join(os.fsencode(root), path), flags)  # noqa: PTH118 - bytes
    *folders, name = path.split(b"/")
    with contextlib.ExitStack() as stack:
        here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, here)
        for folder in folders:
            here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            stack.callback(os.close, here)
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
