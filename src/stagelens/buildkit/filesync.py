"""FileSync: send a tree of files, with only the contents that the engine lacks.

The protocol is fsutil's (tonistiigi/fsutil, send.go and receive.go): the client sends a STAT packet for each
path in order, then an empty STAT. The engine compares them with its cached copy of the shared key and
requests each file that differs (REQ, the index of the STAT); the client answers with DATA packets and an
empty DATA. FIN from each side ends the transfer. ERR carries a text.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from stagelens.buildkit.context import Contents, ContextEntry, walk
from stagelens.buildkit.errors import ConnectionLost, RpcError, StreamReset
from stagelens.buildkit.grpc import INTERNAL, NOT_FOUND, Metadata, RpcStream
from stagelens.buildkit.proto.buildkit_pb2 import Packet, Stat

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
# The engine reads the ignore file as part of the context, before the rest, and stores it separately.
IGNORE_FILE_ONLY = (".dockerignore",)
_SECOND_NS = 1_000_000_000
ReadChunks = Callable[[bytes], Generator[bytes]]


class FileSource(Protocol):
    """A tree that the engine may read under a name: a `FolderSource` on disk, or a `MemorySource`."""

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """Yield the paths to announce, in the engine's order.

        Parameters
        ----------
        patterns
            The metadata of the call, with the engine's patterns.
        """
        ...

    def open_reader(self) -> AbstractContextManager[ReadChunks]:
        """Return a context manager for a function that yields the chunks of a path."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder on disk. Its errors are ContextErrors.

    Attributes
    ----------
    root
        The folder.
    exclude
        Patterns to exclude in addition to the engine's.
    """

    root: Path
    exclude: tuple[str, ...] = ()

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """Yield the paths that the engine's patterns include; see `FileSource`."""
        follow = tuple(patterns.get("followpaths", ()))
        found = walk(
            self.root,
            include=patterns.get("include-patterns", ()),
            exclude=(*self.exclude, *patterns.get("exclude-patterns", ())),
            follow=follow,
        )
        return self._timed_by_content(found) if follow == IGNORE_FILE_ONLY else found

    def _timed_by_content(self, entries: Generator[ContextEntry]) -> Generator[ContextEntry]:
        """Derive the nanoseconds of the times from the contents.

        Engines before BuildKit 0.9 store the ignore file, too, and keep it if size and time are the same.
        """
        with closing(entries), Contents(self.root) as contents:
            for entry in entries:
                if not entry.is_regular:
                    yield entry
                    continue
                content = hashlib.sha256(b"".join(contents.read_chunks(entry.path))).digest()
                seconds, fraction = entry.mtime_ns // _SECOND_NS, int.from_bytes(content[:8]) % _SECOND_NS
                yield replace(entry, mtime_ns=seconds * _SECOND_NS + fraction)

    @contextmanager
    def open_reader(self) -> Generator[ReadChunks]:
        """Open the folder; see `FileSource`."""
        with Contents(self.root) as contents:
            yield contents.read_chunks


@dataclass(frozen=True, slots=True)
class MemorySource:
    """Files by name, without folders; all are announced. Useful for a generated Dockerfile.

    Attributes
    ----------
    files
        The contents by name.
    """

    files: Mapping[str, bytes]
    # Always new: to the engine a file of the same size and time is unchanged.
    _mtime_ns: int = field(default_factory=time.time_ns)

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """Yield all files; see `FileSource`."""
        files = {name.encode("utf-8", "surrogateescape"): data for name, data in self.files.items()}
        yield from [ContextEntry(name, 0o644, len(files[name]), self._mtime_ns) for name in sorted(files)]

    @contextmanager
    def open_reader(self) -> Generator[ReadChunks]:
        """Return a reader of the contents; see `FileSource`."""
        yield lambda path: (self.files[name.decode("utf-8", "surrogateescape")] for name in [path])


@dataclass(slots=True)
class Transfer:
    """Counts of one transfer.

    Attributes
    ----------
    name
        The name of the tree.
    paths
        Paths announced.
    files
        Files requested by the engine.
    content_bytes
        Bytes of content sent.
    digest
        A digest of all paths, modes, sizes and times, "" until all are announced.
    follow
        The paths that the engine asked for; all without any.
    announced
        What was announced, by path.
    contents
        The SHA-256 and the size of each content that was sent, by path. The engine uses its copy of all
        other files.
    completed
        Whether the engine has received everything.
    """

    name: str
    paths: int = 0
    files: int = 0
    content_bytes: int = 0
    digest: str = ""
    follow: tuple[str, ...] = ()
    announced: dict[bytes, ContextEntry] = field(default_factory=dict[bytes, ContextEntry])
    contents: dict[bytes, tuple[str, int]] = field(default_factory=dict[bytes, tuple[str, int]])
    completed: bool = False


