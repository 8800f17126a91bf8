"""A learner's own copy of an exercise. Nothing of it is overwritten: what is replaced is kept beside it."""

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
    """There is something where the exercise's copy was to go."""


def default_folder(exercise: Exercise) -> Path:
    """Where a learner's copy goes unless told otherwise; git does not look at it, so no update touches it."""
    return learner_folder() / "work" / exercise.id


def copy_exercise(exercise: Exercise, to: Path | None = None) -> Path:
    """Copy the exercise's project to `to` and return that folder.

    Raises
    ------
    AlreadyStarted: there is something already.
    """
    folder = _place(exercise, to)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyStarted(
            "There is something already.",
            where=str(folder),
            remedy=f"go on there, or begin again: stagelens exercise reset {exercise.id}"
            if _is_copy(exercise, folder)
            else "choose another folder with --to",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = folder if folder.is_dir() else folder.parent
    with defer_signals(), tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=place) as name:
        # Whole or not at all: a disk may be full half-way.
        whole = shutil.copytree(exercise.folder, Path(name) / folder.name)
        if folder.is_dir():
            # The folder itself stays: a shell or a kernel may be at work in it.
            _move(whole, folder)
        else:
            whole.rename(folder)
    return folder


def reset_copy(exercise: Exercise, to: Path | None = None) -> tuple[Path, Path | None]:
    """Begin again: the folder, and where the files that were in it are kept now (None where none were).

    Raises
    ------
    AlreadyStarted: what is there is no copy of the exercise.
    """
    folder = _place(exercise, to)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return copy_exercise(exercise, folder), None
    if not _is_copy(exercise, folder):
        raise AlreadyStarted(
            "What is there is not this exercise.",
            where=str(folder),
            why="it holds none of the exercise's files",
            remedy="choose another folder with --to",
        )
    kept = _free(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    with defer_signals():
        kept.mkdir()
        try:
            _move(folder, kept)
            return copy_exercise(exercise, folder), kept
        except BaseException:
            _move(kept, folder)
            kept.rmdir()
            raise


def _place(exercise: Exercise, to: Path | None) -> Path:
    # Also `.` has a name and a parent then.
    return Path(os.path.normpath((to or default_folder(exercise)).absolute()))


def _is_copy(exercise: Exercise, folder: Path) -> bool:
    return folder.is_dir() and any((folder / own.name).exists() for own in exercise.folder.iterdir())


def _move(source: Path, target: Path) -> None:
    """Everything that is in one folder into another beside it."""
    for entry in list(source.iterdir()):
        entry.rename(target / entry.name)


def _free(place: Path) -> Path:
    """`place`, or the first `place-N` that is not there yet: two resets may come within a second."""
    number, found = 1, place
    while found.exists():
        number, found = number + 1, place.with_name(f"{place.name}-{number}")
    return found
