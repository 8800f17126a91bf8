"""Destinations of a build's result other than an image: a tar in a stream or a file, or a local folder.

Each of these serves FileSend/DiffCopy; the build must request the exporter named by `exporter`.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import IO, Protocol

from stagelens.buildkit.errors import ResultError, RpcError
from stagelens.buildkit.grpc import INTERNAL, Handler, RpcStream
from stagelens.buildkit.proto.buildkit_pb2 import BytesMessage
from stagelens.buildkit.receiver import ReceivedCounts, Receiver

_METHOD = "/moby.filesync.v1.FileSend/DiffCopy"


class Output(Protocol):
    """A service that receives a build's result."""

    @property
    def exporter(self) -> str:
        """The type of BuildKit's exporter: "tar" or "local"."""
        ...

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        ...


class FileSend:
    """A build's result as a tar in a stream.

    Parameters
    ----------
    sink
        Where to write the tar.
    limit
        The most bytes to accept.

    Attributes
    ----------
    received_bytes
        The size of the tar so far.
    """

    exporter = "tar"

    def __init__(self, sink: IO[bytes], limit: int | None = None) -> None:
        self._sink = sink
        self._limit = limit
        self.received_bytes = 0

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {_METHOD: self.receive}

    def receive(self, stream: RpcStream) -> None:
        """Receive one result."""
        for message in stream.receive():
            data = BytesMessage.FromString(message).data
            self.received_bytes += len(data)
            if self._limit is not None and self.received_bytes > self._limit:
                raise RpcError(INTERNAL, f"the result is larger than {self._limit} bytes")
            self._sink.write(data)


class TarFile:
    """A build's result as a tar file, which is created or replaced only when it is complete.

    Parameters
    ----------
    path
        The file to write.
    limit
        The most bytes to accept.
    """

    exporter = "tar"

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        self._limit = limit

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {_METHOD: self._receive}

    def _receive(self, stream: RpcStream) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                FileSend(file, self._limit).receive(stream)
            temporary.replace(self.path)
        except OSError as error:
            raise ResultError(
                "The build's result cannot be written.", where=str(self.path), why=error.strerror
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


class LocalFolder:
    """A build's result as a folder.

    As with `docker build --output`, existing files in the folder remain, and files of the same name are
    replaced, each when it is complete; unlike there, a file never replaces a folder. The caller owns all
    files. receiver.py describes what a hostile image cannot do.

    Parameters
    ----------
    path
        The folder to write to; it is created if necessary.
    limit
        The most bytes of content to accept.

    Attributes
    ----------
    received
        Counts of the files.
    """

    exporter = "local"

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        self._limit = limit
        self.received = ReceivedCounts()

    def methods(self) -> dict[str, Handler]:
        """Return the gRPC methods to serve."""
        return {_METHOD: self._receive}

    def _receive(self, stream: RpcStream) -> None:
        self.received = ReceivedCounts()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            receiver = Receiver(stream, self.path, self._limit, self.received)
        except OSError as error:
            raise ResultError(
                "The build's result cannot be written.",
                where=str(self.path),
                why=error.strerror,
                remedy="choose a folder that you can write to",
            ) from error
        receiver.run()
