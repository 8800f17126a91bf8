"""Discovery of a class's submissions in a folder or an archive, and of the learner each entry belongs to."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.text import inline
from stagelens_course.classroom.intake.archive import ARCHIVE_SUFFIXES, looks_like_archive
from stagelens_course.classroom.intake.class_archive import extract_class_archive
from stagelens_course.classroom.intake.lms_names import (
    EntryOwner,
    learner_key,
    parse_owner,
    strip_resubmission_number,
)
from stagelens_course.classroom.intake.rules import is_system_file
from stagelens_course.classroom.intake.submission import ArchiveLimits, Submission, SubmissionRejected


@dataclass(frozen=True, slots=True)
class FoundSubmissions:
    """The submissions of a class.

    Attributes
    ----------
    submissions
        The submissions in order of `learner`.
    ignored
        The names of files that belong to no learner.
    """

    submissions: tuple[Submission, ...]
    ignored: tuple[str, ...] = ()


@contextmanager
def find_submissions(
    path: Path, exercise: str, limits: ArchiveLimits | None = None, temp_folder: Path | None = None
) -> Generator[FoundSubmissions]:
    """Find the submissions of a class.

    Parameters
    ----------
    path
        A folder with one folder or archive for each learner, a download of Moodle or Canvas, nbgrader's
        `submitted/` folder or its course, an archive of any of these, or a single project.
    exercise
        The name of the exercise, which identifies nbgrader's `submitted/USER/EXERCISE`.
    limits
        The limits on each submission.
    temp_folder
        The folder in which an archive is extracted; by default the system's temporary folder.

    Yields
    ------
    FoundSubmissions
        The submissions; their files exist until the block ends.

    Raises
    ------
    StagelensError
        If `path` contains no submissions.
    SubmissionRejected
        If the archive of a class cannot be read or an entry points outside of it.
    """
    check_submissions_exist(path, exercise)
    if path.is_dir():
        yield _in_folder(path.resolve(), exercise)
        return
    with tempfile.TemporaryDirectory(prefix="stagelens-class-", dir=temp_folder) as name:
        folder = Path(name)
        rejected = extract_class_archive(path, folder, limits or ArchiveLimits())
        if _is_project(folder):
            yield FoundSubmissions((_named_submission(path),))
        else:
            found = _in_folder(_inner_folder(folder), exercise)
            yield _require_some(_with_rejections(found, rejected, folder), path)


def check_submissions_exist(path: Path, exercise: str) -> None:
    """Check that a path contains submissions, without opening an archive.

    Parameters
    ----------
    path
        A path as for `find_submissions`.
    exercise
        The name of the exercise.

    Raises
    ------
    StagelensError
        If `path` contains no submissions.
    """
    if path.is_dir():
        _require_some(_in_folder(path.resolve(), exercise), path)
    elif not path.is_file():
        raise StagelensError(
            "No submissions found.", where=str(path), remedy="give a folder or an archive of submissions"
        )


def _require_some(found: FoundSubmissions, path: Path) -> FoundSubmissions:
    if not found.submissions:
        raise StagelensError(
            "No submissions found.",
            where=str(path),
            remedy="give a folder that contains one folder, zip or tar for each learner",
        )
    return found


def _in_folder(folder: Path, exercise: str) -> FoundSubmissions:
    if (folder / "Dockerfile").exists():
        return FoundSubmissions((_named_submission(folder),))
    if (folder / "submitted").is_dir():
        folder = folder / "submitted"
    by_owner: dict[tuple[str, str], list[tuple[Path, EntryOwner]]] = defaultdict(list)
    by_key: dict[str, list[Submission]] = defaultdict(list)
    ignored: list[str] = []
    for path in sorted(folder.iterdir()):
        owner = parse_owner(path.name)
        if is_system_file(path.name):
            continue
        if owner is not None:
            by_owner[owner.system, owner.number].append((path, owner))
        elif path.is_dir() or (path.is_file() and looks_like_archive(path)):
            submission = _named_submission(path, exercise)
            by_key[submission.learner].append(submission)
        else:
            ignored.append(inline(path.name, 200))
    found = [_lms_submission(entries) for entries in by_owner.values()]
    found += [submission for group in by_key.values() for submission in _merge_same_name(group)]
    unique = sorted(_unique_keys(found), key=lambda submission: submission.learner)
    return FoundSubmissions(tuple(unique), tuple(ignored))


def _lms_submission(entries: list[tuple[Path, EntryOwner]]) -> Submission:
    """Return the submission of a Moodle or Canvas learner: one folder, one archive, or loose files."""
    first = entries[0][1]
    files = [(path, owner) for path, owner in entries if not owner.is_online_text]
    found = Submission(
        learner=learner_key(first.name, first.number),
        name=first.name,
        source=_archive_inside((files or entries)[0][0]),
        ids={first.system: first.number},
        late=any(owner.late for _, owner in entries),
    )
    if not files:
        return replace(found, problem="The submission is online text without files.")
    if any(path.is_symlink() for path, _ in files):
        return replace(found, problem="The submission is a symlink.")
    if not all(path.is_file() or path.is_dir() for path, _ in files):
        return replace(found, problem="The submission is neither a file nor a folder.")
    if len(files) == 1 and (found.source.is_dir() or looks_like_archive(found.source)):
        return found
    if any(path.is_dir() for path, _ in files):
        return replace(found, problem="The submission is a folder and further files; which one counts?")
    return replace(found, loose_files=_original_names(files, numbered=first.system == "canvas"))


def _original_names(files: list[tuple[Path, EntryOwner]], *, numbered: bool) -> dict[str, Path]:
    """Return loose files by the learner's names for them, where possible without resubmission numbers."""
    names = [owner.file for _, owner in files]
    stripped = [strip_resubmission_number(name) for name in names] if numbered else names
    unambiguous = stripped if len(set(stripped)) == len(stripped) else names
    return {name: path for name, (path, _) in zip(unambiguous, files, strict=True)}


