"""Grades as CSV: a Moodle grading worksheet with further columns, and a Canvas gradebook.

Moodle (assignfeedback_offline) reads the columns `Identifier`, `Grade` and `Last modified (grade)`, and
`Feedback comments` where that is on; it passes over others, and over empty grades. Of an identifier it drops
the first twelve characters, unseen, and takes the rest for a participant's number. Canvas (GradebookImporter)
wants `Student`, `ID`, optionally both SIS columns, then `Section`, and takes every further column for an
assignment; a row `Points Possible` may come first; an empty cell changes nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from stagelens.text import inline
from stagelens_course.classroom.results.model import ClassResults, Result

# Excel knows UTF-8 only by it. Moodle cuts it off, and Canvas looks for `Student` anywhere in a cell.
BOM = "\ufeff"
# What a spreadsheet takes for a formula. Names come from others.
_FORMULA = ("=", "+", "-", "@")
_SPACE = re.compile(r"\s")
_CELL = 32_000  # characters, a little under the most that Excel takes


def moodle(found: ClassResults) -> str:
    """grades.csv: one row for each learner; no grade, an empty cell, where there is an error."""
    checks = [check.id for check in found.exercise.checks]
    head = [
        *("Identifier", "Full name", "Status", "Grade", "Maximum Grade", "Last modified (grade)"),
        *("Feedback comments", "Learner", "Late", *checks),
    ]
    return _csv([head, *(_moodle_row(result, found.exercise.points, checks) for result in found.results)])


def _moodle_row(result: Result, points: float, checks: Sequence[str]) -> list[str]:
    number = result.ids.get("moodle")
    earned = (
        {c.id: _number(c.earned) for c in result.report.checks}
        if result.earned is not None and result.report
        else {}
    )
    return [
        # A learner's name in its place could end as somebody else's number.
        f"Participant {number}" if number else "",
        result.name,
        result.status,
        _number(result.earned),
        _number(points),
        "-",
        _comment(result),
        result.learner,
        "late" if result.late else "",
        *(earned.get(check, "") for check in checks),
    ]


def canvas(found: ClassResults) -> str:
    """grades-canvas.csv: a gradebook with one assignment, named as the exercise is."""
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", found.exercise.title]
    possible = ["    Points Possible", "", "", "", "", _number(found.exercise.points)]
    rows = [[r.name, r.ids.get("canvas", ""), "", "", "", _number(r.earned)] for r in found.results]
    return _csv([head, possible, *rows])


def _comment(result: Result) -> str:
    if result.status != "graded" or result.report is None:
        return f"No grade: {(result.error or result.status).splitlines()[0]}"
    failed = [check for check in result.report.checks if not check.passed]
    return "; ".join(f"{check.title}: {check.hint}" for check in failed) or "Every check passed."


def _number(value: float | None) -> str:
    """With a point, as both read it in any language, and never with an exponent, which neither reads."""
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _csv(rows: Iterable[Sequence[str]]) -> str:
    body = io.StringIO()
    writer = csv.writer(body, lineterminator="\r\n")
    writer.writerows([[_cell(cell) for cell in row] for row in rows])
    return body.getvalue()


def _cell(value: str) -> str:
    """A cell that no spreadsheet takes for a formula; a lone `-` is Moodle's own "never"."""
    plain = inline(_SPACE.sub(" ", value), _CELL)
    # PHP, which Moodle is written in, takes a quote after a backslash for a part of the text.
    plain = plain.replace("\\", "/")
    formula = plain != "-" and plain.lstrip().startswith(_FORMULA)
    return f"'{plain}" if formula else plain
