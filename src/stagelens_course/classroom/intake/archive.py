"""Members of a zip, a tar or a folder as one type of stream; nothing is trusted and nothing is written."""

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

from stagelens.snapshot.saved_image import ForwardReader, tar_members
from stagelens_course.classroom.intake.submission import SubmissionRejected

_CHUNK = 1 << 16
_PADDING = 1 << 20
# The memory that the header of an archive may demand for decompression.
_WINDOW = 128 << 20
ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".tgz", ".txz", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"),
    *(".7z", ".rar"),
)
# Errors of the standard library and zstandard while they read an archive.
READ_ERRORS = (
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
# Errors that are the fault of this machine and not of an archive.
_MACHINE_ERRNOS = frozenset(
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
class ArchiveMember:
    """A member of an archive, or an entry of a folder.

    Attributes
    ----------
    path
        The path as the archive has it.
    kind
        "file", "dir", "symlink", or the name of a type that is rejected.
    mode
        The permission bits.
    target
        The target of a symlink.
    chunks
        A function that opens and reads the content.
    """

    path: str
    kind: str
    mode: int = 0o644
    target: str = ""
    chunks: Callable[[], Iterator[bytes]] = lambda: iter(())


def detect_format(head: bytes) -> str | None:
    """Return an archive's format by its first 512 bytes.

    Parameters
    ----------
    head
        The beginning of the file.

    Returns
    -------
    str or None
        "zip", "tar", the name of a compressor, "7z" or "rar"; None for other files.
    """
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
    """Whether a file is an archive by its name or its content."""
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return detect_format(file.read(512)) is not None
    except OSError:
        return False


def is_machine_error(error: BaseException) -> bool:
    """Whether a read error is the fault of this machine: a full disk or an unreadable file, for example."""
    return isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS


@contextmanager
def open_members(path: Path) -> Generator[Iterator[ArchiveMember]]:
    """Open a folder or an archive for reading its members.

    Parameters
    ----------
    path
        The folder or archive.

    Yields
    ------
    Iterator[ArchiveMember]
        The members; reading them raises one of `READ_ERRORS` if the archive is damaged.

    Raises
    ------
    SubmissionRejected
        If the file is not an archive of a supported format.
    """
    if path.is_dir() and not path.is_symlink():
        yield _folder_members(path)
        return
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        found = detect_format(head)
        if found == "zip":
            with zipfile.ZipFile(file) as archive:
                yield _zip_members(archive)
        elif found in ("7z", "rar") or (found is None and path.suffix.lower() != ".tar"):
            raise SubmissionRejected(
                f"The file is not a zip or tar archive{f', but {found}' if found else ''}.", where=path.name
            )
        else:
            yield _tar_members(_decompress(file, found))


def chunk_reader(open_file: Callable[[], IO[bytes]]) -> Callable[[], Iterator[bytes]]:
    """Return a function that opens a file and reads it in chunks.

    Parameters
    ----------
    open_file
        A function that opens the file.
    """

    def chunks() -> Iterator[bytes]:
        with open_file() as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return chunks


def _zip_members(archive: zipfile.ZipFile) -> Iterator[ArchiveMember]:
    for info in archive.infolist():
        mode = info.external_attr >> 16 if info.create_system == 3 else 0
        kind = _MODES.get(stat.S_IFMT(mode), "file")
        # Windows tools write backslashes; `filename` would end at a NUL.
        path = info.orig_filename.replace("\\", "/")
        if info.flag_bits & 0x1:
            kind = "encrypted file"
        elif path.endswith("/"):
            kind = "dir"
        target = ""
        if kind == "symlink":
            with archive.open(info) as file:
                target = os.fsdecode(file.read(4096))
        chunks = chunk_reader(lambda i=info: archive.open(i))
        yield ArchiveMember(path, kind, stat.S_IMODE(mode) or 0o644, target, chunks)


class _TarReader(ForwardReader):
    """A forward reader that remembers the block that it read last."""

    last_block = b""

    def read(self, size: int) -> bytes:
        self.last_block = super().read(size)
        return self.last_block


def _tar_members(stream: IO[bytes]) -> Iterator[ArchiveMember]:
    reader = _TarReader(stream.read)
    for archive, info in tar_members(reader):
        kind = _TAR_KINDS.get(info.type, "file" if info.isreg() else "device")
        if info.issparse():
            kind = "sparse file"

        def content(archive: tarfile.TarFile = archive, info: tarfile.TarInfo = info) -> IO[bytes]:
            return cast("IO[bytes]", archive.extractfile(info))

        yield ArchiveMember(info.name, kind, info.mode, info.linkname, chunk_reader(content))
    # A tar ends with blocks of zeros, but tarfile also accepts the end of the file. Reading on to the real
    # end lets the decompressor verify its checksum.
    if len(reader.last_block) != tarfile.BLOCKSIZE:
        raise EOFError("the archive is truncated")
    if len(stream.read(_PADDING)) == _PADDING and stream.read(1):
        raise ValueError("data follows the end of the archive")


def _decompress(file: IO[bytes], compressor: str | None) -> IO[bytes]:
    if compressor == "gzip":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if compressor == "bzip2":
        return cast("IO[bytes]", bz2.BZ2File(file))
    if compressor == "xz":
        return cast("IO[bytes]", io.BufferedReader(_XzReader(file), _CHUNK))
    if compressor == "zstd":
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            file, read_across_frames=True
        )
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), _CHUNK))
    return file


class _XzReader(io.RawIOBase):
    """An xz stream with a memory limit, which `lzma.LZMAFile` does not have."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=_WINDOW)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._decoder.eof:
            compressed = self._file.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not compressed:
                raise EOFError("the archive is truncated")
            data = self._decoder.decompress(compressed, max_length=len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0


def _folder_members(folder: Path) -> Iterator[ArchiveMember]:
    """List all entries below a folder; symlinks are not followed."""
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
            yield ArchiveMember(name, kind, stat.S_IMODE(found.st_mode), target, chunk_reader(content))
