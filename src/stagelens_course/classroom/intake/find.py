"""Find the submissions of a class in a folder or an archive of them."""

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
from stagelens_course.classroom.intake.admit import is_junk
from stagelens_course.classroom.intake.classfile import spread
from stagelens_course.classroom.intake.layouts import Owner, learner_key, original_name, owner_of
from stagelens_course.classroom.intake.members import ARCHIVE_SUFFIXES, looks_like_archive
from stagelens_course.classroom.intake.model import Limits, Refused, Submission


@dataclass(frozen=True, slots=True)
class Found:
    """The submissions in order of `learner`, and the names of files that are nobody's."""

    submissions: tuple[Submission, ...]
    ignored: tuple[str, ...] = ()


@contextmanager
def find(
    path: Path, exercise: str, limits: Limits | None = None, work: Path | None = None
) -> Generator[Found]:
    """The submissions in `path`, usable until the block ends.

    `path`: a folder with one folder or archive for each learner, a download of Moodle or Canvas, nbgrader's
    `submitted/` (or the course above it), an archive of any of these, or a single project.
    `exercise`: its name, by which nbgrader's `submitted/USER/EXERCISE` is known. `work`: where an archive is
    unpacked to; by default the system's place.

    Raises
    ------
    StagelensError: there is nothing there. Refused: an archive of a class can't be read, or leads out.
    """
    look(path, exercise)
    if path.is_dir():
        yield _in_folder(path.resolve(), exercise)
        return
    with tempfile.TemporaryDirectory(prefix="stagelens-class-", dir=work) as name:
        folder = Path(name)
        refused = spread(path, folder, limits or Limits())
        if _is_project(folder):
            yield Found((_plain(path),))
        else:
            yield _some(_with_refusals(_in_folder(_inner(folder), exercise), refused, folder), path)


def look(path: Path, exercise: str) -> None:
    """Whether there is something to `find`, before any effort is made for it; no archive is opened.

    Raises
    ------
    StagelensError: there is nothing there.
    """
    if path.is_dir():
        _some(_in_folder(path.resolve(), exercise), path)
    elif not path.is_file():
        raise StagelensError(
            "There are no submissions.", where=str(path), remedy="give a folder or an archive of submissions"
        )


def _some(found: Found, path: Path) -> Found:
    if not found.submissions:
        raise StagelensError(
            "There are no submissions.",
            where=str(path),
            remedy="a class is a folder with one folder, zip or tar for each learner",
        )
    return found


def _in_folder(folder: Path, exercise: str) -> Found:
    if (folder / "Dockerfile").exists():
        return Found((_plain(folder),))
    if (folder / "submitted").is_dir():
        folder = folder / "submitted"
    owned: dict[tuple[str, str], list[tuple[Path, Owner]]] = defaultdict(list)
    plain: dict[str, list[Submission]] = defaultdict(list)
    ignored: list[str] = []
    for path in sorted(folder.iterdir()):
        owner = owner_of(path.name)
        if is_junk(path.name):
            continue
        if owner is not None:
            owned[owner.system, owner.number].append((path, owner))
        elif path.is_dir() or (path.is_file() and looks_like_archive(path)):
            submission = _plain(path, exercise)
            plain[submission.learner].append(submission)
        else:
            ignored.append(inline(path.name, 200))
    found = [_of_owner(entries) for entries in owned.values()]
    found += [submission for group in plain.values() for submission in _of_one_name(group)]
    return Found(tuple(sorted(_unique(found), key=lambda s: s.learner)), tuple(ignored))


def _of_owner(entries: list[tuple[Path, Owner]]) -> Submission:
    """A learner of Moodle or Canvas: one folder, one archive, or loose files."""
    first = entries[0][1]
    files = [(path, owner) for path, owner in entries if not owner.text]
    found = Submission(
        learner=learner_key(first.name, first.number),
        name=first.name,
        source=_archive_inside((files or entries)[0][0]),
        ids={first.system: first.number},
        late=any(owner.late for _, owner in entries),
    )
    if not files:
        return replace(found, problem="There is only text typed into a page, no files.")
    if any(path.is_symlink() for path, _ in files):
        return replace(found, problem="It is a link.")
    if not all(path.is_file() or path.is_dir() for path, _ in files):
        return replace(found, problem="It is neither a file nor a folder.")
    if len(files) == 1 and (found.source.is_dir() or looks_like_archive(found.source)):
        return found
    if any(path.is_dir() for path, _ in files):
        return replace(found, problem="There are a folder and further files; which one counts?")
    return replace(found, loose=_own_names(files, again=first.system == "canvas"))


