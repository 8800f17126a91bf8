"""Shells in a container of the engine that list the trees mounted there, several at a time."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from stagelens.buildkit.gateway import ContainerProcess, GatewayContainer
from stagelens.engine.mountinfo import Mount, parse_mountinfo
from stagelens.snapshot.listing import PROLOGUE, ListingError, Rows, list_command, quote, read_listing

SCRATCH = "/o"  # in memory, writable
_TREES = "/p"
_MAX_BYTES = 1 << 30  # of one listing's parts
_LINE = 256
_OVERLAY = "overlay"
# BuildKit does not tell of a program's end while its standard input is open (os/exec's Wait): so a second
# shell tells of the first one's.
_SHELL = ("sh", "-c", "sh; echo ended; exec cat > /dev/null")
_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def tree(number: int) -> str:
    """Where a tree is mounted."""
    return f"{_TREES}/{number}"


@dataclass(frozen=True, slots=True)
class Mounted:
    """What the kernel says of a mounted tree.

    `layers` are the directories below it, uppermost first, by the engine's names for them; `stamp` is its
    root's inode and change time, "" where the root is made anew for each mount. `upper` says that the
    uppermost layer is mounted as the upper directory.
    """

    overlay: bool
    upper: bool
    layers: tuple[bytes, ...]
    stamp: str


class Shells:
    """Up to `most` shells, started as they are needed; it serves as `walk.Lister`."""

    def __init__(self, container: GatewayContainer, most: int) -> None:
        self._container = container
        self._idle: queue.SimpleQueue[ContainerProcess | None] = queue.SimpleQueue()
        self._files = count()
        self._started: list[ContainerProcess] = []
        for _ in range(most):
            self._idle.put(None)

    def contents(self, folders: Sequence[tuple[int, bytes]]) -> Rows:
        """See `walk.Lister`.

        Raises
        ------
        ListingError: it is not whole. ProcessEnded, BuildCancelled, ConnectionLost.
        """
        return self._list(folders, deep=False)

    def trees(self, number: int, folders: Iterable[bytes]) -> Rows:
        """See `walk.Lister`. Raises as `contents`."""
        return self._list([(number, key) for key in folders], deep=True)

    def _list(self, folders: Sequence[tuple[int, bytes]], *, deep: bool) -> Rows:
        paths = [_path(number, key) for number, key in folders]
        out = f"{SCRATCH}/{next(self._files)}".encode()
        with self._shell() as shell:
            shell.write(list_command(paths, out, deep=deep))
            failed, *sizes = self._numbers(shell, 4)
            if failed or sum(sizes) > _MAX_BYTES:
                raise ListingError(
                    "The files could not be listed in the engine.",
                    why="there are too many" if not failed else "the engine's find failed",
                    remedy="explore again; if it stays, check the engine's free disk: stagelens doctor",
                )
            names, facts, links = (shell.read(size) for size in sizes)
        return read_listing(names, facts, links, f"{_TREES}/".encode())

    def content(self, number: int, key: bytes, most: int) -> bytes:
        """The first bytes of a file, `most` of them. Raises as `contents`."""
        return self._output(b"head -c %d %b" % (most, quote(_path(number, key))), most)

    def mounted(self, trees: int) -> list[Mounted]:
        """What the kernel says of the trees 0 to `trees` - 1."""
        places = [tree(number) for number in range(trees)]
        command = f"stat -c '%i %Z' / {' '.join(places)}; cat /proc/self/mountinfo"
        # The names are the engine's own, surrogates and all.
        printed = self._output(command.encode(), _MAX_BYTES).decode("utf-8", "surrogateescape")
        lines = printed.split("\n")
        stamps = dict(zip(["/", *places], lines, strict=False))
        mounts = {mount.point: mount for mount in parse_mountinfo("\n".join(lines[len(stamps) :]))}
        # An engine of overlays, which all its containers stand on, mounts a single layer as it is.
        overlays = mounts["/"].kind == _OVERLAY
        return [_mounted(mounts[place], stamps[place], overlays) for place in places]

    def _output(self, command: bytes, most: int) -> bytes:
        """What shell commands print, at most so many bytes."""
        out = f"{SCRATCH}/{next(self._files)}".encode()
        whole = b"{ %b; } < /dev/null > %b; echo $? $(wc -c < %b); cat %b\n"
        with self._shell() as shell:
            shell.write(whole % (command, out, out, out))
            failed, size = self._numbers(shell, 2)
            data = shell.read(min(size, most))
        if failed:
            raise ListingError("The file could not be read in the engine.")
        return data

    def end(self) -> None:
        """End all shells, each while the others end, and the container. Calling it again does nothing."""
        started, self._started = self._started, []
        for shell in started:
            shell.close_input()
        for shell in started:
            shell.end()
        self._container.release()

    @contextmanager
    def _shell(self) -> Generator[ContainerProcess]:
        shell = self._idle.get()
        try:
            if shell is None:
                shell = self._container.start(*_SHELL, env=_ENV)
                self._started.append(shell)
                shell.write(PROLOGUE.encode())
            yield shell
        finally:
            self._idle.put(shell)

    @staticmethod
    def _numbers(shell: ContainerProcess, count: int) -> list[int]:
        numbers = shell.read_line(_LINE).split()
        if len(numbers) != count or not all(number.isdigit() for number in numbers):
            raise ListingError("The engine's shell does not answer as it should.")
        return [int(number) for number in numbers]


def _path(number: int, key: bytes) -> bytes:
    return tree(number).encode() + (b"/" + key.replace(b"\0", b"/") if key else b"")


def _mounted(mount: Mount, stamp: str, overlays: bool) -> Mounted:
    """A mount by its line and its root's stamp; `overlays`: whether the engine has layers.

    Read-only with an upper directory, that one is a layer that BuildKit has not closed yet; writable, it is
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
