"""What can be wrong with a build context."""

from __future__ import annotations

import os

from stagelens.errors import StagelensError


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


def unreadable(path: bytes, error: OSError) -> ContextError:
    """The error for a path below the context that the system does not let us read."""
    ignores = path.rpartition(b"/")[2].endswith(b".dockerignore")
    return ContextError(
        "A path of the build context cannot be read.",
        where=os.fsdecode(path) or ".",
        why=error.strerror,
        remedy="make it readable" if ignores else "exclude it in .dockerignore, or make it readable",
    )
