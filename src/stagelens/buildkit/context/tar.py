"""The context as a tar stream, for engines without a session: GNU format (the engine refuses PAX here)."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stagelens.buildkit.context.content import read_content
from stagelens.buildkit.context.errors import ContextError
from stagelens.buildkit.context.walk import Entry, walk

_KINDS = {
    1 << 31: tarfile.DIRTYPE,
    1 << 27: tarfile.SYMTYPE,
    1 << 26: tarfile.BLKTYPE,
    (1 << 26) | (1 << 21): tarfile.CHRTYPE,
    1 << 25: tarfile.FIFOTYPE,
}
_TYPE_BITS = (1 << 31) | (1 << 27) | (1 << 26) | (1 << 25) | (1 << 21)


def tar_stream(
    root: Path, exclude: Sequence[str] = (), extra: Sequence[tuple[str, bytes]] = ()
) -> Iterator[bytes]:
    """Chunks of a tar of `root` without `exclude`, then of the `extra` files (name, content).

    Memory is bounded by one chunk. A file that shrinks meanwhile is an error, one that grows is cut at the
    size that its header has announced.
    """
    for entry in walk(root, exclude=exclude):
        yield _header(entry)
        if not entry.mode & _TYPE_BITS and not entry.linkname:
            yield from _padded(_exactly(root, entry), entry.size)
    for name, content in extra:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        yield info.tobuf(tarfile.GNU_FORMAT)
        yield from _padded(iter([content]), len(content))
    yield bytes(tarfile.BLOCKSIZE * 2)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(os.fsdecode(entry.path))
    info.mode = entry.mode & 0o777
    for go_bit, bit in ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)):
        if entry.mode & go_bit:
            info.mode |= bit
    info.type = _KINDS.get(entry.mode & _TYPE_BITS, tarfile.REGTYPE)
    if entry.linkname:
        info.linkname = os.fsdecode(entry.linkname)
        if info.type == tarfile.REGTYPE:
            info.type = tarfile.LNKTYPE
    info.size = entry.size if info.type == tarfile.REGTYPE else 0
    info.mtime = entry.mtime_ns // 1_000_000_000
    info.devmajor, info.devminor = entry.devmajor, entry.devminor
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _exactly(root: Path, entry: Entry) -> Iterator[bytes]:
    left = entry.size
    for chunk in read_content(root, entry.path):
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
    if left:
        raise ContextError(
            "A file of the build context shrank during the build.", where=os.fsdecode(entry.path)
        )


def _padded(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    yield from chunks
    if rest := size % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - rest)
