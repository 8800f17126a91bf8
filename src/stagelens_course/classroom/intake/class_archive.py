"""Extraction of an archive of a whole class: a bad entry affects only its learner."""

from __future__ import annotations

from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.text import inline
from stagelens_course.classroom.intake.archive import (
    READ_ERRORS,
    ArchiveMember,
    is_machine_error,
    open_members,
)
from stagelens_course.classroom.intake.rules import check_kind, is_system_file, normalize_path
from stagelens_course.classroom.intake.submission import ArchiveLimits, SubmissionRejected

MAX_ENTRIES = 1_000_000
MAX_BYTES = 64 << 30


def extract_class_archive(archive: Path, folder: Path, limits: ArchiveLimits) -> dict[Path, str]:
    """Extract the archive of a class into an empty folder.

    An empty file replaces each rejected entry, so that discovery still finds its learner. Symlinks are
    rejected. Archives inside the archive stay packed.

    Parameters
    ----------
    archive
        The archive.
    folder
        The empty folder.
    limits
        The limits on each entry.

    Returns
    -------
    dict[Path, str]
        The path of each rejected entry, with the reason.

    Raises
    ------
    SubmissionRejected
        If the archive is damaged or too large, or an entry points outside of it.
    StagelensError
        If this machine cannot extract it: the disk is full, for example.
    """
    rejected: dict[Path, str] = {}
    total = 0
    try:
        with open_members(archive) as members:
            for count, member in enumerate(members, 1):
                total += _extract(member, folder, limits, rejected, count)
                if count > MAX_ENTRIES or total > MAX_BYTES:
                    raise SubmissionRejected(
                        "The archive of the class is too large.", where=inline(archive.name, 200)
                    )
    except READ_ERRORS as error:
        if is_machine_error(error):
            raise StagelensError(
                "The archive of the class cannot be extracted.",
                where=str(folder.parent),
                why=str(error),
                remedy="free some space on that disk, or give this user read access to the archive",
            ) from error
        raise SubmissionRejected(
            f"The archive of the class is damaged: {inline(str(error) or type(error).__name__, 200)}",
            where=inline(archive.name, 200),
            remedy="download it again",
        ) from error
    return rejected


def _extract(
    member: ArchiveMember, folder: Path, limits: ArchiveLimits, rejected: dict[Path, str], count: int
) -> int:
    """Write an entry or record why it is rejected; return the number of bytes written."""
    try:
        path = normalize_path(member.path, limits)
    except SubmissionRejected as error:
        placeholder = _placeholder(member.path, limits, count)
        if placeholder is None:
            raise
        rejected[_touch(folder / placeholder)] = f"{error.what} ({error.where})"
        return 0
    if not path or is_system_file(path):
        return 0
    try:
        return _write(member, folder / path, limits)
    except SubmissionRejected as error:
        rejected[_touch(folder / path)] = f"{error.what} ({error.where})"
        return 0


def _placeholder(raw: str, limits: ArchiveLimits, count: int) -> str | None:
    """Return a valid path below the valid parents of an invalid one; None for a path that points outside."""
    parts = raw.split("/")
    if raw.startswith("/") or ".." in parts:
        return None
    parents: list[str] = []
    for part in parts[:-1][: limits.max_depth - 1]:
        try:
            parents.append(normalize_path(part, limits))
        except SubmissionRejected:
            break
    return "/".join([*parents, f"refused-{count}"]) if parents else None


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch()
    return path


def _write(member: ArchiveMember, target: Path, limits: ArchiveLimits) -> int:
    check_kind(member)
    if member.kind == "symlink":
        raise SubmissionRejected("The submission contains a symlink.", where=inline(member.path, 200))
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "dir":
        target.mkdir(exist_ok=True)
        return 0
    if target.exists():
        raise SubmissionRejected("Two entries have the same name.", where=inline(member.path, 200))
    size = 0
    with target.open("xb") as file:
        for chunk in member.chunks():
            size += len(chunk)
            if size > limits.max_archive_bytes:
                file.truncate(0)
                raise SubmissionRejected(
                    f"The file is larger than {limits.max_archive_bytes} bytes.",
                    where=inline(member.path, 200),
                )
            file.write(chunk)
    return size
