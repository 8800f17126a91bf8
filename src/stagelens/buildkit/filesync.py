"""FileSync: send a tree of files, and only the contents that the engine lacks.

The protocol is fsutil's (tonistiigi/fsutil, send.go and receive.go): we send a STAT packet for each path
in order, then an empty STAT; the engine compares them with the copy it kept under our shared key and asks
(REQ, the index of the STAT) for each file that differs; we answer with DATA packets and an empty DATA. It
ends with FIN from each side. ERR carries a text.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stagelens.buildkit.context import ContextError, Entry, read_content, walk
from stagelens.buildkit.errors import ConnectionLost, RpcError, StreamReset
from stagelens.buildkit.grpc import INTERNAL, NOT_FOUND, Channel
from stagelens.buildkit.proto.buildkit_pb2 import Packet, Stat

METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
_MODE_TYPE = 0xAF280000  # Go's os.ModeType: anything set here has no content


@dataclass(frozen=True, slots=True)
class Source:
    """A folder that the engine may read under a name; `exclude` adds to the engine's patterns."""

    root: Path
    exclude: tuple[str, ...] = ()


@dataclass(slots=True)
class Transfer:
    """Counts of one transfer: paths announced, files asked for, and bytes of content sent."""

    name: str
    paths: int = 0
    files: int = 0
    content_bytes: int = 0


class FileSync:
    """Serves named folders; `transfers` keeps the counts of each transfer, in order of their start."""

    def __init__(
        self, sources: Mapping[str, Source], on_bytes: Callable[[Transfer], None] | None = None
    ) -> None:
        self._sources = dict(sources)
        self._on_bytes = on_bytes
        self.transfers: list[Transfer] = []

    def methods(self) -> dict[str, Callable[[Channel], None]]:
        """The gRPC methods to serve."""
        return {METHOD: self._diff_copy}

    def _diff_copy(self, channel: Channel) -> None:
        metadata = channel.metadata
        name = (metadata.get("dir-name") or [""])[0]
        source = self._sources.get(name)
        if source is None:
            raise RpcError(NOT_FOUND, f"no access allowed to dir {name!r}")
        entries = walk(
            source.root,
            include=metadata.get("include-patterns", ()),
            exclude=(*source.exclude, *metadata.get("exclude-patterns", ())),
            follow=metadata.get("followpaths", ()),
        )
        transfer = Transfer(name)
        self.transfers.append(transfer)
        _Sender(channel, source.root, entries, transfer, self._on_bytes).run()


class _Sender:
    """One transfer: this thread answers the engine's requests while another one walks the tree."""

    def __init__(
        self,
        channel: Channel,
        root: Path,
        entries: Iterator[Entry],
        transfer: Transfer,
        on_bytes: Callable[[Transfer], None] | None,
    ) -> None:
        self._channel = channel
        self._root = root
        self._entries = entries
        self._transfer = transfer
        self._on_bytes = on_bytes
        self._files: dict[int, bytes] = {}
        self._failure: BaseException | None = None

    def run(self) -> None:
        wanted: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"stagelens-{name}", daemon=True)
            for name, work in (("walk", self._walk), ("content", lambda: self._send_contents(wanted)))
        ]
        for thread in threads:
            thread.start()
        try:
            self._listen(wanted)
        except StreamReset:
            if self._failure is None:
                raise
        finally:
            wanted.put(None)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _listen(self, wanted: queue.SimpleQueue[int | None]) -> None:
        for message in self._channel.receive():
            packet = Packet.FromString(message)
            if packet.type == Packet.REQ:
                if packet.id not in self._files:
                    raise RpcError(INTERNAL, f"invalid file id {packet.id}")
                wanted.put(packet.id)
            elif packet.type == Packet.FIN:
                self._channel.send(Packet(type=Packet.FIN).SerializeToString())
                return
            elif packet.type == Packet.ERR:
                raise RpcError(
                    INTERNAL, f"the engine stopped the transfer: {packet.data.decode(errors='replace')}"
                )

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ConnectionLost, StreamReset):
            return  # the engine has gone; the listening thread sees it, too
        except ContextError as error:
            self._failure = self._failure or error
            # The engine answers an ERR by ending the call, which ends the listening thread.
            self._channel.send(Packet(type=Packet.ERR, data=str(error).encode()).SerializeToString())
        except BaseException as error:
            self._failure = self._failure or error
            self._channel.cancel()

    def _walk(self) -> None:
        for index, entry in enumerate(self._entries):
            if not entry.mode & _MODE_TYPE:
                # Known before it is announced: the engine may ask at once.
                self._files[index] = entry.path
            self._channel.send(_stat_packet(entry), flush=False)
            self._transfer.paths += 1
        self._channel.send(Packet(type=Packet.STAT).SerializeToString())

    def _send_contents(self, wanted: queue.SimpleQueue[int | None]) -> None:
        while (index := wanted.get()) is not None:
            path = self._files.pop(index)
            self._transfer.files += 1
            for chunk in read_content(self._root, path):
                self._channel.send(
                    Packet(type=Packet.DATA, id=index, data=chunk).SerializeToString(), flush=False
                )
                self._transfer.content_bytes += len(chunk)
                if self._on_bytes is not None:
                    self._on_bytes(self._transfer)
            self._channel.send(Packet(type=Packet.DATA, id=index).SerializeToString(), flush=wanted.empty())


def _stat_packet(entry: Entry) -> bytes:
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
