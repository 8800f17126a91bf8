"""Staging of a submission: a copy of its files, in which the exercise's other files are restored."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from stagelens.dockerfile import similar_names
from stagelens.text import inline
from stagelens_course.grading.model import Edit, Exercise, ExerciseInvalid, SubmissionRefused

MAX_FILES = 2000
MAX_DEPTH = 20
# Files of editors, operating systems and version control, which are no part of an answer.
_IGNORED = frozenset({".git", ".ipynb_checkpoints", "__pycache__", ".DS_Store", "__MACOSX"})


def stage_submission(exercise: Exercise, folder: Path, target: Path) -> tuple[str, ...]:
    """Copy a submission, and restore the exercise's files that a learner may not change.

    Files, folders, and symlinks that stay inside are copied, as in the intake.

    Parameters
    ----------
    exercise
        The exercise.
    folder
        The folder with the submission.
    target
        The folder for the copy, which must not exist.

    Returns
    -------
    tuple[str, ...]
        Notes for the learner about files that were restored.

    Raises
    ------
    SubmissionRefused
        If there is no Dockerfile, a symlink leads out, there is a special file, or the files are too many or
        too large.
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
                why=f"the limit for the whole submission is {limit}",
                remedy="submit only the project, without files that a build makes",
            )
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy, follow_symlinks=False)
        if not copy.is_symlink():
            copy.chmod(0o755 if info.st_mode & 0o111 else 0o644)
    if not (target / "Dockerfile").is_file():
        similar = similar_names("Dockerfile", [path.name for path in target.iterdir()])
        raise SubmissionRefused(
            "There is no Dockerfile.",
            remedy=f"rename {inline(similar[0])} to Dockerfile"
            if similar
            else "submit the whole folder of the exercise with your Dockerfile",
        )
    return tuple(_restore_files(exercise, target))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    pending = [(folder, 0)]
    while pending:
        current, depth = pending.pop()
        for entry in sorted(os.scandir(current), key=lambda entry: entry.name):
            if entry.name in _IGNORED:
                continue
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode) and depth < MAX_DEPTH:
                pending.append((Path(entry.path), depth + 1))
            elif stat.S_ISREG(info.st_mode):
                yield Path(entry.path), info
            elif stat.S_ISLNK(info.st_mode):
                _check_link(Path(entry.path), folder)
                yield Path(entry.path), info
            else:
                raise SubmissionRefused(
                    "The submission contains a special file.",
                    where=inline(Path(entry.path).relative_to(folder).as_posix(), 200),
                    remedy="submit files and folders only",
                )


def _check_link(path: Path, folder: Path) -> None:
    name, target = path.relative_to(folder).as_posix(), str(path.readlink())
    if leads_out(name, target):
        raise SubmissionRefused(
            "A symlink leads out of the submission.",
            where=f"{inline(name, 200)} -> {inline(target, 200)}",
            remedy="submit the file itself, or a symlink to a file of the submission",
        )


def leads_out(path: str, target: str) -> bool:
    """Return whether a symlink leads, or may lead, out of a submission.

    `..` is allowed only at the beginning of the target: after a name that is a symlink, too, it would be the
    parent of that symlink's target.

    Parameters
    ----------
    path
        The path of the symlink in the submission.
    target
        The target of the symlink.
    """
    parts = target.split("/")
    names = [part for part in parts if part not in ("", ".")]
    up = 0
    while up < len(names) and names[up] == "..":
        up += 1
    return (
        not target or target.startswith("/") or "\0" in target or ".." in names[up:] or up > path.count("/")
    )


def _restore_files(exercise: Exercise, target: Path) -> Iterator[str]:
    for path, _ in _files(exercise.folder):
        relative = path.relative_to(exercise.folder)
        if any(fnmatchcase(PurePosixPath(relative).as_posix(), p) for p in exercise.editable):
            continue
        restored = target / relative
        content = path.read_bytes()
        if restored.is_file() and restored.read_bytes() != content:
            yield f"{relative.as_posix()} may not be changed: the exercise's file was graded instead"
        # Writing through a symlink would overwrite another file of the learner.
        for parent in (target / parent for parent in reversed(relative.parents[:-1])):
            if parent.is_symlink() or parent.is_file():
                parent.unlink()
        if restored.is_symlink():
            restored.unlink()
        elif restored.is_dir():
            shutil.rmtree(restored)
        restored.parent.mkdir(parents=True, exist_ok=True)
        restored.write_bytes(content)
        restored.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)


def stage_edit(source: Path, target: Path, edit: Edit, token: str) -> None:
    """Copy a staged submission and make an edit in the copy.

    Parameters
    ----------
    source
        The folder of the staged submission.
    target
        The folder for the copy, which must not exist.
    edit
        The edit.
    token
        The text that replaces `{token}`.

    Raises
    ------
    ExerciseInvalid
        If the file does not contain the text to replace.
    """
    shutil.copytree(source, target, symlinks=True)
    path = target / edit.file
    text = path.read_text(encoding="utf-8")
    if edit.find not in text:
        raise ExerciseInvalid(
            "The file does not contain the text that an edit replaces.",
            where=edit.file,
            why=f"no {edit.find!r}",
        )
    path.write_text(text.replace(edit.find, edit.replacement.replace("{token}", token), 1), encoding="utf-8")