def _named_submission(path: Path, exercise: str | None = None) -> Submission:
    """Return the submission of a learner who is identified by the name of a folder or archive."""
    name = path.name
    if path.is_symlink():
        return Submission(learner_key(name), name, path, problem="The submission is a symlink.")
    if path.is_dir():
        inner = path / exercise if exercise else path
        if (
            _is_readable(path)
            and inner.is_dir()
            and not inner.is_symlink()
            and not (path / "Dockerfile").exists()
        ):
            return Submission(learner_key(name), name, _archive_inside(inner), ids={"nbgrader": name})
        return Submission(learner_key(name), name, _archive_inside(path))
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return Submission(learner_key(name), name, path)


def _is_readable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _merge_same_name(group: list[Submission]) -> list[Submission]:
    """Merge the submissions of one learner among submissions with the same key."""
    by_name: dict[str, list[Submission]] = defaultdict(list)
    for submission in group:
        by_name[submission.name].append(submission)
    return [_merge(same) for same in by_name.values()]


def _merge(same: list[Submission]) -> Submission:
    if len(same) == 1:
        return same[0]
    names = ", ".join(inline(submission.source.name, 200) for submission in same)
    return replace(same[0], problem=f"The learner has several submissions: {names}.")


def _archive_inside(path: Path) -> Path:
    """Return a folder's only entry if that is an archive, else the path itself."""
    if not path.is_dir() or path.is_symlink():
        return path
    try:
        entries = [entry for entry in path.iterdir() if not is_system_file(entry.name)]
    except OSError:
        # `pack_submission` reports the error for this learner.
        return path
    single_file = len(entries) == 1 and entries[0].is_file() and not entries[0].is_symlink()
    return entries[0] if single_file and looks_like_archive(entries[0]) else path


def _with_rejections(found: FoundSubmissions, rejected: dict[Path, str], folder: Path) -> FoundSubmissions:
    """Return the submissions with the rejected entries of the class archive as their learners' problems."""
    submissions: list[Submission] = []
    pending = dict(rejected)
    for submission in found.submissions:
        sources = (submission.source, *submission.loose_files.values())
        entries = [path for path in pending if any(path == one or one in path.parents for one in sources)]
        reasons = [pending.pop(path) for path in entries]
        submissions.append(replace(submission, problem=submission.problem or next(iter(reasons), None)))
    for path, reason in pending.items():
        raise SubmissionRejected(
            f"An entry of the class archive belongs to no learner: {reason}",
            where=inline(path.relative_to(folder).as_posix(), 200),
        )
    return replace(found, submissions=tuple(submissions))


def _unique_keys(submissions: Sequence[Submission]) -> list[Submission]:
    """Append a suffix to equal keys of different learners; the suffix is the same in every run."""
    count = Counter(submission.learner for submission in submissions)
    unique: list[Submission] = []
    for submission in submissions:
        if count[submission.learner] > 1:
            identity = f"{submission.name} {dict(submission.ids)}".encode("utf-8", "surrogateescape")
            suffix = hashlib.sha256(identity).hexdigest()[:8]
            submission = replace(submission, learner=f"{submission.learner}-{suffix}")
        unique.append(submission)
    return unique


def _inner_folder(folder: Path) -> Path:
    """Return the folder of the class, below outer folders that contain nothing else."""
    while True:
        entries = [entry for entry in folder.iterdir() if not is_system_file(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir() or parse_owner(entries[0].name):
            return folder
        folder = entries[0]


def _is_project(folder: Path) -> bool:
    return (_inner_folder(folder) / "Dockerfile").exists()
