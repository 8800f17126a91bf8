"""What can go wrong between us and BuildKit."""

from __future__ import annotations

from stagelens.errors import StagelensError


class BuildKitError(StagelensError):
    """Base of this package's errors."""


class ConnectionLost(BuildKitError):
    """The HTTP/2 connection ended while something still needed it."""


class UpgradeRefused(BuildKitError):
    """The engine does not switch this connection to HTTP/2: it is too old, or not Docker's."""


class StreamReset(BuildKitError):
    """The other side gave up one gRPC stream (it cancelled, or no longer wants the answer)."""


class RpcError(BuildKitError):
    """A gRPC call failed: `code` is the canonical status number, `message` the other side's text."""

    def __init__(self, code: int, message: str, *, where: str | None = None) -> None:
        self.code = code
        self.message = message
        super().__init__(f"gRPC status {code}: {message}", where=where)


class ResultError(BuildKitError):
    """A build's result cannot be taken: a path that leads out, too much of it, or no place to write."""


class BuildError(BuildKitError):
    """The engine ended the build with an error; `what` is its own text."""


class EngineFault(BuildKitError):
    """The engine gave a build up through a fault of its own, however often it was asked; see again.py."""


class BuildCancelled(BuildKitError):
    """The caller cancelled the build; the engine has been told to stop it."""
