"""The rules that every archive member must pass: its name, type, link target and size."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from stagelens.text import inline
from stagelens_course.classroom.intake.archive import ArchiveMember
from stagelens_course.classroom.intake.submission import ArchiveLimits, SubmissionRejected
from stagelens_course.grading.staging import leads_out

_KINDS = ("file", "dir", "symlink")
_SETUID = 0o6000
# Files that operating systems and git add to archives; none of them belongs to a project.
_SYSTEM_FOLDERS = ("__MACOSX", ".git")
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
_MAX_NAME_BYTES = 255  # Linux' NAME_MAX


def normalize_path(raw: str, limits: ArchiveLimits) -> str:
    """Return a member's path in canonical form: relative, with `/` between plain names.

    Parameters
    ----------
    raw
        The path in the archive.
    limits
        The limits on length and depth.

    Returns
    -------
    str
        The canonical path; the empty string for the top folder.

    Raises
    ------
    SubmissionRejected
        If the path is absolute, points outside the submission, is too long or too deep, or contains
        characters that are not allowed in file names.
    """
    shown = inline(raw, 200)
    if raw.startswith("/") or raw[1:2] == ":":
        raise SubmissionRejected("A file has an absolute path.", where=shown)
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise SubmissionRejected("A file's path points outside the submission.", where=shown)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in raw):
        raise SubmissionRejected("A file name is not UTF-8 or contains control characters.", where=shown)
    path = "/".join(parts)
    longest = max((len(part.encode()) for part in parts), default=0)
    if (
        len(path.encode()) > limits.max_path_bytes
        or longest > _MAX_NAME_BYTES
        or len(parts) > limits.max_depth
    ):
        raise SubmissionRejected("A file's path is too long or too deep.", where=shown)
    return path


def check_kind(member: ArchiveMember) -> None:
    """Reject all members but files, folders and symlinks, and reject setuid and setgid files.

    Parameters
    ----------
    member
        The member to check.

    Raises
    ------
    SubmissionRejected
        If the member is of another type, or is setuid or setgid.
    """
    if member.kind not in _KINDS:
        raise SubmissionRejected(f"The submission contains a {member.kind}.", where=inline(member.path, 200))
    if member.kind == "file" and member.mode & _SETUID:
        raise SubmissionRejected("A file is setuid or setgid.", where=inline(member.path, 200))


def check_symlink(path: str, target: str) -> None:
    """Reject a symlink that points, or may point, outside the submission.

    Parameters
    ----------
    path
        The canonical path of the link.
    target
        The target of the link.

    Raises
    ------
    SubmissionRejected
        If the target may be outside.
    """
    if leads_out(path, target):
        raise SubmissionRejected(
            "A symlink points outside the submission.", where=f"{inline(path, 200)} -> {inline(target, 200)}"
        )


def is_system_file(path: str) -> bool:
    """Whether an operating system or git created the file."""
    parts = path.split("/")
    name = parts[-1]
    return any(part in _SYSTEM_FOLDERS for part in parts) or name in _SYSTEM_FILES or name.startswith("._")


class SizeBudget:
    """A counter of entries and bytes that rejects a submission when it exceeds the limits.

    Parameters
    ----------
    limits
        The limits.
    archive_bytes
        The size of the archive, which bounds the unpacked size; None for a folder.
    """

    def __init__(self, limits: ArchiveLimits, archive_bytes: int | None = None) -> None:
        self._limits = limits
        self._entries = 0
        self._bytes = 0
        self._max_bytes = limits.max_bytes
        if archive_bytes is not None:
            by_ratio = max(limits.ratio_exempt_bytes, archive_bytes * limits.max_ratio)
            self._max_bytes = min(self._max_bytes, by_ratio)

    def count_entry(self) -> None:
        """Count one more entry.

        Raises
        ------
        SubmissionRejected
            If there are too many.
        """
        self._entries += 1
        if self._entries > self._limits.max_entries:
            raise SubmissionRejected(f"The submission contains more than {self._limits.max_entries} entries.")

    def read(self, member: ArchiveMember) -> Iterator[bytes]:
        """Read the content of a member and count its bytes while reading.

        Parameters
        ----------
        member
            The member to read.

        Yields
        ------
        bytes
            The next part of the content.

        Raises
        ------
        SubmissionRejected
            If the submission gets too large.
        """
        for chunk in member.chunks():
            self._bytes += len(chunk)
            if self._bytes > self._max_bytes:
                limited = (
                    "an archive of its size" if self._max_bytes < self._limits.max_bytes else "a submission"
                )
                raise SubmissionRejected(
                    f"The unpacked files exceed {self._max_bytes} bytes, the limit for {limited}.",
                    where=inline(member.path, 200),
                )
            yield chunk
