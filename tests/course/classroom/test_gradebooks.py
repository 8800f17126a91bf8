"""The grade tables, parsed as Moodle and Canvas parse them and not by Python's csv module.

Sources: Moodle's mod/assign/feedback/offline/importgradeslib.php over PHP's fgetcsv; Canvas'
lib/gradebook_importer.rb over Ruby's CSV, which follows RFC 4180 strictly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens_course.classroom.results import ClassResults, LearnerResult, write_class_files
from stagelens_course.classroom.results.exports import canvas_csv, moodle_csv
from stagelens_course.grading import CheckResult, Exercise, GradeReport
from stagelens_course.grading.checks import BuildSucceeds

CHECK = BuildSucceeds("works", 'It works, "mostly"', 3.0, 'read "the log", then\\', "01-multi-stage")
EXERCISE = Exercise("demo", "A small, fine exercise", Path("e"), Path("s"), (CHECK,), ())
NAMES = {
    "comma": "Müller, Änne",
    "quote": 'Bob "the builder" Smith',
    "korean": "김영희",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "at": "@SUM(1)",
    "backslash": 'a\\"b, c\\',
    "lines": "two\r\nlines\tand a tab",
    "semicolons": "a;b;c;d;e;f;g;h",
    # Moodle removes the first twelve characters without a check.
    "abcdefghijkl101": "A learner who would be participant 101",
}


def make_result(learner: str, name: str, earned: float, **ids: str) -> LearnerResult:
    check = CheckResult("works", CHECK.title, 3.0, earned, False, "x", "y", CHECK.hint, "01-multi-stage")
    report = GradeReport("demo", (check,), 3.0, earned, 1.0)
    return LearnerResult(learner, name, "graded", "demo", "v" * 64, digest="d" * 64, report=report, ids=ids)


def records(text: str, *, php: bool) -> list[list[str]]:
    """Parse comma-separated values; with `php`, a quote after a backslash does not end a cell."""
    rows, row, cell, quoted = [], [], "", False
    characters = iter(text)
    character = next(characters, "")
    while character:
        following = next(characters, "")
        if quoted and php and character == "\\" and following == '"':
            cell, following = cell + '\\"', next(characters, "")
        elif quoted and character == '"' and following == '"':
            cell, following = cell + '"', next(characters, "")
        elif character == '"':
            assert quoted or not cell, "a quote inside an unquoted cell"
            quoted = not quoted
        elif not quoted and character in ",\n":
            row, cell = [*row, cell.removesuffix("\r") if character == "\n" else cell], ""
            if character == "\n":
                rows, row = [*rows, row], []
        else:
            cell += character
        character = following
    assert not quoted
    assert (row, cell) == ([], ""), "the last line ends with a newline"
    assert {len(row) for row in rows} == {len(rows[0])}, "Moodle rejects rows of other lengths"
    return rows


def write_tables(folder: Path, *results: LearnerResult) -> tuple[str, str]:
    """Write both tables and return their texts without the byte order mark."""
    write_class_files(folder, ClassResults(EXERCISE, "v" * 64, results))
    both = [(folder / name).read_bytes() for name in ("grades.csv", "grades-canvas.csv")]
    assert all(data.startswith(b"\xef\xbb\xbf") for data in both), "without the mark, Excel reads Latin-1"
    return both[0][3:].decode(), both[1][3:].decode()


def moodle(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield participants, grades and comments as Moodle's importer finds them."""
    head, *rows = records(text, php=True)
    where = {name: head.index(name) for name in ("Identifier", "Grade", "Last modified (grade)")}
    assert len(set(head)) == len(head)
    for row in rows:
        participant = row[where["Identifier"]][len("Participant ") :]
        if participant.isdigit():
            yield participant, row[where["Grade"]], row[head.index("Feedback comments")]


def canvas(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield numbers, names and grades as Canvas' importer finds them."""
    head, *rows = records("\ufeff" + text, php=False)
    assert "Student" in head[0]
    assert "ID" in head[1]
    assert head[2:5] == ["SIS User ID", "SIS Login ID", "Section"]
    assert head[5:] == [EXERCISE.title]
    for row in rows:
        if "Points Possible" not in row[0]:
            yield row[1], row[0], row[5]


def test_names_of_every_script_are_read_by_both_gradebooks(tmp_path: Path) -> None:
    results = [
        make_result(learner, name, number / 4, moodle=str(100 + number), canvas=str(900 + number))
        for number, (learner, name) in enumerate(NAMES.items())
    ]
    for_moodle, for_canvas = write_tables(tmp_path, *results)
    grades = ["0", "0.25", "0.5", "0.75", "1", "1.25", "1.5", "1.75", "2"]
    found = list(moodle(for_moodle))
    assert [participant for participant, _, _ in found] == [str(100 + n) for n in range(len(NAMES))]
    assert [grade for _, grade, _ in found] == grades, "a decimal point in any locale, no exponent"
    assert {comment for _, _, comment in found} == {'It works, "mostly": read "the log", then/'}
    found = list(canvas(for_canvas))
    assert [number for number, _, _ in found] == [str(900 + n) for n in range(len(NAMES))]
    assert [grade for _, _, grade in found] == grades
    names = dict(zip(NAMES, (name for _, name, _ in found), strict=True))
    for same in ("comma", "quote", "korean", "semicolons"):
        assert names[same] == NAMES[same]


def test_learner_without_a_number_matches_no_participant(tmp_path: Path) -> None:
    for_moodle, for_canvas = write_tables(
        tmp_path, *(make_result(key, name, 3.0) for key, name in NAMES.items())
    )
    assert list(moodle(for_moodle)) == []
    assert {number for number, _, _ in canvas(for_canvas)} == {""}


@pytest.mark.parametrize("earned", [1e-05, 1234567.5, 1 / 3])
def test_grade_has_a_decimal_point_and_no_exponent(tmp_path: Path, earned: float) -> None:
    for_moodle, _ = write_tables(tmp_path, make_result("ann", "Ann", earned, moodle="1"))
    ((_, grade, _),) = moodle(for_moodle)
    assert re.fullmatch(r"\d+(\.\d+)?", grade)
    assert float(grade) == pytest.approx(earned, abs=1e-4)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_names_never_shift_columns_or_become_formulas(names: list[str]) -> None:
    results = tuple(make_result(f"l{n}", name, 1.0, moodle=str(n)) for n, name in enumerate(names))
    found = ClassResults(EXERCISE, "v" * 64, results)
    assert len(list(moodle(moodle_csv(found)))) == len(names)
    for text in (moodle_csv(found), canvas_csv(found)):
        for php in (True, False):
            for row in records(text, php=php):
                assert not [c for c in row if c != "-" and c.lstrip().startswith(("=", "+", "-", "@"))]
