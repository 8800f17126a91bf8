"""Results for other programs: CSV for Moodle and Canvas, JUnit XML for CI systems.

Moodle (assignfeedback_offline) reads the columns `Identifier`, `Grade` and `Last modified (grade)`, and
`Feedback comments` if that is enabled; it ignores other columns and empty grades. It removes the first twelve
characters of an identifier without a check and reads the rest as a participant's number. Canvas
(GradebookImporter) requires `Student`, `ID`, optionally both SIS columns, then `Section`, and reads every
further column as an assignment; a row `Points Possible` may come first; an empty cell changes nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from stagelens.text import inline
from stagelens_course.classroom.results.model import ClassResults, LearnerResult

# Excel detects UTF-8 only by this mark. Moodle removes it, and Canvas looks for `Student` anywhere in a cell.
BOM = "\ufeff"
# Characters with which a formula begins in a spreadsheet. Names are untrusted.
_FORMULA = ("=", "+", "-", "@")
_SPACE = re.compile(r"\s")
_MAX_CELL = 32_000  # characters; Excel's limit is 32,767
# Characters that XML 1.0 cannot represent.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def moodle_csv(found: ClassResults) -> str:
    """Return the content of grades.csv: a Moodle grading worksheet with a column for each check.

    Parameters
    ----------
    found
        The results of the class. A result without a grade has an empty cell.
    """
    checks = [check.id for check in found.exercise.checks]
    head = [
        *("Identifier", "Full name", "Status", "Grade", "Maximum Grade", "Last modified (grade)"),
        *("Feedback comments", "Learner", "Late", *checks),
    ]
    return _csv([head, *(_moodle_row(result, found.exercise.points, checks) for result in found.results)])


def canvas_csv(found: ClassResults) -> str:
    """Return the content of grades-canvas.csv: a Canvas gradebook with one assignment.

    Parameters
    ----------
    found
        The results of the class. The assignment has the title of their exercise.
    """
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", found.exercise.title]
    possible = ["    Points Possible", "", "", "", "", _number(found.exercise.points)]
    rows = [[r.name, r.ids.get("canvas", ""), "", "", "", _number(r.earned)] for r in found.results]
    return _csv([head, possible, *rows])


def junit_xml(found: ClassResults) -> str:
    """Return the content of junit.xml: a suite for each learner, a test for each check.

    Parameters
    ----------
    found
        The results of the class. A result without a grade is an error, not a failure.
    """
    suites = ElementTree.Element("testsuites", name=found.exercise.id)
    for result in found.results:
        suites.append(_suite(result))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _moodle_row(result: LearnerResult, points: float, checks: Sequence[str]) -> list[str]:
    number = result.ids.get("moodle")
    earned = (
        {c.id: _number(c.earned) for c in result.report.checks}
        if result.earned is not None and result.report
        else {}
    )
    return [
        # The name must not replace a missing number: it could end like another participant's number.
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


def _comment(result: LearnerResult) -> str:
    if result.status != "graded" or result.report is None:
        return f"No grade: {(result.error or result.status).splitlines()[0]}"
    failed = [check for check in result.report.checks if not check.passed]
    return "; ".join(f"{check.title}: {check.hint}" for check in failed) or "All checks passed."


def _number(value: float | None) -> str:
    """Format a number with a decimal point, which both systems read in any locale, without an exponent."""
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _csv(rows: Iterable[Sequence[str]]) -> str:
    body = io.StringIO()
    writer = csv.writer(body, lineterminator="\r\n")
    writer.writerows([[_cell(cell) for cell in row] for row in rows])
    return body.getvalue()


def _cell(value: str) -> str:
    """Escape a cell so that no spreadsheet reads it as a formula; Moodle writes a single `-` for "never"."""
    plain = inline(_SPACE.sub(" ", value), _MAX_CELL)
    # Moodle's PHP reader does not end a quoted cell at a quote after a backslash.
    plain = plain.replace("\\", "/")
    is_text = plain == "-" or not plain.lstrip().startswith(_FORMULA)
    return plain if is_text else f"'{plain}"


def _suite(result: LearnerResult) -> ElementTree.Element:
    checks = result.report.checks if result.status == "graded" and result.report else ()
    failures = sum(not check.passed for check in checks)
    counts = {
        "tests": str(len(checks) or 1),
        "failures": str(failures),
        "errors": str(int(result.status != "graded")),
        "time": f"{result.seconds:.3f}",
    }
    suite = ElementTree.Element("testsuite", {"name": result.learner, **counts})
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.learner, "name": check.id})
        if not check.passed:
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(check.title)})
            failure.text = _xml(f"expected: {check.expected}\nseen: {check.seen}\nhint: {check.hint}")
    if result.status != "graded":
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.learner, "name": result.status})
        error = ElementTree.SubElement(case, "error", {"message": result.status})
        error.text = _xml(result.error or "")
    return suite


def _xml(text: str) -> str:
    return _NO_XML.sub("�", text)
