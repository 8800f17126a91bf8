"""The file lister in a container of the engine: several processes that list the trees mounted there."""

from __future__ import annotations

import queue
import struct
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from stagelens.buildkit import Gateway, file_definition
from stagelens.buildkit.gateway import ContainerProcess, GatewayContainer
from stagelens.buildkit.proto.buildkit_pb2 import Definition
from stagelens.engine import Engine
from stagelens.engine.mountinfo import Mount, parse_mountinfo
from stagelens.snapshot.listing import ListingError, Rows, read_rows
from stagelens.snapshot.tools import load_lister

_PROGRAM = "/lister"
_TREES = "/trees"
_MAX_BYTES = 1 << 30  # of one answer
_MAX_FRAME_BYTES = 4 << 20
_MESSAGE_BYTES = 1 << 20  # of a request: BuildKit accepts messages of 4 MB
_HEAD = struct.Struct("<cI")
_STAMP = struct.Struct("<Qq")
_OVERLAY = "overlay"


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mounted tree as the kernel describes it.

    Attributes
    ----------
    overlay
        Whether the tree is an overlay of layers.
    upper
        Whether the uppermost layer is mounted as the upper directory.
    layers
        The directories of the layers, uppermost first, by the engine's names.
    stamp
        The inode and change time of the root; "" where each mount has a new root.
    """

    overlay: bool
    upper: bool
    layers: tuple[bytes, ...]
    stamp: str


def open_container(gateway: Gateway, engine: Engine, trees: Iterable[Definition]) -> GatewayContainer:
    """Start a container that holds the file lister and nothing else, with trees mounted at their numbers.

    Raises
    ------
    StagelensError
        If there is no file lister for the engine's platform.
    BuildError, BuildCancelled, ConnectionLost
        If a tree cannot be made or mounted.
    """
    program = load_lister(engine.info.os, engine.info.architecture)
    root = gateway.solve(file_definition(_PROGRAM, 0o755, program))
    mounts = {f"{_TREES}/{number}": gateway.solve(tree) for number, tree in enumerate(trees)}
    return gateway.new_container(root, mounts)


class FileLister:
    """Lists and reads the trees of a container (see `walk.Lister`); for several threads at once.

    Parameters
    ----------
    container
        A container made by `open_container`.
    processes
        How many processes run at most. Each starts when it is needed.
    """

    def __init__(self, container: GatewayContainer, processes: int) -> None:
        self._container = container
        self._idle: queue.SimpleQueue[ContainerProcess | None] = queue.SimpleQueue()
        self._started: list[ContainerProcess] = []
        for _ in range(processes):
            self._idle.put(None)

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        """List what is directly in folders (see `walk.Lister`).

        Raises
        ------
        ListingError
            If the listing is not complete.
        ProcessEnded, BuildCancelled, ConnectionLost
            If the engine ends the process, or the connection.
        """
        return self._list(b"l", folders)

    def trees(self, number: int, folders: Iterable[bytes]) -> Rows:
        """List everything below folders (see `walk.Lister`). Raises as `contents` does."""
        return self._list(b"t", [(number, key) for key in folders])

    def _list(self, kind: bytes, folders: Sequence[tuple[int, bytes]]) -> Rows:
        rows = Rows()
        for frame in self._ask(kind, b"".join(_key(number, key) for number, key in folders), b"R"):
            rows.extend(read_rows(frame))
        return rows

    def content(self, number: int, key: bytes, limit: int) -> bytes:
        """Read the first bytes of a file, at most `limit`. Raises as `contents` does."""
        request = struct.pack("<I", limit) + _key(number, key)
        return b"".join(self._ask(b"r", request, b"D"))

    def mounted(self, trees: int) -> list[Mounted]:
        """Describe the trees 0 to `trees` - 1. Raises as `contents` does."""
        answer = b"".join(self._ask(b"m", struct.pack("<I", trees), b"D"))
        size = (trees + 1) * _STAMP.size
        stamps = [f"{inode} {changed}" for inode, changed in _STAMP.iter_unpack(answer[:size])]
        text = answer[size:].decode("utf-8", "surrogateescape")
        mounts = {mount.point: mount for mount in parse_mountinfo(text)}
        # An engine that uses overlays mounts a tree of a single layer as a plain directory.
        overlays = mounts["/"].kind == _OVERLAY
        return [_mounted(mounts[f"{_TREES}/{n}"], stamps[n + 1], overlays) for n in range(trees)]

    def _ask(self, kind: bytes, request: bytes, expected: bytes) -> list[bytes]:
        """Send a request to an idle process, and return the frames of its answer."""
        message = _HEAD.pack(kind, len(request)) + request
        with self._process() as process:
            for start in range(0, len(message), _MESSAGE_BYTES):
                process.write(message[start : start + _MESSAGE_BYTES])
            frames: list[bytes] = []
            total = 0
            while True:
                kind, size = _HEAD.unpack(process.read(_HEAD.size))
                total += size
                if kind not in (expected, b".", b"E") or size > _MAX_FRAME_BYTES:
                    raise ListingError("The file lister in the engine ended in the middle of its answer.")
                if total > _MAX_BYTES:
                    raise _unlisted("there are too many files")
                frame = process.read(size)
                if kind == b"E":
                    raise _unlisted(frame.decode("utf-8", "replace"))
                if kind == b".":
                    return frames
                frames.append(frame)

    def end(self) -> None:
        """End all processes, and the container. A second call does nothing."""
        started, self._started = self._started, []
        for process in started:
            process.close_input()
        for process in started:
            process.end()
        self._container.release()

    @contextmanager
    def _process(self) -> Generator[ContainerProcess]:
        process = self._idle.get()
        try:
            if process is None:
                process = self._container.start(_PROGRAM, _TREES, env={})
                self._started.append(process)
            yield process
        finally:
            self._idle.put(process)


def _key(number: int, key: bytes) -> bytes:
    return b"%d\0%b/" % (number, key) if key else b"%d/" % number


def _unlisted(why: str) -> ListingError:
    return ListingError(
        "The files could not be listed in the engine.",
        why=why,
        remedy="explore again; if the error stays, check the engine's free disk: stagelens doctor",
    )


def _mounted(mount: Mount, stamp: str, overlays: bool) -> Mounted:
    """Describe a mount by its line and its root's stamp; `overlays`: whether the engine has layers.

    A read-only mount with an upper directory is a layer that BuildKit has not closed yet; a writable one is
    made for this mount alone. Newer kernels write each layer as `lowerdir+=`.
    """
    if mount.kind != _OVERLAY:
        return Mounted(False, False, (_bytes(f"{mount.device}:{mount.root}"),) if overlays else (), stamp)
    pairs = [option.partition("=") for option in mount.options.split(",")]
    lower = [value for name, _, value in pairs if name in ("lowerdir", "lowerdir+")]
    layers = [_bytes(layer) for value in lower for layer in value.split(":")]
    upper = [_bytes(value) for name, _, value in pairs if name == "upperdir"]
    own = mount.read_only or not upper
    kept = [*upper, *layers] if own else layers
    return Mounted(True, bool(upper) and own, tuple(kept) if overlays else (), stamp if own else "")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
