"""Packing a submission's files into a canonical tar, and extracting that tar into a folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stagelens.text import inline
from stagelens_course.classroom.intake.archive import (
    ARCHIVE_SUFFIXES,
    READ_ERRORS,
    ArchiveMember,
    chunk_reader,
    is_machine_error,
    looks_like_archive,
    open_members,
)
from stagelens_course.classroom.intake.rules import (
    SizeBudget,
    check_kind,
    check_symlink,
    is_system_file,
    normalize_path,
)
from stagelens_course.classroom.intake.submission import (
    ArchiveLimits,
    PackedSubmission,
    Submission,
    SubmissionRejected,
)

# The signature of an entry in a zip's central directory. An archive with many more of them is a zip bomb.
_CENTRAL_SIGNATURE = b"PK\x01\x02"


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    content: bytes = b""
    executable: bool = False
    target: str = ""


def pack_submission(submission: Submission, limits: ArchiveLimits | None = None) -> PackedSubmission:
    """Validate a submission and pack its project.

    Parameters
    ----------
    submission
        The submission.
    limits
        The limits on its size.

    Returns
    -------
    PackedSubmission
        The folder of the outermost Dockerfile, or all files if there is no Dockerfile.

    Raises
    ------
    SubmissionRejected
        With the reason, for the instructor.
    OSError
        If this machine cannot read the submission.
    """
    limits = limits or ArchiveLimits()
    if submission.problem is not None:
        raise SubmissionRejected(submission.problem)
    loose = submission.loose_files
    project = _project(_read_loose(loose, limits) if loose else _read_source(submission.source, limits))
    for path, file in project.items():
        if file.kind == "symlink":
            check_symlink(path, file.target)
    if not any(file.kind == "file" for file in project.values()):
        raise SubmissionRejected("The submission contains no files.")
    tar = _tar(project)
    return PackedSubmission(hashlib.sha256(tar).hexdigest(), tar)


def unpack_submission(packed: PackedSubmission, folder: Path) -> None:
    """Extract a packed submission into an empty folder.

    Parameters
    ----------
    packed
        A result of `pack_submission`.
    folder
        The empty folder.

    Raises
    ------
    SubmissionRejected
        If the tar does not match its digest.
    """
    if hashlib.sha256(packed.tar).hexdigest() != packed.digest:
        raise SubmissionRejected("A packed submission was changed in transit.")
    with tarfile.open(fileobj=io.BytesIO(packed.tar), mode="r:") as archive:
        archive.extractall(folder, filter="data")


def _read_source(source: Path, limits: ArchiveLimits) -> dict[str, _File]:
    size = None if source.is_dir() else source.stat().st_size
    if size is not None and size > limits.max_archive_bytes:
        raise SubmissionRejected(
            f"The archive is larger than {limits.max_archive_bytes} bytes.", where=inline(source.name, 200)
        )
    try:
        if size is not None and source.read_bytes().count(_CENTRAL_SIGNATURE) > 4 * limits.max_entries:
            raise SubmissionRejected(f"The submission contains more than {limits.max_entries} entries.")
        with open_members(source) as members:
            return _read_members(members, SizeBudget(limits, size), limits)
    except READ_ERRORS as error:
        if is_machine_error(error):
            raise
        raise SubmissionRejected(
            f"The submission is damaged or truncated: {inline(str(error) or type(error).__name__, 200)}",
            where=inline(source.name, 200),
        ) from error


def _read_loose(loose: Mapping[str, Path], limits: ArchiveLimits) -> dict[str, _File]:
    archives = [inline(name, 200) for name, path in loose.items() if looks_like_archive(path)]
    if archives:
        raise SubmissionRejected(
            "An archive is among several files; which one counts?", where=", ".join(archives)
        )
    members = (
        ArchiveMember(name, "file", chunks=chunk_reader(lambda path=path: path.open("rb")))
        for name, path in loose.items()
    )
    return _read_members(members, SizeBudget(limits), limits)


def _read_members(
    members: Iterable[ArchiveMember], budget: SizeBudget, limits: ArchiveLimits
) -> dict[str, _File]:
    files: dict[str, _File] = {}
    for member in members:
        budget.count_entry()
        path = normalize_path(member.path, limits)
        if is_system_file(path):
            continue
        check_kind(member)
        if not path:
            continue
        if path in files and not (files[path].kind == member.kind == "dir"):
            raise SubmissionRejected("Two entries have the same name.", where=inline(path, 200))
        if member.kind == "file":
            content = b"".join(budget.read(member))
            files[path] = _File("file", content, bool(member.mode & 0o111))
        else:
            files[path] = _File(member.kind, target=member.target)
    _check_parents(files)
    return files


def _check_parents(files: dict[str, _File]) -> None:
    """Reject a path below a file or a symlink: extraction in order would follow the link."""
    for path in files:
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = files.get("/".join(parts[:count]))
            if parent is not None and parent.kind != "dir":
                raise SubmissionRejected(
                    f"A file's path goes through a {parent.kind}.", where=inline(path, 200)
                )


def _project(files: dict[str, _File]) -> dict[str, _File]:
    """Return the files below the folder of the outermost Dockerfile.

    Without a Dockerfile, return all files, without the outer folders that contain nothing else.
    """
    names = [path for path, file in files.items() if file.kind != "dir"]
    folders = [path.rpartition("/")[0] for path in names if path.rpartition("/")[2] == "Dockerfile"]
    outermost = min((_depth(folder) for folder in folders), default=0)
    roots = [folder for folder in folders if _depth(folder) == outermost]
    if len(roots) > 1:
        raise SubmissionRejected(
            "The submission has several Dockerfiles; which one counts?",
            where=", ".join(inline(root, 200) for root in roots[:5]),
        )
    if roots:
        return _below(files, roots[0])
    plain = [path for path, file in files.items() if file.kind == "file"]
    if len(plain) == 1 and plain[0].lower().endswith(ARCHIVE_SUFFIXES):
        raise SubmissionRejected(
            "The submission is an archive within an archive.", where=inline(plain[0], 200)
        )
    tops = {path.split("/")[0] for path in files}
    if len(tops) == 1 and any("/" in path for path in files):
        return _project(_below(files, tops.pop()))
    return files


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _below(files: dict[str, _File], root: str) -> dict[str, _File]:
    prefix = f"{root}/" if root else ""
    return {path.removeprefix(prefix): file for path, file in files.items() if path.startswith(prefix)}


def _tar(files: dict[str, _File]) -> bytes:
    body = io.BytesIO()
    # Some archives list folders and some do not, so only empty folders count.
    filled = {path[:index] for path in files for index, character in enumerate(path) if character == "/"}
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
