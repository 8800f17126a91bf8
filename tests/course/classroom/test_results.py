"""Results as JSON, CSV, JUnit XML and HTML pages."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagelens_course.classroom.results import (
    ClassResults,
    LearnerResult,
    write_class_files,
    write_learner_files,
)
from stagelens_course.classroom.results.exports import canvas_csv, junit_xml, moodle_csv
from stagelens_course.classroom.results.pages import (
    feedback_page,
    histogram_svg,
    overview_page,
)
from stagelens_course.exercises.display import AnswerComparison
from stagelens_course.grading import CheckResult, Exercise, GradeReport
from stagelens_course.grading.checks import BuildSucceeds
from stagelens_course.grading.notebook import GradeDisplay

SCHEMA = Path(__file__).parents[3] / "docs/reference/results.schema.json"
EVIL = "<script>alert('x')</script><img src=https://evil.example/x onerror=go()>\x1b[31m\u202e&amp;"
CHECKS = (
    BuildSucceeds("builds", "The image <builds>", 1.0, "read the log", "01-multi-stage"),
    BuildSucceeds("small", "The image is small", 3.0, "look at the layers", "05-look-inside"),
)
EXERCISE = Exercise("demo", "A small & fine exercise", Path("e"), Path("s"), CHECKS, ())
VERSION = "a" * 64


def report(builds: bool, small: bool, seen: str = "as seen") -> GradeReport:
    checks = tuple(
        CheckResult(c.id, c.title, c.points, c.points if ok else 0.0, ok, "expected", seen, c.hint, c.lesson)
        for c, ok in zip(CHECKS, (builds, small), strict=True)
    )
    return GradeReport("demo", checks, 4.0, sum(c.earned for c in checks), 1.5)


def result(learner: str, status: str = "graded", **more: object) -> LearnerResult:
    fields: dict[str, object] = {
        "learner": learner,
        "name": learner.title(),
        "status": status,
        "exercise": "demo",
        "version": VERSION,
        "digest": "b" * 64,
    }
    return LearnerResult(**fields | more)  # type: ignore[arg-type]


CLASS = ClassResults(
    EXERCISE,
    VERSION,
    (
        result("ann", report=report(True, True), ids={"moodle": "101"}, validated=True, seconds=2.5),
        result("bob", report=report(True, False, EVIL), ids={"canvas": "4711"}, late=True, name=EVIL),
        result("cid", report=report(False, False)),
        result("dan", "refused", error="It holds a pipe.\n  where: wait", digest=""),
        result("eve", "error", error="The grader's kernel ended."),
    ),
    ("notes.txt", EVIL),
)


class Page(HTMLParser):
    """A parsed page: its elements, and the URLs that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            if name in ("href", "src", "srcset", "action", "data"):
                self.links.append(value or "")


def write_report(tmp_path: Path) -> Path:
    for result in CLASS.results:
        write_learner_files(tmp_path / "learners" / result.learner, result, EXERCISE, '{"cells": []}')
    write_class_files(tmp_path, CLASS)
    return tmp_path


