"""The values of intake: a learner's submission, its packed files, and the limits on its size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stagelens.errors import StagelensError


class SubmissionRejected(StagelensError):
    """A submission that cannot be graded.

    Its learner gets the status "refused" and no grade, which differs from zero points.

    Parameters
    ----------
    what
        The reason, for the instructor.
    where
        The file or archive member with the problem.
    remedy
        What to do next; by default, to ask the learner for another archive.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where=where, remedy=remedy or "ask the learner for a plain zip of the folder")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits on one submission; projects of this course are a few dozen files and some kilobytes.

    Attributes
    ----------
    max_entries
        The number of files, folders and links.
    max_bytes
        The unpacked size.
    max_archive_bytes
        The size of the archive file.
    max_ratio
        The unpacked bytes for each byte of the archive.
    ratio_exempt_bytes
        The unpacked size up to which `max_ratio` does not apply.
    max_path_bytes
        The length of a path.
    max_depth
        The number of components of a path.
    """

    max_entries: int = 5_000
    max_bytes: int = 64 << 20
    max_archive_bytes: int = 64 << 20
    max_ratio: int = 100
    ratio_exempt_bytes: int = 4 << 20
    max_path_bytes: int = 1024
    max_depth: int = 32


@dataclass(frozen=True, slots=True)
class Submission:
    """A learner's submission as it was found.

    Attributes
    ----------
    learner
        The learner's key: a safe file name, unique in the class and the same in every run.
    name
        The learner's name for people.
    source
        A folder, an archive, or the first of `loose_files`.
    loose_files
        The files of a submission that has no folder or archive, by the names that the learner gave them.
    ids
        The learner's numbers by system, for example `{"moodle": "12345"}`.
    late
        Whether Canvas marks the submission as late.
    problem
        Why the submission is rejected, if that is known without reading its files.
    """

    learner: str
    name: str
    source: Path
    loose_files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    late: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PackedSubmission:
    """The validated files of a submission as a canonical tar: sorted, without owners or times.

    Attributes
    ----------
    digest
        The SHA-256 of `tar`. Equal files have equal digests; the archive format does not matter.
    tar
        The tar file.
    """

    digest: str
    tar: bytes = field(repr=False)
