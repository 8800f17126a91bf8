"""Which members are let in: the checks of names, kinds, links and sizes that every submission passes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from stagelens.text import inline
from stagelens_course.classroom.intake.members import Member
from stagelens_course.classroom.intake.model import Limits, Refused
from stagelens_course.grading.workspace import leads_out

_KINDS = ("file", "dir", "symlink")
_SETUID = 0o6000
# What operating systems and git leave in archives. None of it belongs to a project.
_JUNK_FOLDERS = ("__MACOSX", ".git")
_JUNK_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
_NAME = 255  # bytes, Linux' NAME_MAX


def clean_path(raw: str, limits: Limits) -> str:
    """`raw` as a relative path with `/` between plain names; "" for the top folder.

    Raises
    ------
    Refused: it is absolute, leads out, is too long or deep, or holds what no file name should.
    """
    shown = inline(raw, 200)
    if raw.startswith("/") or raw[1:2] == ":":
        raise Refused("A file has an absolute path.", where=shown)
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("A file's path leads out of the submission.", where=shown)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in raw):
        raise Refused("A file's name is not UTF-8, or holds control characters.", where=shown)
    path = "/".join(parts)
    size = max((len(part.encode()) for part in parts), default=0)
    if len(path.encode()) > limits.path or size > _NAME or len(parts) > limits.depth:
        raise Refused("A file's path is too long or too deep.", where=shown)
    return path


def check_kind(member: Member) -> None:
    """Refuse what is neither file, folder nor symlink, and files that would run as somebody else."""
    if member.kind not in _KINDS:
        raise Refused(f"It holds a {member.kind}.", where=inline(member.path, 200))
    if member.kind == "file" and member.mode & _SETUID:
        raise Refused("A file is setuid or setgid.", where=inline(member.path, 200))


def check_link(path: str, target: str) -> None:
    """Refuse a symlink that leads, or may lead, out of the submission; see `leads_out`."""
    if leads_out(path, target):
        raise Refused(
            "A link leads out of the submission.", where=f"{inline(path, 200)} -> {inline(target, 200)}"
        )


def is_junk(path: str) -> bool:
    """Whether a path is an operating system's or git's own."""
    *folders, name = path.split("/")
    return (
        any(part in _JUNK_FOLDERS for part in (*folders, name))
        or name in _JUNK_FILES
        or name.startswith("._")
    )


class Budget:
    """Counts entries and bytes, and refuses what passes the limits; `archive` is the archive's own size."""

    def __init__(self, limits: Limits, archive: int | None = None) -> None:
        self._limits = limits
        self._entries = 0
        self._size = 0
        allowed = limits.size if archive is None else max(limits.free, archive * limits.ratio)
        self._allowed = min(limits.size, allowed)

    def entry(self) -> None:
        """Count one more entry."""
        self._entries += 1
        if self._entries > self._limits.entries:
            raise Refused(f"It holds more than {self._limits.entries} entries.")

    def read(self, member: Member) -> Iterator[bytes]:
        """The content of a member, refused while it is read where it grows too large."""
        for chunk in member.chunks():
            self._size += len(chunk)
            if self._size > self._allowed:
                whose = "an archive of its size" if self._allowed < self._limits.size else "a submission"
                what = f"It unpacks to more than the {self._allowed} bytes that {whose} may."
                raise Refused(what, where=inline(member.path, 200))
            yield chunk
