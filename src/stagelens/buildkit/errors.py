"""What can go wrong between us and BuildKit."""

from __future__ import annotations

import os

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
    """The engine stopped a build because of its own fault in every attempt; see engine_faults.py."""


class BuildCancelled(BuildKitError):
    """The caller cancelled the build; the engine has been told to stop it."""


class ContextError(StagelensError):
    """A path of the build context cannot be used."""


class FileVanished(ContextError):
    """A file was there when the context was listed, and is not any more."""


class PatternError(ContextError):
    """A pattern that the engine refuses; `pattern` is its text."""

    def __init__(self, pattern: str, reason: str, *, where: str | None = None) -> None:
        self.pattern = pattern
        super().__init__(
            f"The pattern {pattern!r} is not valid.",
            where=where,
            why=reason,
            remedy="mend the pattern; a backslash before a special character takes its meaning away",
        )


def unreadable_path_error(path: bytes, error: OSError) -> ContextError:
    """The error for a path below the context that the system does not let us read."""
    ignores = path.rpartition(b"/")[2].endswith(b".dockerignore")
    return ContextError(
        "A path of the build context cannot be read.",
        where=os.fsdecode(path) or ".",
        why=error.strerror,
        remedy="make it readable" if ignores else "exclude it in .dockerignore, or make it readable",
    )
