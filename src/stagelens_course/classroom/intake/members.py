"""The members of a zip, a tar or a folder as one kind of stream; nothing is trusted, nothing is written."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from stagelens.snapshot.forward import Forward, members
from stagelens_course.classroom.intake.model import Refused

_CHUNK = 1 << 16
_PADDING = 1 << 20
# Memory that an archive's own header may ask for to be read.
_WINDOW = 128 << 20
ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".tgz", ".txz", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"),
    *(".7z", ".rar"),
)
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
# What says of the machine that something cannot be read or written, and nothing of an archive.
_MACHINE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
    | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
)
_TAR_KINDS = {
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hard link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
    tarfile.DIRTYPE: "dir",
    tarfile.GNUTYPE_SPARSE: "sparse file",
}
_MODES = {
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. kind: "file", "dir", "symlink", or a word for what is never let in.

    mode: permission bits. target: where a symlink leads. chunks: opens and reads the content.
    """

    path: str
    kind: str
    mode: int = 0o644
    target: str = ""
    chunks: Callable[[], Iterator[bytes]] = lambda: iter(())


def archive_format(head: bytes) -> str | None:
    """What an archive is by its first 512 bytes: "zip", "tar", a compressor's name, or None."""
    for magic, name in (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!", "rar"),
    ):
        if head.startswith(magic):
            return name
    return "tar" if head[257:262] == b"ustar" else None


def looks_like_archive(path: Path) -> bool:
    """Whether a file is an archive by its content, or by a name that claims so."""
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return archive_format(file.read(512)) is not None
    except OSError:
        return False


def of_the_machine(error: BaseException) -> bool:
    """Whether one of DAMAGED is the machine's fault: a full disk, a file that we may not read."""
    return isinstance(error, OSError) and error.errno in _MACHINE


@contextmanager
def opened(path: Path) -> Generator[Iterator[Member]]:
    """The members of a folder or an archive.

    Raises
    ------
    Refused: it is no archive that we read. One of DAMAGED: while its members are read.
    """
    if path.is_dir() and not path.is_symlink():
        yield folder_members(path)
        return
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        found = archive_format(head)
        if found == "zip":
            with zipfile.ZipFile(file) as archive:
                yield _zip_members(archive)
        elif found in ("7z", "rar") or (found is None and path.suffix.lower() != ".tar"):
            raise Refused(f"This is no zip or tar{f', but {found}' if found else ''}.", where=path.name)
        else:
            yield _tar_members(_plain(file, found))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16 if info.create_system == 3 else 0
        kind = _MODES.get(stat.S_IFMT(mode), "file")
        # Tools on Windows write backslashes; zipfile itself cuts names at a NUL.
        path = info.orig_filename.replace("\\", "/")
        if info.flag_bits & 0x1:
            kind = "encrypted file"
        elif path.endswith("/"):
            kind = "dir"
        target = ""
        if kind == "symlink":
            with archive.open(info) as file:
                target = os.fsdecode(file.read(4096))
        yield Member(path, kind, stat.S_IMODE(mode) or 0o644, target, reader(lambda i=info: archive.open(i)))


def reader(open_file: Callable[[], IO[bytes]]) -> Callable[[], Iterator[bytes]]:
    """What opens a file anew, and gives it in chunks."""

    def chunks() -> Iterator[bytes]:
        with open_file() as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return chunks


class _Tar(Forward):
    """A tar that remembers what was read last."""

    last = b""

    def read(self, size: int) -> bytes:
        self.last = super().read(size)
        return self.last


def _tar_members(stream: IO[bytes]) -> Iterator[Member]:
    forward = _Tar(stream.read)
    for archive, info in members(forward):
        kind = _TAR_KINDS.get(info.type, "file" if info.isreg() else "device")
        if info.issparse():
            kind = "sparse file"

        def content(archive: tarfile.TarFile = archive, info: tarfile.TarInfo = info) -> IO[bytes]:
            return cast("IO[bytes]", archive.extractfile(info))

        yield Member(info.name, kind, info.mode, info.linkname, reader(content))
    # A tar ends with blocks of zeros; tarfile also takes the end of the file for one. Reading on to the real
    # end lets the compressor compare its sum.
    if len(forward.last) != tarfile.BLOCKSIZE:
        raise EOFError("the archive is cut short")
    if len(stream.read(_PADDING)) == _PADDING and stream.read(1):
        raise ValueError("there is more after the end of the archive")


def _plain(file: IO[bytes], compressor: str | None) -> IO[bytes]:
    if compressor == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if compressor == "bzip2":
        return cast("IO[bytes]", bz2.BZ2File(file))
    if compressor == "xz":
        return cast("IO[bytes]", io.BufferedReader(_Xz(file), _CHUNK))
    if compressor == "zstd":
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            file, read_across_frames=True
        )
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), _CHUNK))
    return file


class _Xz(io.RawIOBase):
    """An xz stream read with a bound on memory, which lzma.LZMAFile has not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=_WINDOW)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._decoder.eof:
            compressed = self._file.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not compressed:
                raise EOFError("the archive is cut short")
            data = self._decoder.decompress(compressed, max_length=len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0


def folder_members(folder: Path) -> Iterator[Member]:
    """Every entry below a folder, none of its links followed."""
    pending = [folder]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            found = path.lstat()
            kind = _MODES.get(stat.S_IFMT(found.st_mode), "file")
            target = str(path.readlink()) if kind == "symlink" else ""
            if kind == "dir":
                pending.append(path)

            def content(path: Path = path) -> IO[bytes]:
                return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")

            name = path.relative_to(folder).as_posix()
            yield Member(name, kind, stat.S_IMODE(found.st_mode), target, reader(content))
