"""The pages: feedback for a learner, and the overview of a class."""

from __future__ import annotations

from statistics import mean, median
from urllib.parse import quote

from stagelens_course.classroom.results.chart import distribution, ranking
from stagelens_course.classroom.results.markup import check_table, page, table
from stagelens_course.classroom.results.model import ClassResults, Result
from stagelens_course.grading.model import Exercise
from stagelens_course.grading.words import text

_REASONS = {
    "refused": "This submission could not be taken in. That is no grade, and not zero points either.",
    "error": "The grader failed on this submission. That is no grade, and not zero points either.",
}


def feedback(result: Result, exercise: Exercise) -> str:
    """What a learner reads."""
    body = f"<h1>{text(exercise.title)}</h1><p>{text(result.name)}</p>"
    if result.status == "graded" and result.report is not None:
        body += f"<p><strong>{result.report.earned:g} of {result.report.points:g} points</strong></p>"
        body += check_table(result.report)
    else:
        body += f'<p class="error">{_REASONS[result.status]}</p><pre>{text(result.error or "")}</pre>'
    keys = f"exercise {text(result.exercise)} {result.version[:12]}, files {result.digest[:12]}"
    body += f"<p><small>{keys}</small></p>"
    return page(f"{exercise.title}: {result.name}", body)


def overview(found: ClassResults) -> str:
    """What the instructor reads: the sums, how points are spread, what failed most, and every learner."""
    graded = found.of("graded")
    shares = [(r.earned or 0) / r.points for r in graded if r.points]
    body = f"<h1>{text(found.exercise.title)}</h1>" + _sums(found, shares)
    if graded:
        failed = [(title, count) for _, title, count in found.failed_checks if count][:10]
        body += f"<h2>How the points are spread</h2>{distribution(shares)}"
        body += "<h2>The checks that failed most</h2>"
        body += ranking(failed, len(graded)) if failed else "<p>None failed.</p>"
    body += "<h2>Learners</h2>" + table(
        ("learner", "points", "", "notebook"), [_row(result) for result in found.results]
    )
    if found.ignored:
        names = "".join(f"<li>{text(name)}</li>" for name in found.ignored)
        body += f"<h2>Files that are nobody's</h2><ul>{names}</ul>"
    return page(f"{found.exercise.title}: grades", body)


def _sums(found: ClassResults, shares: list[float]) -> str:
    counts = f"{len(found.results)} submissions: {len(found.of('graded'))} graded"
    for some, words in ((found.of("refused"), "refused"), (found.of("error"), "with an error of the grader")):
        if some:
            counts += f', <span class="error">{len(some)} {words}</span>'
    middle = f" On average {mean(shares):.0%} of the points, median {median(shares):.0%}." if shares else ""
    return f"<p>{counts}.{middle}</p>"


def _row(result: Result) -> list[str]:
    folder = f"learners/{quote(result.learner)}"
    name = f'<a href="{folder}/feedback.html">{text(result.name)}</a>' + (" (late)" if result.late else "")
    if result.status != "graded":
        reason = (result.error or "").split("\n")[0]
        return [name, "", f'<span class="error">{result.status}: {text(reason, 200)}</span>', ""]
    complete = result.earned == result.points
    mark = '<span class="pass">✓</span>' if complete else '<span class="fail">✗</span>'
    link = f'<a href="{folder}/grading.ipynb">notebook</a>'
    return [name, f"{result.earned:g}/{result.points:g}", mark, link]
