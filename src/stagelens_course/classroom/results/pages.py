"""HTML pages: feedback for a learner, and the overview of a class. Without scripts or external resources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from markupsafe import Markup

from stagelens.views.templating import render
from stagelens_course.classroom.results.model import ClassResults, LearnerResult
from stagelens_course.grading.model import Exercise

_TEMPLATES = Path(__file__).parent / "templates"
_NO_GRADE = {
    "refused": "The submission was refused. This is not a grade, and not zero points either.",
    "error": "The grader failed on this submission. This is not a grade, and not zero points either.",
}
_BINS = 10
_RANKED = 10


def feedback_page(result: LearnerResult, exercise: Exercise) -> str:
    """Return the page with a learner's feedback.

    Parameters
    ----------
    result
        The learner's result.
    exercise
        The exercise.
    """
    return render(
        _TEMPLATES / "feedback.html",
        title=f"{exercise.title}: {result.name}",
        exercise=exercise,
        result=result,
        report=result.report if result.status == "graded" else None,
        no_grade=_NO_GRADE.get(result.status, ""),
    )


def overview_page(found: ClassResults) -> str:
    """Return the instructor's page: totals, distribution of points, failed checks and all learners.

    Parameters
    ----------
    found
        The results of the class.
    """
    graded = found.with_status("graded")
    shares = [(r.earned or 0) / r.points for r in graded if r.points]
    failed = [(title, count) for _, title, count in found.failed_checks if count][:_RANKED]
    return render(
        _TEMPLATES / "overview.html",
        title=f"{found.exercise.title}: grades",
        found=found,
        shares=shares,
        average=mean(shares) if shares else 0,
        median=median(shares) if shares else 0,
        histogram=Markup(histogram_svg(shares)) if graded else "",
        ranking=Markup(_ranking_svg(failed, len(graded))) if failed else "",
    )


def histogram_svg(shares: Sequence[float]) -> str:
    """Return a histogram in ten bins as SVG.

    Parameters
    ----------
    shares
        The share of the points that each learner earned, from 0 to 1; 1 is in the last bin.
    """
    counts = [0] * _BINS
    for share in shares:
        counts[min(_BINS - 1, max(0, int(share * _BINS + 1e-9)))] += 1
    label = ", ".join(f"{index * 10}-{index * 10 + 10} %: {count}" for index, count in enumerate(counts))
    return render(
        _TEMPLATES / "histogram.html",
        height=200,
        label=f"Number of learners by share of the points: {label}",
        counts=counts,
        top=max(counts) or 1,
    )


def _ranking_svg(failed: Sequence[tuple[str, int]], total: int) -> str:
    """Return a bar chart of failed checks as SVG; `total` is the length of a full bar."""
    label = ", ".join(f"{title} {count}" for title, count in failed)
    return render(
        _TEMPLATES / "ranking.html",
        height=40 * len(failed),
        label=f"Number of learners, of {total}, who failed each check: {label}",
        failed=failed,
        total=total,
    )
