"""The context as a tar stream, for engines without a session.

GNU format: BuildKit decides from the first 1,024 bytes whether an upload is an archive, and with PAX (or
with a GNU long name) the first member's real header lies behind them. So the `extra` files come first, and
one of them must have a short name; in a build it is the Dockerfile. This format has no extended attributes,
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
    """Chunks of a tar of the `extra` files (name, content), then of `root` without `exclude`.

    An extra file replaces one of that name. Memory is bounded by a few chunks. A file that vanishes
    meanwhile is left out, and so is what is appended to one while it is read.

    Raises
    ------
    ContextError: a path cannot be read, or a file shrank while it was read (its header was sent by then).
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
        # For a file with several names: the one it was written under, where its first one had vanished.
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
        left = size
        for chunk in read_up_to(descriptor, size, entry.path):
            left -= len(chunk)
            yield chunk
    if left:
        raise ContextError(
            "A file of the build context shrank while it was read.",
            where=os.fsdecode(entry.path),
            why=f"{left} of {size} bytes are missing",
            remedy="build again; exclude files that something writes to in .dockerignore",
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
    """The same bytes in pieces that are worth a write each."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        if len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
