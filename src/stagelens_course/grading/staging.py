"""A submission's files, copied to a folder of the grader's with the exercise's own files copied over them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from stagelens.text import inline
from stagelens_course.grading.model import Edit, Exercise, ExerciseInvalid, SubmissionRefused

MAX_FILES = 2000
MAX_DEPTH = 20
# What editors and version control leave; never part of an answer.
_IGNORED = frozenset({".git", ".ipynb_checkpoints", "__pycache__", ".DS_Store", "__MACOSX"})


def stage_submission(exercise: Exercise, folder: Path, target: Path) -> tuple[str, ...]:
    """Copy a submission to `target`, which must not exist; notes for the learner come back.

    Files, folders, and links that stay inside are taken, as the intake does. Files of the exercise that are
    not the learner's to change are restored, so that a check tries the very program that the exercise gave.

    Raises
    ------
    SubmissionRefused: no Dockerfile, a link that leads out, a device, too many files or too many bytes.
    """
    target.mkdir(parents=True)
    total = count = 0
    for path, info in _files(folder):
        count, total = count + 1, total + info.st_size
        if count > MAX_FILES or total > exercise.limits.context:
            limit = f"{MAX_FILES} files, {exercise.limits.context // 1024**2} MB"
            large = f"{inline(path.relative_to(folder).as_posix(), 200)}, {info.st_size / 1024**2:.1f} MB"
            raise SubmissionRefused(
                "The submission is too large.",
                where=f"{large}, file {count}",
                why=f"the limit of all together is {limit}",
                remedy="hand in the project alone, without what a build makes",
            )
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place, follow_symlinks=False)
        if not place.is_symlink():
            place.chmod(0o755 if info.st_mode & 0o111 else 0o644)
    if not (target / "Dockerfile").is_file():
        raise SubmissionRefused(
            "There is no Dockerfile.",
            remedy="hand in the exercise's whole folder, with your Dockerfile in it",
        )
    return tuple(_lay(exercise, target))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    waiting = [(folder, 0)]
    while waiting:
        current, depth = waiting.pop()
        for entry in sorted(os.scandir(current), key=lambda entry: entry.name):
            if entry.name in _IGNORED:
                continue
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode) and depth < MAX_DEPTH:
                waiting.append((Path(entry.path), depth + 1))
            elif stat.S_ISREG(info.st_mode):
                yield Path(entry.path), info
            elif stat.S_ISLNK(info.st_mode):
                _check_link(Path(entry.path), folder)
                yield Path(entry.path), info
            else:
                raise SubmissionRefused(
                    "The submission holds something that is no plain file.",
                    where=inline(Path(entry.path).relative_to(folder).as_posix(), 200),
                    remedy="hand in files and folders only",
                )


def _check_link(path: Path, folder: Path) -> None:
    name, target = path.relative_to(folder).as_posix(), str(path.readlink())
    if leads_out(name, target):
        raise SubmissionRefused(
            "A link leads out of the submission.",
            where=f"{inline(name, 200)} -> {inline(target, 200)}",
            remedy="hand in the file itself, or a link to a file of your own",
        )


def leads_out(path: str, target: str) -> bool:
    """Whether a symlink leads, or may lead, out of the submission.

    `..` is only let through at the beginning: after a name it could be the parent of a link's target. So
    every link ends inside, also by way of others.
    """
    parts = target.split("/")
    names = [part for part in parts if part not in ("", ".")]
    up = 0
    while up < len(names) and names[up] == "..":
        up += 1
    return (
        not target or target.startswith("/") or "\0" in target or ".." in names[up:] or up > path.count("/")
    )


def _lay(exercise: Exercise, target: Path) -> Iterator[str]:
    for path, _ in _files(exercise.folder):
        relative = path.relative_to(exercise.folder)
        if any(fnmatchcase(PurePosixPath(relative).as_posix(), p) for p in exercise.editable):
            continue
        place = target / relative
        content = path.read_bytes()
        if place.is_file() and place.read_bytes() != content:
            yield f"{relative.as_posix()} is the exercise's own: it was graded as the exercise gives it"
        # Through a link the exercise's text would be written over another file of the learner's.
        for parent in (target / parent for parent in reversed(relative.parents[:-1])):
            if parent.is_symlink() or parent.is_file():
                parent.unlink()
        if place.is_symlink():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)


def stage_edit(source: Path, target: Path, edit: Edit, token: str) -> None:
    """Copy a composed folder to `target` with one edit made.

    Raises
    ------
    ExerciseInvalid: the text to be replaced is not in the file.
    """
    shutil.copytree(source, target, symlinks=True)
    place = target / edit.file
    text = place.read_text(encoding="utf-8")
    if edit.find not in text:
        raise ExerciseInvalid("An edit finds nothing to replace.", where=edit.file, why=f"no {edit.find!r}")
    place.write_text(text.replace(edit.find, edit.replacement.replace("{token}", token), 1), encoding="utf-8")