def test_results_json_matches_its_schema_and_loads_again(tmp_path: Path) -> None:
    document = json.loads((write_report(tmp_path) / "results.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(document)
    assert tuple(LearnerResult.from_json(row) for row in document["learners"]) == CLASS.results
    for row in document["learners"]:
        file = tmp_path / "learners" / row["learner"] / "result.json"
        assert json.loads(file.read_text(encoding="utf-8")) == row


def test_missing_grade_is_null_or_empty_but_not_zero() -> None:
    earned = {r.learner: r.to_json()["earned"] for r in CLASS.results}
    assert earned == {"ann": 4.0, "bob": 1.0, "cid": 0.0, "dan": None, "eve": None}
    rows = list(csv.DictReader(io.StringIO(moodle_csv(CLASS))))
    assert [row["Grade"] for row in rows] == ["4", "1", "0", "", ""]
    assert [row["Status"] for row in rows] == ["graded", "graded", "graded", "refused", "error"]
    assert rows[3]["Feedback comments"] == "No grade: It holds a pipe."


def test_moodle_csv_has_moodles_columns_and_participants() -> None:
    rows = list(csv.DictReader(io.StringIO(moodle_csv(CLASS))))
    for column in ("Identifier", "Grade", "Last modified (grade)", "Feedback comments", "Full name"):
        assert column in rows[0]
    assert rows[0]["Identifier"] == "Participant 101"
    assert rows[0]["Maximum Grade"] == "4"
    assert (rows[1]["builds"], rows[1]["small"], rows[1]["Late"]) == ("1", "0", "late")
    assert rows[1]["Feedback comments"] == "The image is small: look at the layers"


def test_canvas_csv_has_canvas_columns_students_and_one_assignment() -> None:
    head, possible, *rows = csv.reader(io.StringIO(canvas_csv(CLASS)))
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", EXERCISE.title]
    assert "Points Possible" in possible[0]
    assert possible[-1] == "4"
    assert [row[1] for row in rows] == ["", "4711", "", "", ""]
    assert [row[-1] for row in rows] == ["4", "1", "0", "", ""]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-2", "@x", "\t=1", "\r=1"])
def test_name_in_a_cell_is_not_a_formula(name: str) -> None:
    found = ClassResults(EXERCISE, VERSION, (result("ann", report=report(True, True), name=name),))
    for text in (moodle_csv(found), canvas_csv(found)):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)
        assert not any(cell.startswith("-") and cell != "-" for cell in cells)


def test_junit_distinguishes_failures_from_errors() -> None:
    root = ElementTree.fromstring(junit_xml(CLASS))
    suites = {suite.get("name"): suite for suite in root}
    assert [case.get("name") for case in suites["bob"].iter("testcase")] == ["builds", "small"]
    assert (suites["bob"].get("failures"), suites["bob"].get("errors")) == ("1", "0")
    assert (suites["eve"].get("tests"), suites["eve"].get("errors")) == ("1", "1")
    assert "kernel ended" in "".join(suites["eve"].itertext())


def test_pages_escape_hostile_text_and_load_no_resources(tmp_path: Path) -> None:
    folder = write_report(tmp_path)
    for path in (folder / "index.html", *folder.glob("learners/*/feedback.html")):
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert "script" not in page.tags
        assert "img" not in page.tags
        assert all(link.startswith("learners/") for link in page.links), page.links
        assert "default-src 'none'" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        for link in page.links:
            assert (folder / link).exists()
    assert "&lt;script&gt;" in (folder / "learners" / "bob" / "feedback.html").read_text(encoding="utf-8")


def test_feedback_explains_only_failed_checks() -> None:
    text = feedback_page(CLASS.results[1], EXERCISE)
    assert "1 of 4 points" in text
    assert "look at the layers" in text
    assert "05-look-inside" in text
    assert "read the log" not in text


def test_feedback_of_a_refused_submission_shows_the_reason_and_no_points() -> None:
    text = feedback_page(CLASS.results[3], EXERCISE)
    assert "It holds a pipe." in text
    assert "not zero points" in text
    assert "0 of" not in text


def test_overview_shows_counts_distribution_and_ranking() -> None:
    text = overview_page(CLASS)
    assert "5 submissions: 3 graded" in text
    assert "1 refused" in text
    assert "1 with an error of the grader" in text
    assert "median 25%" in text
    assert CLASS.failed_checks == (("small", "The image is small", 2), ("builds", "The image <builds>", 1))
    assert text.index("The image is small: 2") < text.index("The image &lt;builds&gt;: 1")
    assert "notes.txt" in text


def test_class_without_grades_has_an_overview(tmp_path: Path) -> None:
    write_class_files(tmp_path, ClassResults(EXERCISE, VERSION, CLASS.results[3:]))
    assert "0 graded" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_histogram_assigns_each_share_to_its_bin() -> None:
    text = histogram_svg([0.0, 0.1, 0.3, 0.7, 0.99, 1.0])
    assert "0-10 %: 1, 10-20 %: 1, 20-30 %: 0, 30-40 %: 1" in text
    assert "70-80 %: 1, 80-90 %: 0, 90-100 %: 2" in text
    ElementTree.fromstring(text)


def test_refused_result_removes_the_notebook_of_an_earlier_run(tmp_path: Path) -> None:
    write_learner_files(tmp_path / "ann", CLASS.results[0], EXERCISE, "{}")
    assert (tmp_path / "ann" / "grading.ipynb").exists()
    write_learner_files(tmp_path / "ann", CLASS.results[3], EXERCISE, None)
    assert sorted(path.name for path in (tmp_path / "ann").iterdir()) == ["feedback.html", "result.json"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_every_format_accepts_arbitrary_text(seen: str) -> None:
    found = ClassResults(EXERCISE, VERSION, (result("ann", report=report(True, False, seen), name=seen),))
    ElementTree.fromstring(junit_xml(found))
    page = Page(feedback_page(found.results[0], EXERCISE) + overview_page(found))
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "a", "span", "strong"),
        *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "pre", "small", "svg", "g", "rect"),
        "text",
    }
    assert len(list(csv.reader(io.StringIO(moodle_csv(found))))) == 2
    assert LearnerResult.from_json(json.loads(json.dumps(found.results[0].to_json()))) == found.results[0]


def test_notebook_cell_shows_why_there_is_no_grade() -> None:
    shown = GradeDisplay(
        replace(report(True, True), checks=(), error="the <engine> went away")
    )._repr_mimebundle_()
    assert "the &lt;engine&gt; went away" in shown["text/html"]
    assert shown["text/plain"] == "no grade: the <engine> went away"


def test_notebook_cell_escapes_the_report() -> None:
    shown = GradeDisplay(report(True, False, seen="<img src=x onerror=alert(1)>\u202e"))._repr_mimebundle_()
    assert set(Page(shown["text/html"]).tags) <= {
        *("style", "div", "b", "span", "ul", "li", "dl", "dt", "dd"),
    }
    assert "&lt;img src=x" in shown["text/html"], "the text is shown, but escaped"
    assert "1 of 2 checks passed" in shown["text/html"]
    assert shown["text/html"].count("read the log") == 0, "a passed check shows no hint"
    compared = AnswerComparison(("", "size"), [("<b>mine</b>", "2 MB")])
    assert "&lt;b&gt;mine" in compared._repr_mimebundle_()["text/html"]
    assert str(compared) == "<b>mine</b>, size: 2 MB"
