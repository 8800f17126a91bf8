"""Results as files; each is whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.paths import write_whole
from stagelens_course.classroom.results import pages, tables
from stagelens_course.classroom.results.junit import junit
from stagelens_course.classroom.results.model import SCHEMA, ClassResults, Result
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.notebook import RECORD

NOTEBOOK = "grading.ipynb"


class NotWritten(StagelensError):
    """A report's files cannot be written: a full disk, say. What was written before stays."""


@contextmanager
def written(folder: Path) -> Generator[None]:
    """Around whatever writes below `folder`. Raises NotWritten."""
    try:
        yield
    except OSError as error:
        raise NotWritten(
            "The report cannot be written.",
            where=str(error.filename or folder),
            why=error.strerror or str(error),
            remedy="make room on the disk, or the folder writable, and run the same command again to go on",
        ) from error


def write_learner(folder: Path, result: Result, exercise: Exercise, notebook: str | None) -> None:
    """Write a learner's files into `folder`, result.json last: once it is there, all of it is.

    Raises
    ------
    NotWritten: the disk is full, say.
    """
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if notebook is None:
            (folder / NOTEBOOK).unlink(missing_ok=True)
        else:
            write_whole(folder / NOTEBOOK, notebook)
        write_whole(folder / "feedback.html", pages.feedback(result, exercise))
        write_whole(folder / RECORD, dump(result.to_json()))


def write_class(folder: Path, found: ClassResults) -> None:
    """Write what the class has as a whole: an overview, JSON, two tables and JUnit XML.

    Raises
    ------
    NotWritten: the disk is full, say.
    """
    document = {
        "schema": SCHEMA,
        "exercise": found.exercise.id,
        "title": found.exercise.title,
        "version": found.version,
        "points": found.exercise.points,
        "checks": [{"id": c.id, "title": c.title, "points": c.points} for c in found.exercise.checks],
        "learners": [result.to_json() for result in found.results],
        "ignored": list(found.ignored),
    }
    with written(folder):
        write_whole(folder / "results.json", dump(document))
        write_whole(folder / "grades.csv", tables.BOM + tables.moodle(found))
        write_whole(folder / "grades-canvas.csv", tables.BOM + tables.canvas(found))
        write_whole(folder / "junit.xml", junit(found))
        write_whole(folder / "index.html", pages.overview(found))


def dump(value: object) -> str:
    """JSON as it is kept: readable, and the same for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