def _own_names(files: list[tuple[Path, Owner]], *, again: bool) -> dict[str, Path]:
    """Loose files by the names that the learner gave them; `again`: numbers of a second try are taken off."""
    names = [owner.file for _, owner in files]
    shorter = [original_name(name) for name in names] if again else names
    chosen = shorter if len(set(shorter)) == len(shorter) else names
    return {name: path for name, (path, _) in zip(chosen, files, strict=True)}


def _plain(path: Path, exercise: str | None = None) -> Submission:
    """A learner known by the name of a folder or an archive."""
    name = path.name
    if path.is_symlink():
        return Submission(learner_key(name), name, path, problem="It is a link.")
    if path.is_dir():
        inner = path / exercise if exercise else path
        if (
            _may_look(path)
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


def _may_look(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _of_one_name(group: list[Submission]) -> list[Submission]:
    """Submissions whose names have the same key: several of one learner, or of different learners."""
    by_name: dict[str, list[Submission]] = defaultdict(list)
    for submission in group:
        by_name[submission.name].append(submission)
    return [_only(same) for same in by_name.values()]


def _only(same: list[Submission]) -> Submission:
    if len(same) == 1:
        return same[0]
    names = ", ".join(inline(submission.source.name, 200) for submission in same)
    return replace(same[0], problem=f"There are several submissions of this learner: {names}.")


def _archive_inside(path: Path) -> Path:
    """A folder's only file if that is an archive, else the path itself."""
    if not path.is_dir() or path.is_symlink():
        return path
    try:
        entries = [entry for entry in path.iterdir() if not is_junk(entry.name)]
    except OSError:
        # Whoever reads it will say what is wrong, and with whom.
        return path
    lone = len(entries) == 1 and entries[0].is_file() and not entries[0].is_symlink()
    return entries[0] if lone and looks_like_archive(entries[0]) else path


def _with_refusals(found: Found, refused: dict[Path, str], folder: Path) -> Found:
    """What was wrong with an entry of a class's archive is the problem of the learner whose entry it is."""
    told: list[Submission] = []
    pending = dict(refused)
    for submission in found.submissions:
        own = (submission.source, *submission.loose.values())
        mine = [path for path in pending if any(path == one or one in path.parents for one in own)]
        reasons = [pending.pop(path) for path in mine]
        told.append(replace(submission, problem=submission.problem or next(iter(reasons), None)))
    for path, reason in pending.items():
        raise Refused(
            f"The archive of the class has an entry of nobody's: {reason}", where=_name(path, folder)
        )
    return replace(found, submissions=tuple(told))


def _name(path: Path, folder: Path) -> str:
    return inline(path.relative_to(folder).as_posix(), 200)


def _unique(submissions: Sequence[Submission]) -> list[Submission]:
    """Different learners with equal keys get a suffix that stays the same from run to run."""
    count = Counter(submission.learner for submission in submissions)
    unique: list[Submission] = []
    for submission in submissions:
        if count[submission.learner] > 1:
            identity = f"{submission.name} {dict(submission.ids)}".encode("utf-8", "surrogateescape")
            suffix = hashlib.sha256(identity).hexdigest()[:8]
            submission = replace(submission, learner=f"{submission.learner}-{suffix}")
        unique.append(submission)
    return unique


def _inner(folder: Path) -> Path:
    """The folder that the class is in, below lone outer folders."""
    while True:
        entries = [entry for entry in folder.iterdir() if not is_junk(entry.name)]
        if len(entries) != 1 or not entries[0].is_dir() or owner_of(entries[0].name):
            return folder
        folder = entries[0]


def _is_project(folder: Path) -> bool:
    return (_inner(folder) / "Dockerfile").exists()
