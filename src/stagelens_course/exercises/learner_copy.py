"""A learner's copy of an exercise; files that a reset replaces move to a folder beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from stagelens.concurrency import defer_signals
from stagelens.errors import StagelensError
from stagelens_course.folder import learner_folder
from stagelens_course.grading.model import Exercise


class AlreadyStarted(StagelensError):
    """A folder for an exercise's copy that contains files already."""


def default_copy_folder(exercise: Exercise) -> Path:
    """Return the default folder of a learner's copy; git ignores it, so that no update changes it."""
    return learner_folder() / "work" / exercise.id


def copy_exercise(exercise: Exercise, to: Path | None = None) -> Path:
    """Copy an exercise's project, completely or not at all.

    Parameters
    ----------
    exercise
        The exercise.
    to
        The folder for the copy; by default `default_copy_folder`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    AlreadyStarted
        If the folder contains files, or is a file.
    """
    folder = _target_folder(exercise, to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyStarted(
            "The folder for your copy is not empty.",
            where=str(folder),
            remedy=f"continue there, or start again: stagelens exercise reset {exercise.id}"
            if _is_copy(exercise, folder)
            else "choose another folder with --to",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The temporary copy must be on the same disk, for the rename.
    parent = folder if folder.is_dir() else folder.parent
    with defer_signals(), tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as name:
        complete = shutil.copytree(exercise.folder, Path(name) / folder.name)
        if folder.is_dir():
            # Keep the folder itself: it may be the working folder of a shell or a kernel.
            _move_entries(complete, folder)
        else:
            complete.rename(folder)
    return folder


def reset_copy(exercise: Exercise, to: Path | None = None) -> tuple[Path, Path | None]:
    """Start an exercise again; the files of the current copy move to a folder beside it.

    Parameters
    ----------
    exercise
        The exercise.
    to
        The folder of the copy; by default `default_copy_folder`.

    Returns
    -------
    tuple[Path, Path or None]
        The folder of the copy, and the folder with the earlier files; None if there were none.

    Raises
    ------
    AlreadyStarted
        If the folder contains files, but none of the exercise's.
    """
    folder = _target_folder(exercise, to)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return copy_exercise(exercise, folder), None
    if not _is_copy(exercise, folder):
        raise AlreadyStarted(
            "The folder is not a copy of this exercise.",
            where=str(folder),
            why="it contains none of the exercise's files",
            remedy="choose another folder with --to",
        )
    backup = _unused_path(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    with defer_signals():
        backup.mkdir()
        try:
            _move_entries(folder, backup)
            return copy_exercise(exercise, folder), backup
        except BaseException:
            _move_entries(backup, folder)
            backup.rmdir()
            raise


def _target_folder(exercise: Exercise, to: Path | None) -> Path:
    # Normalized, so that `.` has a name and a parent, too.
    return Path(os.path.normpath((to or default_copy_folder(exercise)).absolute()))


def _is_copy(exercise: Exercise, folder: Path) -> bool:
    return folder.is_dir() and any((folder / entry.name).exists() for entry in exercise.folder.iterdir())


def _move_entries(source: Path, target: Path) -> None:
    """Move all entries of a folder to a folder on the same disk."""
    for entry in list(source.iterdir()):
        entry.rename(target / entry.name)


def _unused_path(path: Path) -> Path:
    """Return `path`, or the first `path-N` that does not exist: two resets may happen within a second."""
    number, found = 1, path
    while found.exists():
        number, found = number + 1, path.with_name(f"{path.name}-{number}")
    return found
