"""A submission's files into one canonical tar, and from there into a folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stagelens.text import inline
from stagelens_course.classroom.intake.admit import Budget, check_kind, check_link, clean_path, is_junk
from stagelens_course.classroom.intake.members import (
    ARCHIVE_SUFFIXES,
    DAMAGED,
    Member,
    looks_like_archive,
    of_the_machine,
    opened,
    reader,
)
from stagelens_course.classroom.intake.model import Limits, Packed, Refused, Submission

_EMPTY = b""
# Bytes of a zip's central directory for each entry at least; many more of them than entries is a bomb.
_CENTRAL = b"PK\x01\x02"


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    content: bytes = _EMPTY
    executable: bool = False
    target: str = ""


def pack(submission: Submission, limits: Limits | None = None) -> Packed:
    """Check a submission and take its project: the folder of its Dockerfile, or all of it.

    Raises
    ------
    Refused: with the reason, in words for the instructor. OSError: this machine cannot read it.
    """
    limits = limits or Limits()
    if submission.problem is not None:
        raise Refused(submission.problem)
    loose = submission.loose
    files = _loose(loose, limits) if loose else _one(submission.source, limits)
    project = _project(files)
    for path, file in project.items():
        if file.kind == "symlink":
            check_link(path, file.target)
    if not any(file.kind == "file" for file in project.values()):
        raise Refused("It holds no files.")
    tar = _tar(project)
    return Packed(hashlib.sha256(tar).hexdigest(), tar)


def unpack(packed: Packed, folder: Path) -> None:
    """Write a packed submission into an empty folder.

    Raises
    ------
    Refused: it is not what `pack` makes.
    """
    if hashlib.sha256(packed.tar).hexdigest() != packed.digest:
        raise Refused("A packed submission was changed on its way.")
    with tarfile.open(fileobj=io.BytesIO(packed.tar), mode="r:") as archive:
        archive.extractall(folder, filter="data")


def _one(source: Path, limits: Limits) -> dict[str, _File]:
    size = None if source.is_dir() else source.stat().st_size
    if size is not None and size > limits.archive:
        raise Refused(f"The archive is larger than {limits.archive} bytes.", where=inline(source.name, 200))
    try:
        if size is not None and source.read_bytes().count(_CENTRAL) > 4 * limits.entries:
            raise Refused(f"It holds more than {limits.entries} entries.")
        with opened(source) as members:
            return _take(members, Budget(limits, size), limits)
    except DAMAGED as error:
        if of_the_machine(error):
            raise
        raise Refused(
            f"The submission is damaged or cut short: {inline(str(error) or type(error).__name__, 200)}",
            where=inline(source.name, 200),
        ) from error


def _loose(loose: Mapping[str, Path], limits: Limits) -> dict[str, _File]:
    archives = [inline(name, 200) for name, path in loose.items() if looks_like_archive(path)]
    if archives:
        raise Refused("There is an archive among several files; which one counts?", where=", ".join(archives))
    members = (
        Member(name, "file", chunks=reader(lambda path=path: path.open("rb"))) for name, path in loose.items()
    )
    return _take(members, Budget(limits), limits)


def _take(members: Iterable[Member], budget: Budget, limits: Limits) -> dict[str, _File]:
    files: dict[str, _File] = {}
    for member in members:
        budget.entry()
        path = clean_path(member.path, limits)
        if is_junk(path):
            continue
        check_kind(member)
        if not path:
            continue
        if path in files and not (files[path].kind == member.kind == "dir"):
            raise Refused("Two entries have the same name.", where=inline(path, 200))
        if member.kind == "file":
            content = b"".join(budget.read(member))
            files[path] = _File("file", content, bool(member.mode & 0o111))
        else:
            files[path] = _File(member.kind, target=member.target)
    _check_parents(files)
    return files


def _check_parents(files: dict[str, _File]) -> None:
    """Refuse a path below a file or a link: written in order, it would follow that link."""
    for path in files:
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = files.get("/".join(parts[:count]))
            if parent is not None and parent.kind != "dir":
                raise Refused(f"A file's path goes through a {parent.kind}.", where=inline(path, 200))


def _project(files: dict[str, _File]) -> dict[str, _File]:
    """The files below the outermost Dockerfile's folder; without one all, less lone outer folders."""
    recipes = [path for path, file in files.items() if file.kind != "dir"]
    places = [path.rpartition("/")[0] for path in recipes if path.rpartition("/")[2] == "Dockerfile"]
    outermost = min((_depth(place) for place in places), default=0)
    roots = [place for place in places if _depth(place) == outermost]
    if len(roots) > 1:
        raise Refused(
            "There are several Dockerfiles; which one counts?",
            where=", ".join(inline(root, 200) for root in roots[:5]),
        )
    if roots:
        return _below(files, roots[0])
    plain = [path for path, file in files.items() if file.kind == "file"]
    if len(plain) == 1 and plain[0].lower().endswith(ARCHIVE_SUFFIXES):
        raise Refused("It is an archive within an archive.", where=inline(plain[0], 200))
    tops = {path.split("/")[0] for path in files}
    if len(tops) == 1 and any("/" in path for path in files):
        return _project(_below(files, tops.pop()))
    return files


def _depth(place: str) -> int:
    return place.count("/") + 1 if place else 0


def _below(files: dict[str, _File], root: str) -> dict[str, _File]:
    prefix = f"{root}/" if root else ""
    return {path.removeprefix(prefix): file for path, file in files.items() if path.startswith(prefix)}


def _tar(files: dict[str, _File]) -> bytes:
    body = io.BytesIO()
    # Only empty folders count: some archives list folders, and some don't.
    filled = {path[:at] for path in files for at, character in enumerate(path) if character == "/"}
    with tarfile.open(fileobj=body, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(files.keys() - filled, key=lambda path: path.split("/")):
            file = files[path]
            info = tarfile.TarInfo(path)
            info.mode = 0o755 if file.kind == "dir" or file.executable else 0o644
            if file.kind == "dir":
                info.type = tarfile.DIRTYPE
            elif file.kind == "symlink":
                info.type, info.linkname = tarfile.SYMTYPE, file.target
            info.size = len(file.content)
            archive.addfile(info, io.BytesIO(file.content))
    return body.getvalue()
