"""The errors of this package."""

from __future__ import annotations

import os

from stagelens.errors import StagelensError


class BuildKitError(StagelensError):
    """The base of this package's errors."""


class ConnectionLost(BuildKitError):
    """The HTTP/2 connection ended while a call still needed it."""


class UpgradeRefused(BuildKitError):
    """The engine does not upgrade a connection to HTTP/2: it is too old, or not Docker's."""


class StreamReset(BuildKitError):
    """The other side ended one gRPC stream: it cancelled the call, or no longer needs the answer."""


class RpcError(BuildKitError):
    """A gRPC call failed.

    Attributes
    ----------
    code
        The canonical status number.
    message
        The text that the other side sent.
    """

    def __init__(self, code: int, message: str, *, where: str | None = None) -> None:
        self.code = code
        self.message = message
        super().__init__(f"gRPC status {code}: {message}", where=where)


class ResultError(BuildKitError):
    """A build's result cannot be received: it leads out of its folder, is too large, or cannot be written."""


class BuildError(BuildKitError):
    """The engine ended the build with an error; `what` is the engine's text."""


class EngineFault(BuildKitError):
    """A fault of the engine, not of the build, ended every attempt; see engine_faults.py."""


class BuildCancelled(BuildKitError):
    """The caller cancelled the build, and the engine was asked to stop it."""


class ContextError(StagelensError):
    """A path of the build context cannot be used."""


class FileVanished(ContextError):
    """A file disappeared after the context was listed."""


class PatternError(ContextError):
    """A pattern that the engine rejects.

    Attributes
    ----------
    pattern
        The pattern's text.
    """

    def __init__(self, pattern: str, reason: str, *, where: str | None = None) -> None:
        self.pattern = pattern
        super().__init__(
            f"The pattern {pattern!r} is not valid.",
            where=where,
            why=reason,
            remedy="correct the pattern; a backslash before a special character makes it literal",
        )


def unreadable_path_error(path: bytes, error: OSError) -> ContextError:
    """Return the error for a path of the context that the system refuses to read."""
    ignores = path.rpartition(b"/")[2].endswith(b".dockerignore")
    return ContextError(
        "A path of the build context cannot be read.",
        where=os.fsdecode(path) or ".",
        why=error.strerror,
        remedy="make it readable" if ignores else "exclude it in .dockerignore, or make it readable",
    )
