"""FileSync: send a tree of files, and only the contents that the engine lacks.

The protocol is fsutil's (tonistiigi/fsutil, send.go and receive.go): we send a STAT packet for each path
in order, then an empty STAT; the engine compares them with the copy it kept under our shared key and asks
(REQ, the index of the STAT) for each file that differs; we answer with DATA packets and an empty DATA. It
ends with FIN from each side. ERR carries a text.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from stagelens.buildkit.context import Contents, ContextEntry, walk
from stagelens.buildkit.errors import ConnectionLost, RpcError, StreamReset
from stagelens.buildkit.grpc import INTERNAL, NOT_FOUND, Metadata, RpcStream
from stagelens.buildkit.proto.buildkit_pb2 import Packet, Stat

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
ReadChunks = Callable[[bytes], Generator[bytes]]


class FileSource(Protocol):
    """What the engine may read under a name: a `FolderSource` on disk, or `MemorySource` in memory."""

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """The paths to announce, in the engine's order, for the patterns in the call's metadata."""
        ...

    def open_reader(self) -> AbstractContextManager[ReadChunks]:
        """A function that yields the chunks of a path, while the context manager is open."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder; `exclude` adds to the engine's patterns. Errors are ContextErrors."""

    root: Path
    exclude: tuple[str, ...] = ()

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """See `FileSource`."""
        return walk(
            self.root,
            include=patterns.get("include-patterns", ()),
            exclude=(*self.exclude, *patterns.get("exclude-patterns", ())),
            follow=patterns.get("followpaths", ()),
        )

    @contextmanager
    def open_reader(self) -> Generator[ReadChunks]:
        """See `FileSource`."""
        with Contents(self.root) as contents:
            yield contents.read_chunks


@dataclass(frozen=True, slots=True)
class MemorySource:
    """Files that are on no disk, by name: a Dockerfile that was made up, say. No folders, all announced."""

    files: Mapping[str, bytes]
    # Always new: the engine takes a file of the same size and time for the one that it has.
    _mtime_ns: int = field(default_factory=time.time_ns)

    def entries(self, patterns: Metadata) -> Generator[ContextEntry]:
        """See `FileSource`."""
        files = {name.encode("utf-8", "surrogateescape"): data for name, data in self.files.items()}
        yield from [ContextEntry(name, 0o644, len(files[name]), self._mtime_ns) for name in sorted(files)]

    @contextmanager
    def open_reader(self) -> Generator[ReadChunks]:
        """See `FileSource`."""
        yield lambda path: (self.files[name.decode("utf-8", "surrogateescape")] for name in [path])


@dataclass(slots=True)
class Transfer:
    """Counts of one transfer: paths announced, files asked for, and bytes of content sent.

    `digest` stands for all that was announced: paths, modes, sizes, times; "" until that is complete.
    """

    name: str
    paths: int = 0
    files: int = 0
    content_bytes: int = 0
    digest: str = ""


class FileSync:
    """Serves named trees; `transfers` keeps the counts of each transfer, in order of their start.

    BuildKit asks for "context" and "dockerfile". `on_bytes` is called as contents go out.
    """

    def __init__(
        self, trees: Mapping[str, FileSource], on_bytes: Callable[[Transfer], None] | None = None
    ) -> None:
        self._trees = dict(trees)
        self._on_bytes = on_bytes
        self.transfers: list[Transfer] = []

    def methods(self) -> dict[str, Callable[[RpcStream], None]]:
        """The gRPC methods to serve."""
        return {METHOD: self._diff_copy}

    def _diff_copy(self, stream: RpcStream) -> None:
        metadata = stream.metadata
        name = (metadata.get("dir-name") or [""])[0]
        tree = self._trees.get(name)
        if tree is None:
            raise RpcError(NOT_FOUND, f"no access allowed to dir {name!r}")
        transfer = Transfer(name)
        self.transfers.append(transfer)
        with tree.open_reader() as read:
            _Sender(stream, tree.entries(metadata), read, transfer, self._on_bytes).run()


class _Sender:
    """One transfer: this thread answers the engine's requests while another one walks the tree.

    Answering inside of the listening thread is safe: the engine goes on reading while its requests wait.
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
            # An engine that was told of our failure may end the build, and with it all, before this call.
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
                self._stream.send(Packet(type=Packet.FIN).SerializeToString())
                return
            elif packet.type == Packet.ERR:
                text = packet.data.decode(errors="replace")
                raise RpcError(INTERNAL, f"the engine stopped the transfer: {text}")

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ConnectionLost, StreamReset):
            return  # the engine has gone; listening tells
        except Exception as error:
            self._failure = self._failure or error
            # The engine answers an ERR by ending the call, which ends the listening.
            with suppress(ConnectionLost, StreamReset):
                self._stream.send(Packet(type=Packet.ERR, data=str(error).encode()).SerializeToString())

    def _walk(self) -> None:
        announced = hashlib.sha256()
        # Closed here: where the connection is lost, the error would hold it, and its folders, for a while.
        with closing(self._entries) as entries:
            for index, entry in enumerate(entries):
                if self._done:
                    return
                if entry.is_regular:
                    # Known before it is announced: the engine may ask at once.
                    self._files[index] = entry.path
                packet = _stat_packet(entry)
                announced.update(packet)
                self._stream.send(packet, flush=False)
                self._transfer.paths += 1
        self._transfer.digest = announced.hexdigest()
        self._stream.send(Packet(type=Packet.STAT).SerializeToString())

    def _send_content(self, index: int) -> None:
        path = self._files.pop(index, None)
        if path is None:
            raise RpcError(INTERNAL, f"invalid file id {index}")
        self._transfer.files += 1
        with closing(self._read(path)) as chunks:
            for chunk in chunks:
                packet = Packet(type=Packet.DATA, id=index, data=chunk)
                self._stream.send(packet.SerializeToString(), flush=False)
                self._transfer.content_bytes += len(chunk)
                if self._on_bytes is not None:
                    self._on_bytes(self._transfer)
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
