"""The files of a report; each is written completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stagelens.errors import StagelensError
from stagelens.paths import atomic_write_text
from stagelens_course.classroom.results.exports import BOM, canvas_csv, junit_xml, moodle_csv
from stagelens_course.classroom.results.model import SCHEMA, ClassResults, LearnerResult
from stagelens_course.classroom.results.pages import feedback_page, overview_page
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.notebook import RECORD

NOTEBOOK_FILE = "grading.ipynb"


class ReportNotWritten(StagelensError):
    """A file of a report that cannot be written, on a full disk, for example; earlier files stay."""


@contextmanager
def translate_write_errors(folder: Path) -> Generator[None]:
    """Raise `ReportNotWritten` for an OSError in the block.

    Parameters
    ----------
    folder
        The folder to name if the error names no file.

    Raises
    ------
    ReportNotWritten
        If the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ReportNotWritten(
            "The report cannot be written.",
            where=str(error.filename or folder),
            why=error.strerror or str(error),
            remedy="free some space on the disk or make the folder writable, "
            "then run the same command again to resume",
        ) from error


def write_learner_files(
    folder: Path, result: LearnerResult, exercise: Exercise, notebook: str | None
) -> None:
    """Write a learner's files, result.json last: where it exists, the other files are complete.

    Parameters
    ----------
    folder
        The learner's folder.
    result
        The learner's result.
    exercise
        The exercise.
    notebook
        The executed notebook as JSON; None removes the notebook of an earlier run.

    Raises
    ------
    ReportNotWritten
        If a file cannot be written.
    """
    with translate_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if notebook is None:
            (folder / NOTEBOOK_FILE).unlink(missing_ok=True)
        else:
            _write(folder / NOTEBOOK_FILE, notebook)
        _write(folder / "feedback.html", feedback_page(result, exercise))
        _write(folder / RECORD, _json_text(result.to_json()))


def write_class_files(folder: Path, found: ClassResults) -> None:
    """Write the files of the class: overview, JSON, grade tables and JUnit XML.

    Parameters
    ----------
    folder
        The folder of the report.
    found
        The results of the class.

    Raises
    ------
    ReportNotWritten
        If a file cannot be written.
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
    with translate_write_errors(folder):
        _write(folder / "results.json", _json_text(document))
        _write(folder / "grades.csv", BOM + moodle_csv(found))
        _write(folder / "grades-canvas.csv", BOM + canvas_csv(found))
        _write(folder / "junit.xml", junit_xml(found))
        _write(folder / "index.html", overview_page(found))


def _json_text(value: object) -> str:
    """Format JSON for people; equal values have equal texts."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    # The run's lock excludes other programs.
    atomic_write_text(path, text, exclusive=True)
