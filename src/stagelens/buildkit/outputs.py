"""Where a build's result goes instead of an image: a tar to a stream or a file, or a local folder.

Each of these serves FileSend/DiffCopy; `exporter` is what the build must ask the engine for.
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
    """A service that takes a build's result."""

    @property
    def exporter(self) -> str:
        """The type of BuildKit's exporter: "tar" or "local"."""
        ...

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        ...


class FileSend:
    """Takes a build's result as a tar and writes it to `sink`; `limit` is in bytes."""

    exporter = "tar"

    def __init__(self, sink: IO[bytes], limit: int | None = None) -> None:
        self._sink = sink
        self._limit = limit
        self.received_bytes = 0

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
        return {_METHOD: self.receive}

    def receive(self, stream: RpcStream) -> None:
        """Take one result in."""
        for message in stream.receive():
            data = BytesMessage.FromString(message).data
            self.received_bytes += len(data)
            if self._limit is not None and self.received_bytes > self._limit:
                raise RpcError(INTERNAL, f"the result is larger than {self._limit} bytes")
            self._sink.write(data)


class TarFile:
    """Takes a build's result as the tar `path`, which appears, or is replaced, only when it is whole."""

    exporter = "tar"

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        self._limit = limit

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
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
    """Takes a build's result as a folder; `limit` is in bytes of content.

    As with `docker build --output`, what is in the folder already stays, and files of the same name are
    replaced, each one when it is whole; here no folder ever gives way to a file. Owners are the caller's.
    `received` counts what came. See receiver.py for what a hostile image cannot do.
    """

    exporter = "local"

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        self._limit = limit
        self.received = ReceivedCounts()

    def methods(self) -> dict[str, Handler]:
        """The gRPC methods to serve."""
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
                remedy="give a folder that you may write to",
            ) from error
        receiver.run()