class FileSync:
    """A service that sends named trees.

    Parameters
    ----------
    trees
        The trees by name; BuildKit asks for "context" and "dockerfile".
    on_bytes
        Called while contents are sent.

    Attributes
    ----------
    transfers
        The counts of each transfer, in order of their start.
    """

    def __init__(
        self, trees: Mapping[str, FileSource], on_bytes: Callable[[Transfer], None] | None = None
    ) -> None:
        self._trees = dict(trees)
        self._on_bytes = on_bytes
        self.transfers: list[Transfer] = []

    def methods(self) -> dict[str, Callable[[RpcStream], None]]:
        """Return the gRPC methods to serve."""
        return {METHOD: self._diff_copy}

    def _diff_copy(self, stream: RpcStream) -> None:
        metadata = stream.metadata
        name = (metadata.get("dir-name") or [""])[0]
        tree = self._trees.get(name)
        if tree is None:
            raise RpcError(NOT_FOUND, f"no access allowed to dir {name!r}")
        transfer = Transfer(name, follow=tuple(metadata.get("followpaths", ())))
        self.transfers.append(transfer)
        with tree.open_reader() as read:
            _Sender(stream, tree.entries(metadata), read, transfer, self._on_bytes).run()


class _Sender:
    """One transfer: this thread answers the engine's requests while another walks the tree.

    To answer inside of the receiving thread is safe: the engine continues to read while its requests wait.
    """

    def __init__(
        self,
        stream: RpcStream,
        entries: Generator[ContextEntry],
        read: ReadChunks,
        transfer: Transfer,
        on_bytes: Callable[[Transfer], None] | None,
    ) -> None:
        self._stream = stream
        self._entries = entries
        self._read = read
        self._transfer = transfer
        self._on_bytes = on_bytes
        self._files: dict[int, bytes] = {}
        self._failure: Exception | None = None
        self._done = False

    def run(self) -> None:
        walker = threading.Thread(target=self._guard, args=(self._walk,), name="stagelens-walk", daemon=True)
        walker.start()
        try:
            self._listen()
        except (ConnectionLost, StreamReset):
            # An engine that received our error may end the whole build before this call.
            if self._failure is None:
                raise
        finally:
            self._done = True
            walker.join()
        if self._failure is not None:
            raise self._failure

    def _listen(self) -> None:
        for message in self._stream.receive():
            packet = Packet.FromString(message)
            if packet.type == Packet.REQ:
                self._guard(partial(self._send_content, packet.id))
                if self._failure is not None:
                    return
            elif packet.type == Packet.FIN:
                self._transfer.completed = True
                self._stream.send(Packet(type=Packet.FIN).SerializeToString())
                return
            elif packet.type == Packet.ERR:
                text = packet.data.decode(errors="replace")
                raise RpcError(INTERNAL, f"the engine stopped the transfer: {text}")

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ConnectionLost, StreamReset):
            return  # the connection is lost; _listen raises
        except Exception as error:
            self._failure = self._failure or error
            # The engine answers an ERR by ending the call, which ends _listen.
            with suppress(ConnectionLost, StreamReset):
                self._stream.send(Packet(type=Packet.ERR, data=str(error).encode()).SerializeToString())

    def _walk(self) -> None:
        announced = hashlib.sha256()
        # Close here: after a lost connection the exception would keep the generator and its folders open.
        with closing(self._entries) as entries:
            for index, entry in enumerate(entries):
                if self._done:
                    return
                if entry.is_regular:
                    # Store before the announcement: the engine may request it at once.
                    self._files[index] = entry.path
                packet = _stat_packet(entry)
                announced.update(packet)
                self._transfer.announced[entry.path] = entry
                self._stream.send(packet, flush=False)
                self._transfer.paths += 1
        self._transfer.digest = announced.hexdigest()
        self._stream.send(Packet(type=Packet.STAT).SerializeToString())

    def _send_content(self, index: int) -> None:
        path = self._files.pop(index, None)
        if path is None:
            raise RpcError(INTERNAL, f"invalid file id {index}")
        self._transfer.files += 1
        content, size = hashlib.sha256(), 0
        with closing(self._read(path)) as chunks:
            for chunk in chunks:
                content.update(chunk)
                size += len(chunk)
                packet = Packet(type=Packet.DATA, id=index, data=chunk)
                self._stream.send(packet.SerializeToString(), flush=False)
                self._transfer.content_bytes += len(chunk)
                if self._on_bytes is not None:
                    self._on_bytes(self._transfer)
        self._transfer.contents[path] = content.hexdigest(), size
        self._stream.send(Packet(type=Packet.DATA, id=index).SerializeToString(), flush=False)


def _stat_packet(entry: ContextEntry) -> bytes:
    stat = Stat(
        path=entry.path,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mod_time=entry.mtime_ns,
        linkname=entry.linkname,
        devmajor=entry.devmajor,
        devminor=entry.devminor,
        xattrs=dict(entry.xattrs),
    )
    return Packet(type=Packet.STAT, stat=stat).SerializeToString()
