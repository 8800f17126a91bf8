"""An archive of a whole class, spread into a folder: what is bad is one learner's problem, not everyone's."""

from __future__ import annotations

from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.text import inline
from stagelens_course.classroom.intake.admit import check_kind, clean_path, is_junk
from stagelens_course.classroom.intake.members import DAMAGED, Member, of_the_machine, opened
from stagelens_course.classroom.intake.model import Limits, Refused

MAX_ENTRIES = 1_000_000
MAX_SIZE = 64 << 30  # bytes


def spread(archive: Path, folder: Path, limits: Limits) -> dict[Path, str]:
    """Write a class's archive into an empty folder; the answer tells which paths were refused, and why.

    In place of what is refused there is an empty file, so that its learner is found. Links are refused; what
    a learner handed in as an archive is not opened here.

    Raises
    ------
    Refused: the archive is damaged, is too large, or an entry leads out of it. StagelensError: the disk is
    full, say.
    """
    refused: dict[Path, str] = {}
    total = 0
    try:
        with opened(archive) as members:
            for count, member in enumerate(members, 1):
                total += _place(member, folder, limits, refused, count)
                if count > MAX_ENTRIES or total > MAX_SIZE:
                    raise Refused("The archive of the class is too large.", where=inline(archive.name, 200))
    except DAMAGED as error:
        if of_the_machine(error):
            raise StagelensError(
                "The archive of the class cannot be unpacked.",
                where=str(folder.parent),
                why=str(error),
                remedy="make room on that disk, or let this user read the archive",
            ) from error
        raise Refused(
            f"The archive of the class is damaged: {inline(str(error) or type(error).__name__, 200)}",
            where=inline(archive.name, 200),
            remedy="download it again",
        ) from error
    return refused


def _place(member: Member, folder: Path, limits: Limits, refused: dict[Path, str], count: int) -> int:
    """Write one entry, or note why not; the bytes that were written."""
    try:
        path = clean_path(member.path, limits)
    except Refused as error:
        stand_in = _stand_in(member.path, limits, count)
        if stand_in is None:
            raise
        refused[_touched(folder / stand_in)] = f"{error.what} ({error.where})"
        return 0
    if not path or is_junk(path):
        return 0
    try:
        return _write(member, folder / path, limits)
    except Refused as error:
        refused[_touched(folder / path)] = f"{error.what} ({error.where})"
        return 0


def _stand_in(raw: str, limits: Limits, count: int) -> str | None:
    """A clean path in the same folders as far as they are clean; None for a path that leads out."""
    parts = raw.split("/")
    if raw.startswith("/") or ".." in parts:
        return None
    clean: list[str] = []
    for part in parts[:-1][: limits.depth - 1]:
        try:
            clean.append(clean_path(part, limits))
        except Refused:
            break
    return "/".join([*clean, f"refused-{count}"]) if clean else None


def _touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch()
    return path


def _write(member: Member, target: Path, limits: Limits) -> int:
    check_kind(member)
    if member.kind == "symlink":
        raise Refused("It holds a link.", where=inline(member.path, 200))
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "dir":
        target.mkdir(exist_ok=True)
        return 0
    if target.exists():
        raise Refused("Two entries have the same name.", where=inline(member.path, 200))
    size = 0
    with target.open("xb") as file:
        for chunk in member.chunks():
            size += len(chunk)
            if size > limits.archive:
                file.truncate(0)
                raise Refused(f"It is larger than {limits.archive} bytes.", where=inline(member.path, 200))
            file.write(chunk)
    return size
