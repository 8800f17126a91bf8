"""The receiving side of a file transfer: the engine sends a tree, which becomes a local folder.

The protocol is fsutil's with the roles swapped (see filesync.py): the engine sends STATs, the receiver
requests contents and sends FIN after the last, and the engine answers FIN. The tree is untrusted: a name
never leads out of the target, no symlink on the way is followed (not even one that existed before), and
devices, pipes, owners, set-user-id bits and attributes other than `user.` are left out.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stagelens.buildkit.context.folder import OpenFolder, OpenFolders, open_root
from stagelens.buildkit.context.walker import GO_DIRECTORY, GO_SYMLINK, TYPE_BITS
from stagelens.buildkit.errors import ResultError
from stagelens.buildkit.grpc import RpcStream
from stagelens.buildkit.proto.buildkit_pb2 import Packet, Stat
from stagelens.text import file_name

# The engine queues a bounded number of requests and stops reading when the queue is full.
_MAX_REQUESTED = 64
_MAX_PATHS = 5_000_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_GO_STICKY = 1 << 20


@dataclass(slots=True)
class ReceivedCounts:
    """Counts of a received tree.

    Attributes
    ----------
    paths
        All paths.
    files
        Regular files.
    content_bytes
        The size of their contents.
    skipped
        Devices and pipes, which are left out.
    """

    paths: int = 0
    files: int = 0
    content_bytes: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _File:
    """A regular file during its transfer: written under a temporary name, then renamed."""

    path: bytes
    mode: int
    mtime_ns: int
    remaining: int
    xattrs: dict[str, bytes]
    temporary: str
    descriptor: int = -1


class Receiver:
    """A transfer into a folder.

    Parameters
    ----------
    stream
        The call that carries the transfer.
    target
        An existing folder.
    limit
        The most bytes of content to accept.
    counts
        Counts to update.
    """

    def __init__(self, stream: RpcStream, target: Path, limit: int | None, counts: ReceivedCounts) -> None:
        self._stream = stream
        self._target = target
        self._limit = limit
        self._counts = counts
        self._folders = OpenFolders(open_root(target))
        self._token = f".stagelens-{secrets.token_hex(4)}-"
        self._waiting: deque[tuple[int, _File]] = deque()
        self._requested: dict[int, _File] = {}
        self._hard_links: list[tuple[bytes, bytes]] = []
        self._directories: list[tuple[bytes, int, int]] = []
        self._announced = False

    def run(self) -> None:
        """Receive everything.

        Raises
        ------
        ResultError
            If a path is invalid, the result exceeds `limit`, or the system refuses to write.
        """
        try:
            for message in self._stream.receive():
                packet = Packet.FromString(message)
                if packet.type == Packet.FIN:
                    return
                self._handle(packet)
                if self._announced and not self._waiting and not self._requested:
                    self._finish()
                    self._announced = False  # once
                    self._stream.send(Packet(type=Packet.FIN).SerializeToString())
        finally:
            self._clean_up()
            self._folders.close()
        raise ResultError("The engine stopped in the middle of the result.", where=str(self._target))

    def _handle(self, packet: Packet) -> None:
        if packet.type == Packet.STAT and not packet.HasField("stat"):
            self._announced = True
        elif packet.type == Packet.STAT:
            path = packet.stat.path
            try:
                self._receive_entry(self._counts.paths, path, packet.stat)
            except OSError as error:
                raise self._write_error(path, error) from error
            self._counts.paths += 1
            if self._counts.paths > _MAX_PATHS:
                raise ResultError(f"The result has more than {_MAX_PATHS} paths.")
        elif packet.type == Packet.DATA:
            self._data(packet.id, packet.data)
        elif packet.type == Packet.ERR:
            text = packet.data.decode(errors="replace")
            raise ResultError("The engine could not send the result.", why=text)
        self._request_files()

    def _receive_entry(self, index: int, path: bytes, entry: Stat) -> None:
        above, name = _split(path)
        folder = self._folders.get(above)
        kind = entry.mode & TYPE_BITS
        if kind == GO_DIRECTORY:
            self._make_directory(folder, name)
            self._directories.append((path, _mode(entry.mode), entry.mod_time))
        elif kind == GO_SYMLINK:
            temporary = f"{self._token}{index}"
            os.symlink(os.fsdecode(entry.linkname), folder.name(temporary), dir_fd=folder.descriptor)
            self._rename_into_place(folder, temporary, name)
            if os.utime in os.supports_follow_symlinks:
                _set_time(folder, name, entry.mod_time)
        elif kind:
            self._counts.skipped += 1
        elif entry.linkname:
            _split(entry.linkname)
            self._hard_links.append((path, entry.linkname))  # the other name may be incomplete yet
        else:
            self._counts.content_bytes += entry.size
            if self._limit is not None and self._counts.content_bytes > self._limit:
                raise ResultError(f"The result is larger than {self._limit} bytes.", where=_printable(path))
            self._counts.files += 1
            temporary = f"{self._token}{index}"
            file = _File(path, _mode(entry.mode), entry.mod_time, entry.size, dict(entry.xattrs), temporary)
            self._waiting.append((index, file))

    def _request_files(self) -> None:
        while self._waiting and len(self._requested) < _MAX_REQUESTED:
            index, file = self._waiting.popleft()
            self._requested[index] = file
            self._stream.send(Packet(type=Packet.REQ, id=index).SerializeToString(), flush=False)

    def _data(self, index: int, data: bytes) -> None:
        file = self._requested.get(index)
        if file is None:
            raise ResultError(f"The engine sent a file that was not requested ({index}).")
        try:
            if file.descriptor < 0:
                folder = self._folders.get(_split(file.path)[0])
                file.descriptor = os.open(
                    folder.name(file.temporary), _CREATE, 0o600, dir_fd=folder.descriptor
                )
            if data:
                file.remaining -= len(data)
                if file.remaining < 0:
                    raise ResultError(
                        "A file of the result exceeds its announced size.", where=_printable(file.path)
                    )
                _write(file.descriptor, data)
            else:
                self._complete(file)
                del self._requested[index]
        except OSError as error:
            raise self._write_error(file.path, error) from error

    def _complete(self, file: _File) -> None:
        if file.remaining:
            raise ResultError(
                "A file of the result is shorter than its announced size.", where=_printable(file.path)
            )
        for key, value in file.xattrs.items():
            if key.startswith("user.") and hasattr(os, "setxattr"):
                with suppress(OSError):  # unsupported by some file systems
                    os.setxattr(file.descriptor, key, value)
        above, name = _split(file.path)
        folder = self._folders.get(above)
        if hasattr(os, "fchmod"):
            os.fchmod(file.descriptor, file.mode)
        descriptor, file.descriptor = file.descriptor, -1
        os.close(descriptor)
        _set_time(folder, file.temporary, file.mtime_ns)
        self._rename_into_place(folder, file.temporary, name)
        file.temporary = ""

    def _finish(self) -> None:
        """Create hard links, and set the times and modes of folders: these need the contents first."""
        for path, first in self._hard_links:
            try:
                self._link(path, first)
            except OSError as error:
                raise self._write_error(path, error) from error
        for path, mode, mtime_ns in reversed(self._directories):
            above, name = _split(path)
            try:
                parent, folder = self._folders.get(above), self._folders.get(path)
                _set_time(parent, name, mtime_ns)
                if folder.descriptor is not None:
                    os.fchmod(folder.descriptor, mode)
            except OSError as error:
                raise self._write_error(path, error) from error

    def _link(self, path: bytes, first: bytes) -> None:
        (above, name), (first_above, first_name) = _split(path), _split(first)
        source, folder = self._folders.get(first_above), self._folders.get(above)
        if not stat.S_ISREG(source.status(first_name).st_mode):
            raise ResultError("A hard link of the result does not lead to a file.", where=_printable(path))
        temporary = f"{self._token}link"
        os.link(
            source.name(first_name),
            folder.name(temporary),
            src_dir_fd=source.descriptor,
            dst_dir_fd=folder.descriptor,
            follow_symlinks=os.link not in os.supports_follow_symlinks,
        )
        self._rename_into_place(folder, temporary, name)
        with suppress(FileNotFoundError):  # renaming to a hard link of the same file does nothing
            os.unlink(folder.name(temporary), dir_fd=folder.descriptor)

    def _make_directory(self, folder: OpenFolder, name: str) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(folder.status(name).st_mode):
                return
            os.unlink(folder.name(name), dir_fd=folder.descriptor)
        os.mkdir(folder.name(name), 0o700, dir_fd=folder.descriptor)

    def _rename_into_place(self, folder: OpenFolder, temporary: str, name: str) -> None:
        try:
            os.replace(
                folder.name(temporary),
                folder.name(name),
                src_dir_fd=folder.descriptor,
                dst_dir_fd=folder.descriptor,
            )
        except OSError:
            with suppress(OSError):
                os.unlink(folder.name(temporary), dir_fd=folder.descriptor)
            raise

    def _clean_up(self) -> None:
        for file in self._requested.values():
            if file.descriptor >= 0:
                os.close(file.descriptor)
            with suppress(OSError):
                folder = self._folders.get(_split(file.path)[0])
                os.unlink(folder.name(file.temporary), dir_fd=folder.descriptor)

    def _write_error(self, path: bytes, error: OSError) -> ResultError:
        return ResultError(
            "The build's result cannot be written.",
            where=str(self._target / _printable(path)),
            why=error.strerror,
            remedy="free the path, or choose another folder; the existing file or folder is unchanged",
        )


def _split(path: bytes) -> tuple[bytes, str]:
    """Return the path of the folder and the name in it; raise ResultError for a path that leads elsewhere."""
    parts = path.split(b"/")
    strange = any(part in (b"", b".", b"..") or b"\0" in part for part in parts)
    if strange or (os.name == "nt" and any(sign in path for sign in (b"\\", b":"))):
        raise ResultError("The engine sent a path that leads out of the result.", where=_printable(path))
    return b"/".join(parts[:-1]), os.fsdecode(parts[-1])


def _printable(path: bytes) -> str:
    return file_name(path.decode("utf-8", "surrogateescape"))


def _mode(go_mode: int) -> int:
    return go_mode & 0o777 | (stat.S_ISVTX if go_mode & _GO_STICKY else 0)


def _set_time(folder: OpenFolder, name: str, mtime_ns: int) -> None:
    if os.utime in os.supports_follow_symlinks:
        os.utime(folder.name(name), ns=(mtime_ns, mtime_ns), dir_fd=folder.descriptor, follow_symlinks=False)
    else:
        os.utime(folder.name(name), ns=(mtime_ns, mtime_ns))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
