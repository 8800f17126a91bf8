"""A learner's own copy of an exercise. Nothing of it is overwritten: what is replaced is kept beside it."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.grade.catalogue import ROOT
from stagelens.grade.model import Exercise


class AlreadyStarted(StagelensError):
    """There is something where the exercise's copy was to go."""


def work_folder(exercise: Exercise) -> Path:
    """Where a learner's copy goes unless told otherwise; git does not look at it, so no update touches it."""
    return ROOT / "work" / exercise.id


def start(exercise: Exercise, to: Path | None = None) -> Path:
    """Copy the exercise's project to `to` and return that folder.

    Raises
    ------
    AlreadyStarted: there is something already.
    """
    folder = to or work_folder(exercise)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyStarted(
            "This exercise has been started: your files are there.",
            where=str(folder),
            remedy=f"go on there, or begin again: stagelens exercise reset {exercise.id}",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        # Whole or not at all: a disk may be full half-way.
        whole = shutil.copytree(exercise.folder, Path(name) / folder.name)
        if folder.is_dir():
            folder.rmdir()
        whole.rename(folder)
    return folder


def reset(exercise: Exercise, to: Path | None = None) -> tuple[Path, Path | None]:
    """Begin again: the folder, and where the files that were in it are kept now (None where none were)."""
    folder = to or work_folder(exercise)
    kept: Path | None = None
    if folder.exists():
        kept = _free(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
        folder.rename(kept)
    try:
        return start(exercise, folder), kept
    except BaseException:
        if kept is not None:
            kept.rename(folder)
        raise


def _free(place: Path) -> Path:
    """`place`, or the first `place-N` that is not there yet: two resets may come within a second."""
    number, found = 1, place
    while found.exists():
        number, found = number + 1, place.with_name(f"{place.name}-{number}")
    return found
