"""What intake hands on: who submitted, and the submitted files in one checked form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stagelens.errors import StagelensError


class Refused(StagelensError):
    """A submission that is not let in. It is reported as an error of its own, never as a grade of zero."""

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy or "ask the learner for a plain zip of the folder")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one submission may take; projects of this course are a few dozen files and some kilobytes.

    entries: files, folders and links. size: bytes unpacked. archive: bytes of the archive itself.
    ratio: bytes unpacked for each byte of the archive, looked at from `free` bytes on.
    path: bytes of a path. depth: folders in a path.
    """

    entries: int = 5_000
    size: int = 64 << 20
    archive: int = 64 << 20
    ratio: int = 100
    free: int = 4 << 20
    path: int = 1024
    depth: int = 32


@dataclass(frozen=True, slots=True)
class Submission:
    """One learner's submission, as it was found.

    learner: a name for files and keys: unique in its class, the same in every run.
    name: for people. ids: the learner's number in the system it came from, `{"moodle": "12345"}` say.
    source: a folder, an archive, or the first of `loose`: files by the learner's own names for them.
    late: Canvas' own mark. problem: why it cannot be looked at, where that is known already.
    """

    learner: str
    name: str
    source: Path
    loose: Mapping[str, Path] = field(default_factory=dict[str, Path])
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    late: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Packed:
    """A submission's files as a tar of our own making: sorted, without owners or times.

    digest: sha256 of `tar`: the same files have the same digest, however they were handed in.
    """

    digest: str
    tar: bytes = field(repr=False)
