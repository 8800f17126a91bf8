"""Results as files; each is whole or not there at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from stagelens.grade.model import Exercise
from stagelens.grade.results import pages, tables
from stagelens.grade.results.junit import junit
from stagelens.grade.results.model import SCHEMA, ClassResults, Result

RECORD = "result.json"
NOTEBOOK = "grading.ipynb"


def write_learner(folder: Path, result: Result, exercise: Exercise, notebook: str | None) -> None:
    """Write a learner's files into `folder`, result.json last: once it is there, all of it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if notebook is None:
        (folder / NOTEBOOK).unlink(missing_ok=True)
    else:
        write_whole(folder / NOTEBOOK, notebook)
    write_whole(folder / "feedback.html", pages.feedback(result, exercise))
    write_whole(folder / RECORD, dump(result.to_json()))


def write_class(folder: Path, found: ClassResults) -> None:
    """Write what the class has as a whole: an overview, JSON, two tables and JUnit XML."""
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
    write_whole(folder / "results.json", dump(document))
    write_whole(folder / "grades.csv", tables.BOM + tables.moodle(found))
    write_whole(folder / "grades-canvas.csv", tables.BOM + tables.canvas(found))
    write_whole(folder / "junit.xml", junit(found))
    write_whole(folder / "index.html", pages.overview(found))


def dump(value: object) -> str:
    """JSON as it is kept: readable, and the same for the same value."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_whole(path: Path, content: str) -> None:
    """Write a file beside `path` and put it in its place: nobody ever reads half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
