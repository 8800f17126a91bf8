"""The archive of `docker save`, read once from front to back: the layers in it and their files.

Both layouts are read alike: a member counts by its content, not by its path. A member that is a tar (plain,
gzip or zstd) is a layer, identified by the sha256 of its uncompressed bytes, which is its diff_id; a small
JSON object with `rootfs` is the config of an image. So links between layers (classic layout) and manifests
that come after their blobs (OCI layout) need no special case. Layer format: OCI image-spec, layer.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, cast

import zstandard

from stagelens.errors import StagelensError
from stagelens.snapshot.table import FileTable, Kind, key_path, pack_kind
from stagelens.snapshot.tar_headers import TarHeader, read_headers

CHUNK = 1 << 20
# The most that one header may take; tarfile reads extended headers in one piece.
_HEADER = 128 << 10
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_DIGIT_RUN = b"0" * 4097

# Bounds on what an archive can make us hold or do; real images stay far below them.
MAX_FILES = 1_000_000
MAX_PATH = 4096  # Linux' PATH_MAX
MAX_LAYER = 1 << 36
MAX_CONFIG = 8 << 20
MAX_CONFIGS = 1000
# The engine's last words instead of the rest of an archive: a line of JSON, no longer than this.
_ERROR = b'{"errorDetail":'
_ERROR_BYTES = 4096
_ZSTD_WINDOW = 128 << 20

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_NO_NAMES = frozenset((b"", b".", b".."))
_KINDS: dict[bytes, Kind] = {
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
_BAD_ARCHIVE = (
    tarfile.TarError,
    zlib.error,
    zstandard.ZstdError,
    EOFError,
    gzip.BadGzipFile,
    ValueError,
    OverflowError,
    RecursionError,
)


class LayerError(StagelensError):
    """The layers of an image cannot be read, or are not what the image names."""


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """The content of one layer's tar.

    Attributes
    ----------
    diff_id
        The digest of the uncompressed tar.
    size
        The bytes of its regular files, each stored once.
    table
        Its entries, without whiteouts.
    whiteouts
        Paths that it removes from the layers below.
    opaque
        Folders whose content in the layers below it hides.
    links
        Paths that are hard links; their bytes are stored with the path they link to.
    lower_links
        The targets of hard links to files of layers below. Their rows lack the facts of the target until
        `layer_stack.resolve_links` has found it.
    """

    diff_id: str
    size: int
    table: FileTable
    whiteouts: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    lower_links: Mapping[str, str] = field(default_factory=dict[str, str])

    def stored_bytes(self) -> list[int]:
        """Return the bytes of each row in the tar: 0 for hard links, folders and special files."""
        stored = [self.table.size(row) for row in range(len(self.table))]
        for path in self.links:
            if (row := self.table.row(path)) is not None:
                stored[row] = 0
        return stored


@dataclass(slots=True)
class SavedImage:
    """The content of an archive.

    Attributes
    ----------
    layers
        Layers by their diff_id.
    configs
        The configs of images.
    blobs
        For each image the digests of its layers as the engine stores them, lowest first.
    error
        The message with which the engine ended the archive too early; "" if it did not.
    """

    layers: dict[str, LayerFiles] = field(default_factory=lambda: {})
    configs: list[dict[str, Any]] = field(default_factory=lambda: [])
    blobs: list[list[str]] = field(default_factory=lambda: [])
    error: str = ""


class ForwardReader:
    """A file for tarfile that reads only forward, and limits what a header costs in memory and time.

    Parameters
    ----------
    source
        The `read` of a file.
    headers
        Whether only headers are read, not contents.
    """

    def __init__(self, source: Callable[[int], bytes], *, headers: bool = True) -> None:
        self._source = source
        self._position = 0
        self._headers = headers

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises
        ------
        ValueError
            If a header is too large, or would take tarfile endless time.
        """
        if not 0 <= size <= (_HEADER if self._headers else CHUNK):
            raise ValueError("a header of the archive is too large")
        data = self.read_unchecked(size)
        # tarfile searches extended headers in time quadratic in a run of digits (CVE-2024-6232).
        if self._headers and size > tarfile.BLOCKSIZE and _DIGIT_RUN in data.translate(_DIGITS):
            raise ValueError("a header of the archive holds an endless number")
        return data

    def read_unchecked(self, size: int) -> bytes:
        """Return the next bytes without checks; all reading goes through this method."""
        data = self._source(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Return how many bytes have been read."""
        return self._position

    def seek(self, position: int) -> int:
        """Read on to a position.

        Raises
        ------
        tarfile.ReadError
            If the stream ends before, or is past it.
        """
        while self._position < position and self.read_unchecked(min(CHUNK, position - self._position)):
            pass
        if self._position != position:
            raise tarfile.ReadError("the archive is cut short")
        return position

    def drain(self) -> None:
        """Read to the end."""
        while self.read_unchecked(CHUNK):
            pass


def tar_members(stream: ForwardReader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield the members of a tar without keeping them in memory, as tarfile's own iteration does."""
    archive = tarfile.TarFile(
        fileobj=cast("IO[bytes]", stream), mode="r", encoding="utf-8", errors="surrogateescape"
    )
    while (member := archive.next()) is not None:
        archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
        yield archive, member


class _HashedReader:
    """The tar of a layer, hashed while it is read."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._size = 0

    def read(self, size: int) -> bytes:
        data = self._source(size)
        self._hash.update(data)
        self._size += len(data)
        if self._size > MAX_LAYER:
            raise ValueError("the layer is too large")
        return data

    def digest(self) -> str:
        """Read to the end, and return the sha256 of everything that was read."""
        while self.read(CHUNK):
            pass
        return f"sha256:{self._hash.hexdigest()}"


class _Chunks(io.RawIOBase):
    """An iterator of chunks as a raw file."""

    def __init__(self, chunks: Iterable[bytes], progress: Callable[[int], None]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._progress = progress
        self._last = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._progress(len(chunk))
            self._rest = memoryview(chunk)
            self._last = (self._last + chunk[-_ERROR_BYTES:])[-_ERROR_BYTES:]
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def error(self) -> str:
        """Return the message of an engine that failed after it had begun to send; "" if there is none."""
        try:
            return str(json.loads(self._last[self._last.rindex(_ERROR) :])["errorDetail"]["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""


def read_saved_image(
    chunks: Iterable[bytes], progress: Callable[[int], None] = lambda count: None
) -> SavedImage:
    """Index what `docker save` sends; nothing is written to disk, and contents are not kept.

    Parameters
    ----------
    chunks
        The bytes of the archive.
    progress
        A function that is called with the length of each chunk, in bytes.

    Raises
    ------
    LayerError
        If the stream is not a tar, is truncated, or exceeds a limit.
    """
    saved = SavedImage()
    source = _Chunks(chunks, progress)
    stream = ForwardReader(io.BufferedReader(source, CHUNK).read, headers=False)
    try:
        for archive, member in tar_members(stream):
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                _take(saved, cast("io.BufferedReader", content), member.size)
        stream.drain()
        saved.error = source.error()
    except _BAD_ARCHIVE as error:
        if message := source.error():
            saved.error = message
            return saved
        raise LayerError(
            "The image's archive cannot be read.",
            why=str(error) or type(error).__name__,
            remedy="docker image save IMAGE | tar -t  (does the engine send a whole archive?)",
        ) from error
    return saved


def _take(saved: SavedImage, content: io.BufferedReader, size: int) -> None:
    """Add a member if it is a layer or the config of an image."""
    plain = _uncompressed(content)
    head = plain.peek(512)[:512]
    if head[257:262] == b"ustar" or (len(head) == 512 and not any(head)):
        layer = index_layer(plain.read)
        saved.layers[layer.diff_id] = layer
    elif head[:1] in (b"{", b"[") and size <= MAX_CONFIG and plain is content:
        try:
            value = json.loads(b"".join(iter(lambda: content.read(CHUNK), b"")))
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict) and "rootfs" in value and len(saved.configs) < MAX_CONFIGS:
            saved.configs.append(cast("dict[str, Any]", value))
        elif isinstance(value, list):
            saved.blobs.extend(map(_blobs, cast("list[Any]", value[:MAX_CONFIGS])))


def _blobs(row: Any) -> list[str]:
    """Return the digests of the layers in a row of manifest.json; older engines name folders there."""
    names = cast("dict[str, Any]", row).get("Layers") if isinstance(row, dict) else None
    found = [_BLOB.fullmatch(str(name)) for name in cast("list[Any]", names or ())]
    return [f"sha256:{blob[1]}" for blob in found if blob]


def _uncompressed(content: io.BufferedReader) -> io.BufferedReader:
    magic = content.peek(4)[:4]
    if magic[:2] == b"\x1f\x8b":
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=content)), CHUNK)
    if magic == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
            content, read_across_frames=True
        )
        return io.BufferedReader(cast("io.RawIOBase", reader), CHUNK)
    return content


def index_layer(read: Callable[[int], bytes]) -> LayerFiles:
    """List the uncompressed tar of a layer, read to its end; its diff_id comes from the bytes themselves.

    Raises
    ------
    LayerError
        If a name leads out of the image, or the layer has too many files.
    ValueError
        If the bytes are not a whole tar.
    """
    stream = _HashedReader(read)
    entries: dict[bytes, _Facts] = {}
    links: set[bytes] = set()
    lower: dict[bytes, bytes] = {}
    removed: dict[bytes, None] = {}
    opaque: dict[bytes, None] = {}
    for count, member in enumerate(read_headers(stream.read)):
        if count >= MAX_FILES:
            raise LayerError(f"A layer holds more than {MAX_FILES} files.")
        key = _key(member.name)
        folder, separator, name = key.rpartition(b"\0")
        if not name.startswith(_WHITEOUT):
            if key:
                links.discard(key)
                lower.pop(key, None)
                if member.kind == tarfile.LNKTYPE:
                    links.add(key)
                    target = _key(member.target)
                    if target not in entries or target in lower:
                        lower[key] = lower.get(target, target)
                    entries[key] = entries.get(target) or _facts(member)
                else:
                    entries[key] = _facts(member)
        elif name == _OPAQUE:
            opaque[folder] = None
        elif not name.startswith(_AUFS):
            removed[_inside(folder + separator + name[len(_WHITEOUT) :])] = None
    keys = sorted(entries)
    rows = [entries[key] for key in keys]
    files = [row.size for key, row in entries.items() if row.is_file and key not in links]
    return LayerFiles(
        diff_id=stream.digest(),
        size=sum(files),
        table=FileTable.from_columns(
            keys=keys,
            kinds=[row.kind for row in rows],
            uids=[row.uid for row in rows],
            gids=[row.gid for row in rows],
            sizes=[row.size for row in rows],
            mtimes=[row.mtime for row in rows],
            targets=[row.target for row in rows],
        ),
        whiteouts=tuple(map(key_path, removed)),
        opaque=tuple(map(key_path, opaque)),
        links=tuple(map(key_path, sorted(links))),
        lower_links={key_path(key): key_path(target) for key, target in lower.items()},
    )


class _Facts(NamedTuple):
    """A row of a layer's table without its key."""

    kind: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes
    is_file: bool


def _facts(member: TarHeader) -> _Facts:
    kind = _KINDS.get(member.kind, "file")
    target = member.target[:MAX_PATH] if kind == "symlink" else b""
    size = len(target) if target else member.size
    packed = pack_kind(kind, member.mode)
    return _Facts(packed, member.uid, member.gid, size, member.mtime, target, kind == "file")


def _key(name: bytes) -> bytes:
    """Return a name's key in the image; absolute names stay inside it, as in the engine."""
    if b"//" in name or b"/." in name or name[:1] in (b".", b"/"):
        name = b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))
    key = name.rstrip(b"/").replace(b"/", b"\0")
    return _inside(key) if key else key


def _inside(key: bytes) -> bytes:
    if not _NO_NAMES.isdisjoint(key.split(b"\0")):
        raise LayerError(
            "A layer holds a name that leads out of the image.", where=ascii(key_path(key)[:200])
        )
    if len(key) > MAX_PATH:
        raise LayerError(
            f"A layer holds a name longer than {MAX_PATH} bytes.", where=ascii(key_path(key)[:200])
        )
    return key
