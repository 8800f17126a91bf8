"""A grade as HTML for a notebook, like the views beside it."""

from __future__ import annotations

from pathlib import Path

from stagelens.views.templating import render
from stagelens_course.grading.model import GradeReport

_TEMPLATE = Path(__file__).parent / "templates" / "report_card.html"


def report_card(report: GradeReport) -> str:
    """Return a report as HTML: the points, and for each failed check what was expected and seen."""
    if report.error is not None:
        return error_card(report.error, "The grader failed: this is no grade.")
    right = sum(check.passed for check in report.checks)
    return render(
        _TEMPLATE,
        report=report,
        error=None,
        points=f"{report.earned:g} of {report.points:g} points",
        passed=f"{right} of {len(report.checks)} checks passed",
    )


def error_card(error: str, title: str = "The check could not be made.") -> str:
    """Return as HTML why there is no report."""
    return render(_TEMPLATE, error=error, title=title)
