"""The context as a tar stream, for engines without a session.

The format is GNU's: BuildKit decides from the first 1,024 bytes whether an upload is an archive, and with PAX
(or a GNU long name) the first member's real header follows after them. So the `extra` files come first, and
one of them must have a short name; in a build it is the Dockerfile. The format has no extended attributes,
and times in whole seconds; the docker CLI's upload has the same limits.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stagelens.buildkit.context.content import CHUNK_BYTES, Contents, read_up_to
from stagelens.buildkit.context.patterns import encode_path
from stagelens.buildkit.context.walker import GO_DIRECTORY, GO_SYMLINK, TYPE_BITS, ContextEntry, walk
from stagelens.buildkit.errors import ContextError, FileVanished

_KINDS = {
    0: tarfile.REGTYPE,
    GO_DIRECTORY: tarfile.DIRTYPE,
    GO_SYMLINK: tarfile.SYMTYPE,
    1 << 26: tarfile.BLKTYPE,
    (1 << 26) | (1 << 21): tarfile.CHRTYPE,
    1 << 25: tarfile.FIFOTYPE,
}
_SPECIAL = ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000))


def tar_stream(
    root: Path, exclude: Sequence[str] = (), extra: Sequence[tuple[str, bytes]] = ()
) -> Iterator[bytes]:
    """Yield chunks of a tar of the `extra` files, then of the context.

    Memory is bounded by a few chunks. A file that vanishes during the walk is left out, and so is data that
    is appended to a file during the read.

    Parameters
    ----------
    root
        The context's folder.
    exclude
        Patterns to exclude.
    extra
        Further files (name, content); each replaces a file of that name.

    Raises
    ------
    ContextError
        If a path cannot be read, or a file shrinks during the read (its header was already sent).
    """
    return _gathered(_members(root, exclude, extra))


def _members(root: Path, exclude: Sequence[str], extra: Sequence[tuple[str, bytes]]) -> Iterator[bytes]:
    names = {encode_path(name) for name, _ in extra}
    for name, content in extra:
        yield from (
            _header(ContextEntry(encode_path(name), 0o644, len(content), 0)),
            content,
            _padding(len(content)),
        )
    with Contents(root) as contents:
        # For hard links: the name that was written, if the first name had vanished.
        written: dict[bytes, bytes | None] = {}
        for entry in walk(root, exclude=exclude):
            if entry.path in names or entry.mode & TYPE_BITS not in _KINDS:
                continue
            if entry.linkname and entry.is_regular:
                first = written.get(entry.linkname, entry.linkname)
                if first is not None:
                    yield _header(replace(entry, linkname=first))
                    continue
                written[entry.linkname] = entry.path
            elif not entry.is_regular:
                yield _header(entry)
                continue
            try:
                yield from _file(contents, replace(entry, linkname=b""))
            except FileVanished:
                written[entry.linkname or entry.path] = None
    yield bytes(tarfile.BLOCKSIZE * 2)


def _file(contents: Contents, entry: ContextEntry) -> Iterator[bytes]:
    with contents.open_file(entry.path) as (descriptor, size):
        yield _header(replace(entry, size=size))
        remaining = size
        for chunk in read_up_to(descriptor, size, entry.path):
            remaining -= len(chunk)
            yield chunk
    if remaining:
        raise ContextError(
            "A file of the build context shrank during the read.",
            where=os.fsdecode(entry.path),
            why=f"{remaining} of {size} bytes are missing",
            remedy="build again; exclude files that a program writes to in .dockerignore",
        )
    yield _padding(size)


def _header(entry: ContextEntry) -> bytes:
    info = tarfile.TarInfo(entry.path.decode("utf-8", "surrogateescape"))
    info.type = _KINDS[entry.mode & TYPE_BITS]
    info.linkname = entry.linkname.decode("utf-8", "surrogateescape")
    if info.linkname and info.type != tarfile.SYMTYPE:
        info.type = tarfile.LNKTYPE
    info.size = entry.size if info.type == tarfile.REGTYPE else 0
    info.mode = entry.mode & 0o777 | sum(bit for go_bit, bit in _SPECIAL if entry.mode & go_bit)
    info.mtime = entry.mtime_ns // 1_000_000_000
    info.uid, info.gid = entry.uid, entry.gid
    info.devmajor, info.devminor = entry.devmajor, entry.devminor
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _gathered(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Join parts to chunks that are large enough for a write."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
